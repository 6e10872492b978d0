"""No AWS key shows in a repr, a message, a traceback, a pickled error, or a log; ids are masked."""

import json
import logging
import pickle
import subprocess
import sys
import traceback
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import mongokey
from mongokey import MongoClient
from mongokey.auth import build_credential
from mongokey.auth.aws.conversation import AwsConversation
from mongokey.auth.whole_login import login
from mongokey.bson import decode, encode
from mongokey.errors import MongoError
from tests.deadlines import within
from tests.logins import drive
from tests.servers.aws_cloud.environment import Environment
from tests.servers.login_server import HELLO
from tests.servers.mechanism.aws import AwsKey
from tests.servers.needs import need_module

need_module("boto3", extra="aws")

ADDRESS = ("db.example.com", 27017)
KEY = AwsKey(
    "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2Vj/+EA0a=="
)
SECRETS = (KEY.access_key, KEY.secret_key, KEY.token)
PROVIDED = {
    "AccessKeyId": KEY.access_key,
    "SecretAccessKey": KEY.secret_key,
    "SessionToken": KEY.token,
    "Expiration": datetime.now(timezone.utc) + timedelta(hours=1),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    made = Environment(monkeypatch, tmp_path)
    made.set(AWS_EC2_METADATA_DISABLED="true")
    return made


@pytest.fixture(autouse=True)
def log(caplog):
    """Our own log and, for given keys, botocore's; looked through when a test ends."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    assert_hidden(caplog.text)


def assert_hidden(*texts):
    assert not [text for text in texts for secret in SECRETS if secret in text]


def show(error):
    """All that a traceback prints, with the chain of causes, and what pickling takes along."""
    shown = ["".join(traceback.format_exception(error)), repr(pickle.dumps(error))]
    while error is not None:
        shown += [repr(error), str(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


def server(start=None, final=None):
    def answer(database, command):
        name = next(iter(command))
        if name in ("hello", "isMaster"):
            return dict(HELLO)
        if name == "saslContinue":
            return final
        if start is not None:
            return start
        nonce = decode(command["payload"])["r"]
        payload = encode({"s": nonce + b"s" * 32, "h": "sts.amazonaws.com"})
        return {"conversationId": 1, "done": False, "payload": payload, "ok": 1.0}

    return answer


REFUSED = {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18}
SERVERS = {
    "refuses at once": server(start=REFUSED),
    "refuses the signature": server(final=REFUSED),
    "names an identity": server(
        final={**REFUSED, "errmsg": "user arn:aws:iam::111122223333:user/x is not found"}
    ),
    "breaks the first message": server(start={"ok": 1.0, "conversationId": 1, "done": False}),
    "breaks the last message": server(final={"ok": 1.0, "conversationId": 1, "payload": b""}),
    "does not end": server(final={"ok": 1, "conversationId": 1, "done": False, "payload": b""}),
    "refuses hello": lambda database, command: {"ok": 0.0, "errmsg": "no", "code": 9},
}


def given():
    return build_credential(
        "MONGODB-AWS", KEY.access_key, KEY.secret_key, properties={"AWS_SESSION_TOKEN": KEY.token}
    )


def found(**properties):
    return build_credential("MONGODB-AWS", None, None, properties=properties)


@pytest.mark.parametrize("answer", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("way", ["given", "environment", "provider"])
def test_no_failed_login_shows_a_key(environment, answer, way):
    if way == "environment":
        environment.set_key(KEY)
    credential = {
        "given": given,
        "environment": found,
        "provider": lambda: found(AWS_CREDENTIAL_PROVIDER=lambda: PROVIDED),
    }[way]()
    with pytest.raises(MongoError) as caught:
        drive(login(credential, None, ADDRESS), answer, within_s=10.0)
    assert_hidden(show(caught.value))


def process(environment, output, status=0):
    script = environment.write(
        "p.py", f"import sys\nprint({output!r})\nprint({output!r}, file=sys.stderr)\nexit({status})"
    )
    environment.config_file({"default": {"credential_process": f"{sys.executable} -I {script}"}})


@pytest.mark.parametrize(
    ("output", "status"),
    [
        (json.dumps({"Version": 1, "SecretAccessKey": KEY.secret_key}), 0),
        (json.dumps({"Version": 7, "Token": KEY.token}), 0),
        (f"no JSON {KEY.secret_key}", 0),
        (f"failed: aws_secret_access_key={KEY.secret_key}", 1),
        (f"failed: {KEY.access_key} {KEY.secret_key}", 1),
        (json.dumps({"SecretAccessKey": KEY.secret_key, "Token": KEY.token}), 1),
    ],
)
def test_no_failed_source_shows_what_it_was_told(environment, output, status):
    process(environment, output, status)
    with pytest.raises(MongoError, match="credential_process") as caught:
        drive(login(found(), None, ADDRESS), server(), within_s=10.0)
    assert_hidden(show(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        f"what is this {KEY.secret_key}",
        f"[default]\naws_secret_access_key {KEY.secret_key}",
        f"[default]\naws_access_key_id={KEY.access_key}",
        f"[default]\naws_access_key_id={KEY.access_key}\naws_secret_access_key={KEY.secret_key}\xff",
    ],
)
@pytest.mark.parametrize("name", [".aws/credentials", ".aws/config"])
def test_no_broken_file_shows_what_is_in_it(environment, name, text):
    environment.write(name, text)
    with pytest.raises(MongoError) as caught:
        drive(login(found(), None, ADDRESS), server(), within_s=10.0)
    assert_hidden(show(caught.value))


@pytest.mark.parametrize(
    "result",
    [
        {**PROVIDED, "Expiration": "soon"},
        {**PROVIDED, "SessionToken": b"bytes"},
        {**PROVIDED, "SecretAccessKey": KEY.secret_key + "\n"},
        {"SecretAccessKey": KEY.secret_key},
        [KEY.access_key, KEY.secret_key],
        KEY.secret_key,
    ],
)
def test_no_wrong_result_of_a_provider_is_shown(result):
    credential = found(AWS_CREDENTIAL_PROVIDER=lambda: result)
    with pytest.raises(MongoError, match="AWS_CREDENTIAL_PROVIDER") as caught:
        drive(login(credential, None, ADDRESS), server(), within_s=10.0)
    assert_hidden(show(caught.value))


@pytest.mark.parametrize("make", [given, lambda: found(AWS_CREDENTIAL_PROVIDER=lambda: PROVIDED)])
def test_nothing_on_the_way_of_a_login_shows_a_key(make):
    credential = make()
    conversation = AwsConversation(credential, ADDRESS)
    shown = [repr(conversation), repr(conversation._state)]
    step = conversation.start()
    shown += [repr(step)]
    step.run(within(10_000))
    first = conversation.resume(step)
    shown += [repr(step), repr(vars(step)), repr(first), repr(conversation._keys)]
    nonce = decode(first["payload"])["r"]
    payload = encode({"s": nonce + b"s" * 32, "h": "sts.amazonaws.com"})
    conversation.step({"ok": 1, "conversationId": 1, "done": False, "payload": payload})
    evidence = conversation.diagnostic_context()
    shown += [
        repr(conversation),
        repr(conversation._state),
        repr(conversation._state.store),
        repr(conversation._state.signer),
        repr([getattr(evidence, name) for name in evidence.__slots__]),
        str(conversation.credential_description()),
        repr(credential),
        repr(credential.state),
    ]
    assert_hidden(*shown)
    assert "ASIA…MPLE" in conversation.credential_description()


def test_a_client_shows_no_key():
    client = MongoClient(
        "mongodb://h/?authMechanism=MONGODB-AWS",
        username=KEY.access_key,
        password=KEY.secret_key,
        authMechanismProperties={"AWS_SESSION_TOKEN": KEY.token},
        connect=False,
    )
    assert_hidden(repr(client), repr(client.options), repr(client["db"]["collection"]))
    client.close()


def test_making_a_client_loads_nothing_of_aws():
    """boto3 takes a third of a second: only the first login pays for it."""
    source = str(Path(mongokey.__file__).parents[1])
    program = (
        f"import sys; sys.path.insert(0, {source!r})\n"
        "from mongokey import MongoClient\n"
        "MongoClient('mongodb://AKIA:secret@h/?authMechanism=MONGODB-AWS', connect=False)\n"
        "print([m for m in sys.modules if m.partition('.')[0] in "
        "('boto3', 'botocore', 'urllib3', 'ssl', 'asyncio', 'http', 'json', 'inspect')])"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "[]\n", run.stderr

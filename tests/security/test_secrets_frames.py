"""No variable of ours holds a secret in any frame that an error of ours comes through.

Crash reporters print those variables; `traceback.TracebackException(capture_locals=True)` is how
they read them. The frames of the program that gave the secret are its own.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import MongoClient, uri_parser
from mongokey._support.secrets import Secret, keeps_secrets
from mongokey.auth import MongoCredential, build_credential, open_conversation, plain, scram
from mongokey.auth.aws.custom_provider import ask_provider
from mongokey.auth.aws.keys import AwsKeys
from mongokey.auth.aws.problems import AwsProblem
from mongokey.auth.whole_login import login
from mongokey.cli.explain import explain
from mongokey.cli.mistakes import find_mistakes
from mongokey.client_options import ClientOptions
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError, MongoError
from mongokey.options.connection_string import SRVQuestion, parse
from tests.logins import drive
from tests.servers.login_server import LoginServer

PACKAGE = str(Path(mongokey.__file__).parent)
# A mark in each secret, which no message or code has.
MARK = "Q7xZ"
SECRET = f"pencil-{MARK}"
ADDRESS = ("db.example.com", 27017)


def frames_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """The variables of the package's frames, of all that is chained to `error`, as reporters
    read them: ("file:function: name", repr)."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        told = getattr(each, "errors", None)
        if isinstance(told, dict):
            waiting += [value for value in told.values() if isinstance(value, BaseException)]
        shown = traceback.TracebackException.from_exception(each, capture_locals=True)
        for frame in shown.stack:
            if frame.filename.startswith(PACKAGE):
                for name, value in (frame.locals or {}).items():
                    yield f"{frame.filename}:{frame.name}: {name}", value


def assert_hidden(error: BaseException) -> None:
    for name, value in frames_of(error):
        assert MARK not in value, name
    told = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    # The lines of this file have the mark's name only.
    assert MARK not in told


def failure_of(call: Callable[[], Any]) -> BaseException:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((MongoError, TypeError, ValueError, AwsProblem)) as caught:
            call()
    return caught.value


# ---------------------------------------------------------------- connection strings

STRINGS = [
    f"mongodb://u:{SECRET}@h:99999/",
    f"mongodb://u:{SECRET}@h:x/",
    f"mongodb://u:{SECRET}@/",
    f"mongodb://u:{SECRET}@h,,h/",
    f"mongodb://u:{SECRET}@[::1/",
    f"mongodb://u:{SECRET}%@h/",
    f"mongodb://u:{SECRET}%ff@h/",
    f"mongodb://u:{SECRET}/@h/",
    f"mongodb://u:{SECRET}?@h/",
    f"mongodb://u:a@{SECRET}@h/",
    f"mongodb://u:{SECRET}:@h/",
    f"mongodb://:{SECRET}@h/",
    f"mongodb://u:{SECRET}@h/a b",
    f"mongodb://u:{SECRET}@h/$x",
    f"mongodb://u:{SECRET}@h/?authSource=",
    f"mongodb://u:{SECRET}@h/?tls=true&tls=false",
    f"mongodb://u:{SECRET}@h/?w=1&x;y",
    f"mongodb://u:{SECRET}@h/?tls=maybe",
    f"mongodb://u:{SECRET}@h/?authMechanism=NONE",
    f"mongodb://u:{SECRET}@h/?authMechanism=MONGODB-X509",
    f"mongodb://u:{SECRET}@h/?authMechanism=MONGODB-OIDC",
    f"mongodb://u:{SECRET}@h/?authMechanism=GSSAPI&authMechanismProperties=FOO:bar",
    f"mongodb://u:{SECRET}@h/?authMechanism=MONGODB-AWS&authMechanismProperties=X:{SECRET}",
    f"mongodb://h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}",
    f"mongodb://u:{SECRET}%20@h/?authMechanism=MONGODB-AWS",
    f"mongodb://u:{SECRET}%00@h/?authMechanism=PLAIN",
    f"mongodb://u:{SECRET}%07@h/?authMechanism=SCRAM-SHA-256",
    f"mongodb://u:{SECRET}%EE%80%80@h/?authMechanism=SCRAM-SHA-256",
    f"mongodb://u:{SECRET}@h/?authSource=$external",
    f"mongodb://h/?tls=false&tlsCertificateKeyFile=x&tlsCertificateKeyFilePassword={SECRET}",
    f"mongodb://h/?tlsCertificateKeyFilePassword={SECRET}&tlsInsecure=true&tlsCAFile=&tls=x",
    f"mongodb://h/?proxyPassword={SECRET}",
    f"mongodb://h/?proxyHost=x&proxyUsername=u&proxyPassword={SECRET}",
    f"mongodb://u:{SECRET}@h/?loadBalanced=true&directConnection=true",
    f"mongodb://u:{SECRET}@h/?directConnection=true&loadBalanced=true&replicaSet=x",
    f"mongodb://u:{SECRET}@h/?heartbeatFrequencyMS=1",
    f"mongodb://u:{SECRET}@h/?minPoolSize=5&maxPoolSize=1",
    f"mongodb://u:{SECRET}@h/?srvMaxHosts=3",
    f"mongodb+srv://u:{SECRET}@a.b.test:27017/",
    f"mongodb+srv://u:{SECRET}@a.b.test,c/",
    f"mongodb+srv://u:{SECRET}@127.0.0.1/",
    f"mongodb+srv://u:{SECRET}@a.b.test/?replicaSet=x&srvMaxHosts=1",
    f"MONGODB://u:{SECRET}@h/",
    f"mongodb//u:{SECRET}@h/x.sock",
    f"u:{SECRET}@h",
    f"http://u:{SECRET}@h",
]


def fails_in_dns(question: SRVQuestion) -> Any:
    diagnosis = Diagnosis("DNS-TIMEOUT", CERTAIN, "no answer")
    raise mongokey.dns.SRVError("no answer", diagnosis, question.fqdn)


@pytest.mark.parametrize("uri", STRINGS)
def test_no_connection_string_that_is_refused_leaves_its_secret_behind(uri: str) -> None:
    failed = 0
    for read in (
        parse,
        uri_parser.parse_uri,
        lambda uri: uri_parser.parse_uri(uri, warn=True),
        lambda uri: ClientOptions.build(uri, _resolve=fails_in_dns),
        lambda uri: ClientOptions.build(["h", uri], _resolve=fails_in_dns),
        lambda uri: MongoClient(uri, srv_resolver=fails_in_dns),
        lambda uri: explain(uri, resolve=fails_in_dns),
    ):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(uri)
        except (MongoError, ValueError, TypeError) as error:
            failed += 1
            assert_hidden(error)
    assert failed, "it is refused by one of them at least"


@pytest.mark.parametrize(
    "call",
    [
        lambda: uri_parser.parse_userinfo(f"u:{SECRET}@"),
        lambda: uri_parser.parse_userinfo(f":{SECRET}"),
        lambda: uri_parser.parse_userinfo(f"u:{SECRET}%ff"),
        lambda: uri_parser.parse_host(f"u:{SECRET}"),
        lambda: uri_parser.split_hosts(f"h,u:{SECRET}@h"),
        lambda: uri_parser.split_options(f"tlsCertificateKeyFilePassword={SECRET}&x"),
        lambda: uri_parser.split_options(f"proxyPassword={SECRET}&tls=maybe"),
        lambda: uri_parser.validate_options({"proxyPassword": SECRET, "tls": 5}),
        lambda: uri_parser.validate_options({"proxyPassword": SECRET.encode() + b"\xff"}),
        lambda: uri_parser.parse_uri(SECRET.encode()),  # type: ignore[arg-type]
        lambda: find_mistakes(SECRET.encode()),  # type: ignore[arg-type]
    ],
)
def test_nor_do_the_parts_of_the_parser(call: Callable[[], Any]) -> None:
    assert_hidden(failure_of(call))


# ---------------------------------------------------------------- keywords and credentials

KEYWORDS: list[dict[str, Any]] = [
    {"password": SECRET},
    {"username": "u", "password": SECRET + "\ud800"},
    {"username": "u", "password": SECRET.encode() + b"\xff"},
    {"username": "u", "password": [SECRET]},
    {"username": "u", "password": SECRET, "w": -1},
    {"username": "u", "password": SECRET, "noSuchOption": 1},
    {"username": "u", "password": SECRET, "tls": True, "ssl": False},
    {"username": "u", "password": SECRET, "heartbeatFrequencyMS": 1},
    {"username": "u", "password": SECRET, "minPoolSize": 5, "maxPoolSize": 1},
    {"username": "u", "password": SECRET, "authMechanism": "MONGODB-X509"},
    {"username": "u", "password": SECRET, "authMechanism": "NONE"},
    {"username": "u", "password": SECRET, "authMechanism": 5},
    {"username": "u", "password": SECRET, "read_preference": 5},
    {"username": "u", "password": SECRET + "\x07", "authMechanism": "SCRAM-SHA-256"},
    {"username": "u", "password": "ä" + SECRET + "\ue000", "authMechanism": "SCRAM-SHA-256"},
    {"username": "u", "password": SECRET + "\0", "authMechanism": "PLAIN"},
    {"username": "u", "password": SECRET + "ä", "authMechanism": "MONGODB-AWS"},
    {"username": "k", "password": SECRET, "authMechanism": "MONGODB-AWS"}
    | {"authMechanismProperties": {"AWS_SESSION_TOKEN": SECRET + " "}},
    {"authMechanism": "MONGODB-AWS", "authMechanismProperties": {"AWS_SESSION_TOKEN": SECRET}},
    {"authMechanism": "GSSAPI", "authMechanismProperties": {"AWS_SESSION_TOKEN": SECRET}},
    {"authMechanism": "MONGODB-AWS", "authMechanismProperties": f"AWS_SESSION_TOKEN:{SECRET},x"},
    {"tlsCertificateKeyFilePassword": SECRET, "tls": True, "tlsInsecure": 7},
    {"tlsCertificateKeyFilePassword": SECRET, "tls": False, "tlsCertificateKeyFile": "x"},
    {"proxyPassword": SECRET},
    {"host": f"mongodb://u:{SECRET}@h", "port": "x"},
    {"host": [f"mongodb://u:{SECRET}@h", f"mongodb://u:{SECRET}@h"]},
    {"host": [f"mongodb://u:{SECRET}@h", 5]},
    {"host": f"mongodb://u:{SECRET}@h".encode()},
    {"host": f"mongodb://u:{SECRET}@h,i", "loadBalanced": True},
]


@pytest.mark.parametrize("keywords", KEYWORDS, ids=range(len(KEYWORDS)))
def test_no_options_that_are_refused_leave_their_secret_behind(keywords: dict[str, Any]) -> None:
    for call in (lambda: MongoClient(**keywords), lambda: ClientOptions.build(**keywords)):
        assert_hidden(failure_of(call))


CREDENTIALS: list[tuple[Any, ...]] = [
    ("MONGODB-X509", "user", SECRET),
    ("SCRAM-SHA-256", "user", SECRET + "\x07"),
    ("SCRAM-SHA-256", "user", "ä" + SECRET + "\ue000"),
    ("SCRAM-SHA-1", "user", SECRET, None, "$external"),
    ("SCRAM-SHA-1", "user", SECRET, None, ""),
    ("SCRAM-SHA-1", "user", SECRET.encode()),
    ("SCRAM-SHA-1", "user", SECRET, None, None, {"FOO": SECRET}),
    ("NONE", "user", SECRET),
    (7, "user", SECRET),
    (None, None, SECRET),
    ("PLAIN", "user", SECRET + "\0"),
    ("MONGODB-AWS", None, SECRET),
    ("MONGODB-AWS", "key", SECRET + " "),
    ("MONGODB-AWS", None, None, None, None, {"AWS_SESSION_TOKEN": SECRET}),
    ("MONGODB-AWS", "key", "secret", None, None, {"AWS_SESSION_TOKEN": SECRET + "\n"}),
    ("MONGODB-AWS", None, None, None, None, {"AWS_CREDENTIAL_PROVIDER": SECRET}),
    ("MONGODB-OIDC", None, None, None, None, {"OIDC_CALLBACK": SECRET}),
    ("MONGODB-OIDC", None, SECRET, None, None, {"ENVIRONMENT": "test"}),
]


@pytest.mark.parametrize("arguments", CREDENTIALS, ids=range(len(CREDENTIALS)))
def test_no_credential_that_is_refused_leaves_its_secret_behind(arguments: Any) -> None:
    assert_hidden(failure_of(lambda: build_credential(*arguments)))
    mechanism, username, password, *rest = arguments
    properties = rest[2] if len(rest) > 2 else None
    source = rest[1] if len(rest) > 1 and rest[1] else "admin"
    try:
        MongoCredential(mechanism, source, username, password, properties)
    except (MongoError, TypeError) as error:
        assert_hidden(error)


# ---------------------------------------------------------------- logins


@pytest.mark.parametrize("password", [SECRET + "\x07", "ä" + SECRET + "\ue000", SECRET + "\n"])
def test_a_negotiated_login_whose_password_saslprep_refuses(password: str) -> None:
    # Known only once the server has chosen SCRAM-SHA-256.
    server = LoginServer({("admin", "user"): ("other", ("SCRAM-SHA-256",))})
    credential = build_credential(None, "user", password)
    error = failure_of(lambda: drive(login(credential, None, ADDRESS), server.answer))
    assert "SCRAM-SHA-256" in str(error)
    assert dict(frames_of(error)), "frames were looked at"
    assert_hidden(error)


def interrupt(*arguments: Any, **keywords: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_derivation_that_is_interrupted(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scram, "derive_keys", interrupt)
    credential = build_credential(mechanism, "user", SECRET)
    server = LoginServer({("admin", "user"): (SECRET, ("SCRAM-SHA-1", "SCRAM-SHA-256"))})
    with pytest.raises(KeyboardInterrupt) as caught:
        drive(login(credential, None, ADDRESS), server.answer)
    assert_hidden(caught.value)


def test_a_message_of_plain_that_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    credential = build_credential("PLAIN", "user", SECRET)
    assert credential is not None
    conversation = open_conversation(credential, "PLAIN", ADDRESS)
    monkeypatch.setattr(plain.sasl, "start", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        conversation.start()
    assert_hidden(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        None,
        5,
        {"SecretAccessKey": SECRET},
        {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": SECRET + " "},
        {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": SECRET, "SessionToken": 5},
        {"AccessKeyId": "A" * 20, "SecretAccessKey": SECRET, "Expiration": "never"},
        {"AccessKeyId": "", "SecretAccessKey": SECRET},
    ],
)
def test_a_provider_of_aws_keys_that_gives_wrong_ones(given: Any) -> None:
    assert_hidden(failure_of(lambda: ask_provider(lambda: given)))


def test_aws_keys_that_cannot_be_ones() -> None:
    assert_hidden(failure_of(lambda: AwsKeys("key", SECRET + " ", None, "here")))
    assert_hidden(failure_of(lambda: AwsKeys("key", "secret", SECRET + "\n", "here")))


def test_dns_that_fails_at_the_first_operation() -> None:
    client = MongoClient(
        f"mongodb+srv://u:{SECRET}@a.b.test/",
        password=SECRET,
        connect=False,
        srv_resolver=fails_in_dns,
    )
    with client:
        assert_hidden(failure_of(lambda: client.db.c.find_one()))


def test_a_server_that_is_not_there() -> None:
    for uri in (
        f"mongodb://u:{SECRET}@127.0.0.1:1/?serverSelectionTimeoutMS=20",
        f"mongodb://u:{SECRET}@%2Fno%2Fsuch.sock/?serverSelectionTimeoutMS=20",
    ):
        with MongoClient(uri) as client:
            error = failure_of(lambda: client.db.c.find_one())
        assert dict(frames_of(error)), "frames were looked at"
        assert_hidden(error)


# ---------------------------------------------------------------- the means


def test_the_look_at_frames_finds_what_is_there() -> None:
    with pytest.raises(ConfigurationError) as caught:
        plain._check("u", SECRET + "\0", {})
    with pytest.raises(AssertionError, match="_check: password"):
        assert_hidden(caught.value)


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret(SECRET)
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert text in ("<hidden>", "[<hidden>]")
    assert secret.reveal() == SECRET
    assert secret == Secret(SECRET)
    assert secret != SECRET
    assert hash(secret) == hash(Secret(SECRET))
    with pytest.raises(TypeError, match="pickled"):
        secret.__reduce__()


def test_frames_of_the_user_s_stay_as_they_are() -> None:
    def callback(host: str) -> bool:
        looked_at = "the user's own variable"
        raise LookupError(looked_at)

    try:
        here = "kept too"
        raise KeyError(here)
    except KeyError as handled:
        with pytest.raises(mongokey.dns.SRVError) as caught:
            _ask(callback)
        before = handled
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(before.__traceback__)]
    assert any("here" in variables for variables in frames)
    cause = caught.value.__cause__
    assert isinstance(cause, LookupError)
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(cause.__traceback__)]
    assert any("looked_at" in variables for variables in frames)


@keeps_secrets
def _ask(validator: Callable[[str], bool]) -> None:
    from mongokey.dns.names import make_host_check

    make_host_check(SRVQuestion("a.b.test", host_validator=validator))("x.b.test")


def test_a_failing_client_under_unittest_with_locals(tmp_path: Path) -> None:
    """It prints every frame's variables; a repr that raised ended the whole run."""
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            """
            import os, unittest, mongokey

            class Test(unittest.TestCase):
                def test_client(self):
                    mongokey.MongoClient(
                        os.environ["TEST_URI"], password=os.environ["TEST_PASSWORD"],
                        heartbeatFrequencyMS=1,
                    )

                def test_other(self):
                    pass
            """
        )
    )
    run = subprocess.run(
        [sys.executable, "-m", "unittest", "--locals", "test_it"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={
            "TEST_URI": f"mongodb://u:{SECRET}@h/",
            "TEST_PASSWORD": SECRET,
            "PYTHONPATH": str(Path(PACKAGE).parent),
        },
    )
    assert "Ran 2 tests" in run.stderr
    assert "heartbeatFrequencyMS" in run.stderr
    assert MARK not in run.stderr + run.stdout

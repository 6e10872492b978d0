"""Where AWS keys come from: boto3's chain and the user's provider, and why they gave none."""

import asyncio
import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from mongokey.auth import AuthenticationFailed, OffloadedCall, build_credential
from mongokey.auth.aws.conversation import AwsConversation, FetchKeys
from mongokey.auth.aws.problems import AwsProblem
from mongokey.auth.errors import LoginTimeout
from mongokey.bson import decode, encode
from mongokey.errors import ConfigurationError, OperationFailure
from tests.deadlines import within
from tests.servers.aws_cloud.environment import Environment
from tests.servers.mechanism.aws import AwsKey
from tests.servers.needs import need_module

need_module("boto3", extra="aws")

from botocore import exceptions  # noqa: E402 - needs the extra
from botocore.credentials import Credentials, RefreshableCredentials  # noqa: E402

from mongokey.auth.aws import sources  # noqa: E402
from mongokey.auth.aws.custom_provider import ask_provider  # noqa: E402

ADDRESS = ("db.example.com", 27017)
KEY, SECRET, TOKEN = "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "tok/en+="
USER = AwsKey("AKIAIOSFODNN7EXAMPLE", SECRET)
LATER = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=1)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    made = Environment(monkeypatch, tmp_path)
    made.set(AWS_EC2_METADATA_DISABLED="true")
    return made


def search():
    return sources.Search().run(within(10_000))


def fail(kind=AwsProblem):
    with pytest.raises(kind) as caught:
        search()
    assert SECRET not in str(caught.value)
    return caught.value


def refreshable(method="mine", expires=LATER):
    return RefreshableCredentials(KEY, SECRET, TOKEN, expires, dict, method)


class Providers:
    """Stands for boto3's chain: a session whose providers are the given ones."""

    def __init__(self, monkeypatch, *providers):
        self.calls = []
        self.sessions = 0
        made = [SimpleNamespace(METHOD=method, load=self.loader(method, load))
                for method, load in providers]  # fmt: skip
        outer = self

        class Session(sources.Session):
            def get_component(self, name):
                if name != "credential_provider":
                    return super().get_component(name)
                outer.sessions += 1
                return SimpleNamespace(providers=made)

        monkeypatch.setattr(sources, "Session", Session)

    def loader(self, method, load):
        def call():
            self.calls.append(method)
            return load()

        return call


def nothing():
    return None


# The environment


def test_the_environment_is_taken_as_it_is(environment):
    environment.set(AWS_ACCESS_KEY_ID="AK%2F", AWS_SECRET_ACCESS_KEY="a%2Bb", AWS_SESSION_TOKEN="%")
    keys = sources.from_environment()
    assert (keys.access_key, keys.secret_key, keys.token) == ("AK%2F", "a%2Bb", "%")
    assert not keys.keep
    assert keys.origin == "the environment (AWS_ACCESS_KEY_ID)"


def test_without_variables_the_environment_has_none():
    assert sources.from_environment() is None


def test_a_key_without_a_secret_in_the_environment_is_a_wrong_setting(environment):
    environment.set(AWS_ACCESS_KEY_ID=KEY)
    problem = fail()
    assert (problem.diagnosis.code, problem.settings) == ("AWS-SECRET-MISSING", True)
    assert "AWS_SECRET_ACCESS_KEY" in problem.diagnosis.summary


def test_keys_that_say_that_they_are_expired_are_refused(environment):
    environment.set_key(AwsKey(KEY, SECRET, TOKEN))
    environment.set(AWS_CREDENTIAL_EXPIRATION="2020-01-01T00:00:00Z")
    assert "expired" in fail().diagnosis.summary


def test_the_environment_is_not_kept_even_when_it_says_when_it_ends(environment):
    environment.set_key(AwsKey(KEY, SECRET, TOKEN))
    environment.set(AWS_CREDENTIAL_EXPIRATION=LATER.isoformat())
    keys = search()
    assert (keys.expires, keys.keep) == (LATER, False)


# Files


def test_a_profile_of_the_credentials_file(environment):
    environment.credentials_file({"default": USER, "other": AwsKey("AKIAOTHER", "x")})
    keys = search()
    assert (keys.access_key, keys.origin) == (
        USER.access_key,
        "~/.aws/credentials, profile default",
    )
    environment.set(AWS_PROFILE="other")
    assert search().origin == "~/.aws/credentials, profile other"


def test_keys_of_a_file_are_good_while_file_and_environment_are_the_same(environment):
    now = datetime.now(timezone.utc)
    path = environment.credentials_file({"default": USER})
    keys = search()
    assert keys.keep
    assert keys.good_at(now)
    environment.set(AWS_PROFILE="other")
    assert not keys.good_at(now)
    environment.set(AWS_PROFILE=None)
    assert keys.good_at(now)
    path.write_text(path.read_text() + "\n# rotated\n")
    assert not keys.good_at(now)
    assert search().good_at(now)
    keys = search()
    path.unlink()
    assert not keys.good_at(now)


def test_a_profile_that_is_nowhere_is_a_wrong_setting(environment):
    environment.set(AWS_PROFILE="nowhere")
    problem = fail()
    assert (problem.diagnosis.code, problem.settings) == ("AWS-PROFILE-UNKNOWN", True)
    assert "nowhere" in problem.diagnosis.summary


def test_a_profile_with_half_a_key_is_a_wrong_setting(environment):
    environment.write(".aws/credentials", f"[default]\naws_access_key_id={KEY}\n")
    problem = fail()
    assert problem.diagnosis.code == "AWS-SECRET-MISSING"
    assert "~/.aws/credentials, profile default" in problem.diagnosis.summary
    assert "aws_secret_access_key" in problem.diagnosis.summary


def test_a_file_that_cannot_be_read_is_a_wrong_setting(environment):
    environment.write(".aws/config", f"what is this\n{SECRET}")
    assert fail().diagnosis.code == "AWS-CONFIG-WRONG"


def test_a_failing_process_is_told_without_what_it_said_in_secret(environment):
    script = environment.write("p.py", f"import sys; sys.exit('locked; secret={SECRET}')")
    command = f"{__import__('sys').executable} -I {script}"
    environment.config_file({"default": {"credential_process": command}})
    problem = fail()
    assert (problem.diagnosis.code, problem.settings) == ("AWS-SOURCE-FAILED", False)
    assert "credential_process of profile default" in problem.diagnosis.summary
    assert "locked" in problem.diagnosis.summary


def test_a_web_identity_without_a_role_or_a_file_is_told(environment, tmp_path):
    environment.set(AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"))
    assert fail().diagnosis.code == "AWS-CONFIG-WRONG"
    environment.set(AWS_ROLE_ARN="arn:aws:iam::123456789012:role/pod", AWS_REGION="eu-west-1")
    text = fail().diagnosis.summary
    assert "the web identity token for role arn:aws:iam::123456789012:role/pod" in text
    assert "No such file" in text


# None anywhere


def test_all_places_are_listed_with_the_reason_that_they_gave_none(environment):
    environment.credentials_file({"other": USER})
    environment.set(AWS_SESSION_TOKEN=TOKEN)
    problem = fail()
    assert (problem.diagnosis.code, problem.settings) == ("AWS-NO-CREDENTIALS", False)
    for part in (
        "the environment (AWS_ACCESS_KEY_ID): not set, although AWS_SESSION_TOKEN is",
        "the web identity token: AWS_WEB_IDENTITY_TOKEN_FILE is not set",
        "~/.aws/credentials, profile default: no such profile there",
        "~/.aws/config, profile default: no such file",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "EC2 IMDS: switched off by AWS_EC2_METADATA_DISABLED",
    ):
        assert part in problem.diagnosis.summary
    assert TOKEN not in problem.diagnosis.summary


def test_an_empty_file_name_is_told_as_what_it_is(environment):
    environment.set(AWS_SHARED_CREDENTIALS_FILE="")
    assert (
        "the shared credentials file: not read, as AWS_SHARED_CREDENTIALS_FILE is empty"
        in fail().diagnosis.summary
    )


def test_a_provider_that_nobody_here_knows_is_asked_and_named(monkeypatch):
    Providers(monkeypatch, ("quantum", nothing))
    assert "boto3's source 'quantum': gave no keys" in fail().diagnosis.summary
    Providers(monkeypatch, ("quantum", lambda: Credentials(KEY, SECRET)))
    assert search().origin == "boto3's source 'quantum'"


# The chain


def test_the_first_place_that_has_keys_ends_the_search(monkeypatch):
    providers = Providers(
        monkeypatch,
        ("env", nothing),
        ("sso", lambda: refreshable("sso")),
        ("iam-role", lambda: pytest.fail("asked for nothing")),
    )
    keys = search()
    assert providers.calls == ["env", "sso"]
    assert (keys.access_key, keys.secret_key, keys.token) == (KEY, SECRET, TOKEN)
    assert (keys.expires, keys.keep, keys.origin) == (LATER, True, "SSO, profile default")


def test_keys_of_a_process_without_an_end_are_kept(monkeypatch):
    Providers(monkeypatch, ("custom-process", lambda: Credentials(KEY, SECRET)))
    keys = search()
    assert (keys.expires, keys.keep) == (None, True)


def test_keys_whose_end_a_newer_botocore_hides_are_not_kept(monkeypatch):
    class Hidden(Credentials):
        def refresh_needed(self, refresh_in=None):
            return False

    Providers(monkeypatch, ("sso", lambda: Hidden(KEY, SECRET, TOKEN)))
    assert not search().keep


def client_error(code):
    return exceptions.ClientError(
        {"Error": {"Code": code, "Message": "no"}}, "AssumeRoleWithWebIdentity"
    )


@pytest.mark.parametrize(
    ("error", "word", "settings"),
    [
        (client_error("AccessDenied"), "AWS-STS-DENIED", False),
        (client_error("ExpiredTokenException"), "AWS-STS-DENIED", False),
        (exceptions.NoRegionError(), "AWS-NO-REGION", True),
        (exceptions.UnauthorizedSSOTokenError(), "AWS-SSO-LOGIN", False),
        (exceptions.SSOTokenLoadError(error_msg="none"), "AWS-SSO-LOGIN", False),
        (exceptions.EndpointConnectionError(endpoint_url="u"), "AWS-SOURCE-UNREACHABLE", False),
        (exceptions.ReadTimeoutError(endpoint_url="u"), "AWS-SOURCE-UNREACHABLE", False),
        (exceptions.MissingDependencyException(msg="awscrt"), "AWS-PACKAGE-MISSING", True),
        (exceptions.InvalidConfigError(error_msg="odd"), "AWS-CONFIG-WRONG", True),
        (
            exceptions.CredentialRetrievalError(provider="container-role", error_msg="HTTP 403"),
            "AWS-SOURCE-FAILED",
            False,
        ),
        (ValueError(f"odd {SECRET}"), "AWS-SOURCE-FAILED", False),
    ],
)
def test_a_place_that_fails_ends_the_search_with_a_word_of_its_own(
    monkeypatch, error, word, settings
):
    def load():
        raise error

    providers = Providers(monkeypatch, ("sso", load), ("iam-role", nothing))
    problem = fail()
    assert (problem.diagnosis.code, problem.settings) == (word, settings)
    assert problem.diagnosis.summary.startswith("SSO, profile default")
    assert problem.__cause__ is None
    assert problem.__suppress_context__
    assert providers.calls == ["sso"]


def test_boto3_s_own_timeouts_stay_inside_the_login_s(environment):
    environment.set(AWS_METADATA_SERVICE_TIMEOUT="60")
    for left_s, read in ((3.5, 3.5), (None, 10.0), (100.0, 10.0), (0.0, 0.1)):
        session = sources.Session()
        sources._limit(session, None if left_s is None else within(left_s * 1000))
        assert session.get_config_variable("metadata_service_timeout") == max(1, int(read))
        config = session.get_default_client_config()
        assert config.read_timeout == pytest.approx(read, abs=0.4)
        assert config.connect_timeout == min(config.read_timeout, 5.0)
    environment.set(AWS_METADATA_SERVICE_TIMEOUT="1")
    session = sources.Session()
    sources._limit(session, within(20_000))
    assert session.get_config_variable("metadata_service_timeout") == 1


# The user's provider


def document(**more):
    return {"AccessKeyId": KEY, "SecretAccessKey": SECRET, **more}


class WithLoad:
    METHOD = "mine"

    def load(self):
        return Credentials(KEY, SECRET, TOKEN)


async def a_coroutine():
    await asyncio.sleep(0)
    return document(SessionToken=TOKEN)


@pytest.mark.parametrize(
    "provider",
    [
        WithLoad(),
        lambda: Credentials(KEY, SECRET, TOKEN),
        lambda: Credentials(KEY, SECRET, TOKEN).get_frozen_credentials(),
        lambda: refreshable(),
        lambda: document(SessionToken=TOKEN),
        lambda: document(Token=TOKEN),
        lambda: {"Credentials": document(SessionToken=TOKEN), "ResponseMetadata": {}},
        lambda: {"access_key": KEY, "secret_key": SECRET, "token": TOKEN},
        lambda: SimpleNamespace(access_key=KEY, secret_key=SECRET, token=TOKEN),
        lambda: {
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
            "aws_session_token": TOKEN,
        },
        a_coroutine,
    ],
)
def test_a_provider_gives_keys_in_many_forms(provider):
    keys = ask_provider(provider)
    assert (keys.access_key, keys.secret_key, keys.token) == (KEY, SECRET, TOKEN)
    assert keys.origin == "AWS_CREDENTIAL_PROVIDER"


@pytest.mark.parametrize(
    "provider",
    [
        refreshable,
        lambda: document(Expiration=LATER),
        lambda: document(Expiration=LATER.isoformat()),
        lambda: {"Credentials": document(Expiration=LATER)},
        lambda: SimpleNamespace(access_key=KEY, secret_key=SECRET, expires=LATER.timestamp()),
    ],
)
def test_keys_that_say_when_they_expire_are_kept(provider):
    keys = ask_provider(provider)
    assert (keys.expires, keys.keep) == (LATER, True)


def test_keys_that_do_not_say_it_are_asked_for_each_time():
    assert not ask_provider(document).keep
    assert ask_provider(lambda: document(SessionToken="")).token is None


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (None, "None"),
        (7, "access key id .* missing"),
        ({}, "access key id .* missing"),
        ({"AccessKeyId": KEY}, "secret key .* missing"),
        ({"AccessKeyId": KEY, "SecretAccessKey": ""}, "secret key .* empty"),
        ({"AccessKeyId": KEY, "SecretAccessKey": SECRET.encode()}, "secret key .* bytes"),
        (document(SessionToken=TOKEN.encode()), "token is bytes"),
        (document(Expiration="soon"), "expiry"),
    ],
)
def test_what_is_no_set_of_keys_is_a_wrong_setting(result, says):
    with pytest.raises(AwsProblem, match=says) as caught:
        ask_provider(lambda: result)
    assert (caught.value.diagnosis.code, caught.value.settings) == ("AWS-PROVIDER-WRONG", True)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("error", [KeyError("vault"), SystemExit(3), OSError("gone")])
def test_what_a_provider_raises_is_told_and_kept_as_the_cause(error):
    def provider():
        raise error

    with pytest.raises(AwsProblem, match=type(error).__name__) as caught:
        ask_provider(provider)
    assert caught.value.diagnosis.code == "AWS-PROVIDER-FAILED"
    assert caught.value.__cause__ is error


# Inside a login


def begin(conversation, within_s=10.0):
    step = conversation.start()
    while isinstance(step, OffloadedCall):
        step.run(within(within_s * 1000))
        step = conversation.resume(step)
    return step


def credential(provider=None):
    properties = {} if provider is None else {"AWS_CREDENTIAL_PROVIDER": provider}
    return build_credential("MONGODB-AWS", None, None, properties=properties)


def test_a_provider_goes_before_the_environment(environment):
    environment.set_key(USER)
    conversation = AwsConversation(credential(lambda: document()), ADDRESS)
    begin(conversation)
    assert (
        conversation.credential_description()
        == "credentials ASIA…MPLE from AWS_CREDENTIAL_PROVIDER"
    )


def test_the_environment_is_read_by_every_login_and_needs_no_work_but_once(environment):
    one = credential()
    for number in range(3):
        environment.set(AWS_ACCESS_KEY_ID=f"AKIAIOSFODNN7EXA{number:04}", AWS_SECRET_ACCESS_KEY="x")
        conversation = AwsConversation(one, ADDRESS)
        step = conversation.start()
        assert isinstance(step, OffloadedCall) == (number == 0)
        if number == 0:
            begin(conversation)
        assert f"AKIA…{number:04}" in conversation.credential_description()
    environment.set(AWS_SECRET_ACCESS_KEY=None)
    with pytest.raises(ConfigurationError, match="AWS-SECRET-MISSING"):
        AwsConversation(one, ADDRESS).start()


def test_an_unchanged_environment_needs_no_new_signer(environment):
    environment.set_key(USER)
    one = credential()
    signers = []
    for secret in (SECRET, SECRET, SECRET[::-1]):
        environment.set(AWS_SECRET_ACCESS_KEY=secret)
        conversation = AwsConversation(one, ADDRESS)
        nonce = decode(begin(conversation)["payload"])["r"]
        payload = encode({"s": nonce + b"s" * 32, "h": "sts.amazonaws.com"})
        conversation.step({"ok": 1, "conversationId": 1, "done": False, "payload": payload})
        signers.append(one.state.cache("MONGODB-AWS", dict).signer)
        assert signers[-1].keys.secret_key == secret
    assert signers[0] is signers[1]
    assert signers[2] is not signers[1]


def test_kept_keys_go_before_an_environment_that_came_later(environment, monkeypatch):
    providers = Providers(monkeypatch, ("sso", lambda: refreshable()))
    one = credential()
    begin(AwsConversation(one, ADDRESS))
    environment.set_key(USER)
    conversation = AwsConversation(one, ADDRESS)
    assert isinstance(conversation.start(), dict)
    assert "ASIA…MPLE from SSO" in conversation.credential_description()
    assert providers.sessions == 1


def test_keys_are_fetched_again_five_minutes_before_they_expire():
    calls = []

    def provider():
        calls.append(1)
        return document(Expiration=LATER)

    one = credential(provider)
    for minutes, count in ((60, 1), (6, 1), (5, 2)):
        now = LATER - timedelta(minutes=minutes)
        begin(AwsConversation(one, ADDRESS, now=lambda now=now: now))
        assert len(calls) == count


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18},
        {"ok": 0.0, "errmsg": "bad auth", "code": 8000},
        {"ok": 1.0, "conversationId": 1, "done": False, "payload": b"junk"},
    ],
)
def test_a_failed_login_drops_the_keys_and_the_next_one_fetches(answer):
    calls = []

    def provider():
        calls.append(1)
        return document(Expiration=LATER)

    one = credential(provider)
    conversation = AwsConversation(one, ADDRESS)
    begin(conversation)
    with pytest.raises(OperationFailure):
        conversation.step(answer)
    begin(AwsConversation(one, ADDRESS))
    assert len(calls) == 2


def test_a_login_s_deadline_ends_the_wait_and_says_what_for(monkeypatch):
    leave = threading.Event()
    Providers(monkeypatch, ("env", nothing), ("sso", lambda: leave.wait(10) and None))
    conversation = AwsConversation(credential(), ADDRESS)
    with pytest.raises(LoginTimeout, match=r"timed out after \d.* s of getting") as caught:
        begin(conversation, 1.0)
    leave.set()
    assert "waited for SSO, profile default; before: the environment" in str(caught.value)


def test_a_login_after_one_that_gave_up_searches_anew():
    leave, slow = threading.Event(), [True]

    def provider():
        if slow.pop() if slow else False:
            leave.wait(10)
        return document()

    one = credential(provider)
    with pytest.raises(LoginTimeout):
        begin(AwsConversation(one, ADDRESS), 0.1)
    assert isinstance(begin(AwsConversation(one, ADDRESS)), dict)
    leave.set()


def test_what_a_source_refused_becomes_the_evidence_of_the_login():
    conversation = AwsConversation(credential(lambda: 1 / 0), ADDRESS)
    with pytest.raises(AuthenticationFailed, match="ZeroDivisionError"):
        begin(conversation)
    assert conversation.diagnostic_context().problem.code == "AWS-PROVIDER-FAILED"


def test_work_says_what_it_is():
    step = AwsConversation(credential(), ADDRESS).start()
    assert isinstance(step, FetchKeys)
    assert repr(step) == "<OffloadedCall: getting AWS credentials>"

"""What a refused MONGODB-AWS login says: who tried with what, and what most likely helps."""

from datetime import datetime, timedelta, timezone

import pytest

from mongokey.auth import AuthenticationFailed, build_credential
from mongokey.auth.whole_login import login
from mongokey.bson import decode, encode
from mongokey.errors import ConfigurationError
from tests.logins import drive
from tests.servers.aws_cloud.environment import Environment
from tests.servers.login_server import HELLO
from tests.servers.needs import need_module

need_module("boto3", extra="aws")

ADDRESS = ("cluster.example.com", 27017)
USER, TEMPORARY = "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"
SECRET, TOKEN = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "tok/en+="
PLAIN_REFUSAL = {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18}


def atlas(text):
    return {"ok": 0.0, "errmsg": f"bad auth : {text}", "code": 8000, "codeName": "AtlasError"}


def server(final, **hello):
    def answer(database, command):
        name = next(iter(command))
        if name in ("hello", "isMaster"):
            return {**HELLO, **hello}
        if name == "saslStart":
            nonce = decode(command["payload"])["r"]
            payload = encode({"s": nonce + b"s" * 32, "h": "sts.amazonaws.com"})
            return {"conversationId": 1, "done": False, "payload": payload, "ok": 1.0}
        return final

    return answer


def credential(key=USER, token=None, **more):
    if token is not None:
        more["AWS_SESSION_TOKEN"] = token
    secret = SECRET if key is not None else None
    return build_credential("MONGODB-AWS", key, secret, properties=more)


def refuse(one, final=PLAIN_REFUSAL, **hello):
    with pytest.raises(AuthenticationFailed) as caught:
        drive(login(one, None, ADDRESS), server(final, **hello), within_s=10.0)
    text = str(caught.value)
    for secret in (SECRET, TOKEN, USER, TEMPORARY):
        assert secret not in text
    return caught.value


def words(error):
    return {each.code: each.confidence for each in error.diagnoses}


def test_the_message_says_which_credentials_and_where_they_came_from():
    text = str(refuse(credential()))
    assert "user 'AKIA…MPLE'" in text
    assert "credentials AKIA…MPLE from username and password" in text
    assert "'Authentication failed.' (code 18)" in text


def test_a_refusal_without_a_reason_names_both():
    error = refuse(credential())
    assert words(error) == {"AWS-STS-REFUSED": "possible"}
    assert "aws sts get-caller-identity" in str(error)


def test_a_refusal_of_sts_is_told():
    error = refuse(credential(), atlas("aws sts call has response 403"))
    assert words(error) == {"AWS-STS-REFUSED": "likely"}
    assert "HTTP 403" in str(error)


@pytest.mark.parametrize(
    ("arn", "user"),
    [
        ("arn:aws:iam::111122223333:user/Shing", "arn:aws:iam::111122223333:user/Shing"),
        (
            "arn:aws:sts::111122223333:assumed-role/app-role/i-0abc",
            "arn:aws:iam::111122223333:role/app-role",
        ),
        (
            "arn:aws-cn:sts::111122223333:assumed-role/app-role/*",
            "arn:aws-cn:iam::111122223333:role/app-role",
        ),
    ],
)
def test_an_identity_that_has_no_user_is_named_with_the_arn_to_create(arn, user):
    for final in (
        atlas(f"user {arn} is not found"),
        {**PLAIN_REFUSAL, "errmsg": f'Could not find user "{arn}" for db "$external"'},
    ):
        error = refuse(credential(), final)
        assert words(error) == {"AWS-IDENTITY-UNKNOWN": "certain"}
        (hint,) = error.diagnoses
        assert f"createUser({{user: '{user}'" in hint.text
        assert "AKIA…MPLE from username and password" in hint.text


def test_too_many_logins_for_sts_are_told():
    error = refuse(credential(), atlas("aws sts call has response 429"))
    assert words(error) == {"AWS-STS-THROTTLED": "likely"}


def test_a_temporary_key_without_its_token_is_certain():
    assert words(refuse(credential(TEMPORARY))) == {"AWS-TOKEN-MISSING": "certain"}


def test_a_user_s_key_with_a_token_is_likely_the_wrong_one():
    assert words(refuse(credential(USER, TOKEN))) == {"AWS-TOKEN-FOREIGN": "likely"}


def test_a_secret_in_the_key_s_place_is_told_and_not_shown():
    error = refuse(credential(SECRET))
    assert words(error) == {"AWS-KEY-ODD": "likely"}


@pytest.mark.parametrize(
    ("minutes", "told"), [(-90, "ahead of"), (90, "behind"), (-4, None), (4, None)]
)
@pytest.mark.parametrize("aware", [True, False])
def test_a_clock_that_differs_from_the_server_s_is_told(minutes, told, aware):
    there = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    error = refuse(credential(), localTime=there if aware else there.replace(tzinfo=None))
    assert ("AWS-CLOCK-SKEW" in words(error)) == (told is not None)
    if told:
        assert f"90 minutes {told} the server's" in str(error)


def test_a_local_time_that_is_none_tells_nothing():
    assert words(refuse(credential(), localTime="now")) == {"AWS-STS-REFUSED": "possible"}


def test_a_token_that_worked_before_has_most_likely_expired():
    one = credential(TEMPORARY, TOKEN)
    done = {"conversationId": 1, "done": True, "payload": b"", "ok": 1.0}
    drive(login(one, None, ADDRESS), server(done), within_s=10.0)
    error = refuse(one)
    assert words(error) == {"AWS-TOKEN-EXPIRED": "likely"}
    assert "not renewed by anybody" in str(error)


def test_a_token_that_says_that_it_is_expired_is_certain():
    gone = datetime.now(timezone.utc) - timedelta(minutes=3)
    one = credential(
        None,
        AWS_CREDENTIAL_PROVIDER=lambda: {
            "AccessKeyId": TEMPORARY,
            "SecretAccessKey": SECRET,
            "SessionToken": TOKEN,
            "Expiration": gone,
        },
    )
    error = refuse(one)
    assert words(error) == {"AWS-TOKEN-EXPIRED": "certain"}
    assert "the next login fetches new ones" in str(error)


def test_a_failed_source_has_its_own_word():
    error = refuse(credential(None, AWS_CREDENTIAL_PROVIDER=lambda: 1 / 0))
    assert words(error) == {"AWS-PROVIDER-FAILED": "certain"}
    assert error.code is None
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_wrong_setting_is_a_configuration_error_with_its_word():
    one = credential(None, AWS_CREDENTIAL_PROVIDER=lambda: None)
    with pytest.raises(ConfigurationError, match=r"\[AWS-PROVIDER-WRONG, certain\]"):
        drive(login(one, None, ADDRESS), server(PLAIN_REFUSAL), within_s=10.0)


def test_the_list_of_places_without_keys_is_not_cut(monkeypatch, tmp_path):
    Environment(monkeypatch, tmp_path).set(AWS_EC2_METADATA_DISABLED="true")
    error = refuse(credential(None))
    assert words(error) == {"AWS-NO-CREDENTIALS": "certain"}
    text = str(error)
    assert text.index("AWS_ACCESS_KEY_ID") < text.index("EC2 IMDS: switched off by")


def test_hints_of_passwords_are_not_for_keys():
    error = refuse(credential(), atlas("aws sts call has response 403"))
    assert not [word for word in words(error) if word.startswith("AUTH")]


@pytest.mark.parametrize("code", [1, 59, 11600])
def test_other_errors_have_no_hint_about_keys(code):
    answer = {"ok": 0.0, "errmsg": "no", "code": code}
    with pytest.raises(Exception, match="no") as caught:
        drive(login(credential(), None, ADDRESS), server(answer), within_s=10.0)
    assert "AWS-" not in str(caught.value)

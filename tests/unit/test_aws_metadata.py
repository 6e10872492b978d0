"""What EC2's metadata service answers, as boto3's chain sees it and errors tell it."""

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from mongokey.auth.aws.problems import AwsProblem
from tests.deadlines import within
from tests.servers.aws_cloud.environment import Environment
from tests.servers.needs import need_module

need_module("boto3", extra="aws")

from botocore import exceptions  # noqa: E402 - needs the extra
from botocore.httpsession import URLLib3Session  # noqa: E402

from mongokey.auth.aws import sources  # noqa: E402

TOKEN = "/latest/api/token"
LIST = "/latest/meta-data/iam/security-credentials/"
ENDPOINT = "http://127.0.0.1:1338"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SOON = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=3)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    made = Environment(monkeypatch, tmp_path)
    made.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=f"{ENDPOINT}/")
    return made


def keys(**changes):
    return json.dumps(
        {
            "Code": "Success",
            "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
            "SecretAccessKey": SECRET,
            "Token": "token",
            "Expiration": SOON.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **changes,
        }
    )


def answer(monkeypatch, token=(200, "t"), role=(200, "app-role"), document=(200, None)):
    """The service: what it answers to the three requests, status and text or an exception."""
    asked = []

    def send(self, request):
        path = urlsplit(request.url).path
        asked.append((request.method, path))
        reply = token if path == TOKEN else role if path == LIST else document
        if isinstance(reply, Exception):
            raise reply
        status, text = reply
        text = keys() if text is None else text
        return SimpleNamespace(
            status_code=status, text=text, content=text.encode(), url=request.url
        )

    monkeypatch.setattr(URLLib3Session, "send", send)
    return asked


def why():
    search = sources.Search()
    with pytest.raises(AwsProblem) as caught:
        search.run(within(10_000))
    assert caught.value.diagnosis.code == "AWS-NO-CREDENTIALS"
    assert SECRET not in caught.value.diagnosis.summary
    return dict(search.tried)["EC2 IMDS"]


def test_the_role_is_named_and_the_end_is_the_service_s_own(monkeypatch):
    """botocore puts the end of keys that end soon off; they would be kept for too long."""
    asked = answer(monkeypatch)
    found = sources.Search().run(within(10_000))
    assert found.origin == "EC2 IMDS role app-role"
    assert found.expires == SOON
    assert not found.good_at(datetime.now(timezone.utc))
    assert asked == [("PUT", TOKEN), ("GET", LIST), ("GET", f"{LIST}app-role")]


@pytest.mark.parametrize("end", ["", "never", 7.5e300, None])
def test_an_end_that_cannot_be_read_leaves_botocore_s(monkeypatch, end):
    answer(monkeypatch, document=(200, keys(Expiration=end)))
    with pytest.raises(AwsProblem) as caught:
        sources.Search().run(within(10_000))
    assert caught.value.diagnosis.summary.startswith("EC2 IMDS")


TIMEOUT = exceptions.ReadTimeoutError(endpoint_url=ENDPOINT)
REFUSED = exceptions.EndpointConnectionError(endpoint_url=ENDPOINT)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"token": REFUSED, "role": REFUSED}, ["cannot be reached", "no EC2 instance"]),
        ({"token": TIMEOUT, "role": TIMEOUT}, ["PUT in time", "hop limit has to be 2", "GET in"]),
        ({"token": TIMEOUT, "role": (401, "")}, ["hop limit", f"HTTP 401 to GET {LIST}"]),
        ({"token": (403, ""), "role": (403, "")}, [f"HTTP 403 to PUT {TOKEN}"]),
        ({"token": (400, "")}, ["HTTP 400 to PUT"]),
        ({"role": (404, "")}, ["HTTP 404", "no role"]),
        ({"role": TIMEOUT}, ["GET in time"]),
        ({"document": (500, "")}, ["HTTP 500"]),
        ({"document": (200, "<html>")}, ["not JSON"]),
        ({"document": (200, "[]")}, ["not JSON"]),
        ({"document": (200, '{"Code": "Odd", "Message": "m"}')}, ["Code Odd"]),
        ({"document": (200, json.dumps({"SecretAccessKey": SECRET}))}, ["without keys"]),
    ],
)
def test_why_it_gave_none(monkeypatch, answers, says):
    answer(monkeypatch, **answers)
    text = why()
    assert ENDPOINT in text
    for part in says:
        assert part in text


def test_a_service_that_is_switched_off_is_not_asked(monkeypatch, environment):
    asked = answer(monkeypatch)
    environment.set(AWS_EC2_METADATA_DISABLED="true")
    assert why() == "switched off by AWS_EC2_METADATA_DISABLED"
    assert not asked


def test_a_botocore_that_is_built_otherwise_gives_keys_all_the_same(monkeypatch):
    monkeypatch.setattr(sources._Watch, "on", classmethod(lambda cls, provider: None))
    answer(monkeypatch)
    assert sources.Search().run(within(10_000)).origin == "EC2 IMDS"
    answer(monkeypatch, role=(404, ""))
    assert why() == "gave no keys"


def test_a_provider_without_a_known_session_is_not_watched():
    assert sources._Watch.on(SimpleNamespace()) is None
    assert sources._Watch.on(SimpleNamespace(_role_fetcher=SimpleNamespace())) is None

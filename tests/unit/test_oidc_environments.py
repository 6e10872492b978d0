"""The built-in sources of tokens: what they ask, what they make of each answer, and that no
message has a token in it. The metadata services are small HTTP servers on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mongokey.auth.errors import AuthenticationFailed, LoginTimeout
from mongokey.auth.oidc import environments, metadata
from mongokey.auth.oidc.metadata import SourceError
from mongokey.auth_oidc import OIDCCallbackContext
from mongokey.errors import ConfigurationError
from tests.servers.web import WebReply, WebServer

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
RESOURCE = "api://a b/c,d+e&f"
AZURE_PATH = "/metadata/identity/oauth2/token"
GCP_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def context(timeout_s: float = 10.0, username: str = "") -> OIDCCallbackContext:
    return OIDCCallbackContext(timeout_s, username, 1)


def refusal(source: Any, timeout_s: float = 10.0, username: str = "") -> SourceError:
    with pytest.raises(SourceError) as caught:
        source.fetch(context(timeout_s, username))
    assert JWT not in str(caught.value)
    return caught.value


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    with WebServer() as server:
        monkeypatch.setattr(environments, "AZURE", (server.host, server.port))
        monkeypatch.setattr(environments, "GCP", (server.host, server.port))
        monkeypatch.setattr(metadata, "RETRY_PAUSE_S", 0.05)
        yield server


class TestAzure:
    def answer(self, service: WebServer, **fields: Any) -> None:
        body = {"access_token": JWT, "expires_in": "3599", "token_type": "Bearer", **fields}
        body = {name: value for name, value in body.items() if value is not None}
        service.routes["GET", AZURE_PATH] = lambda request: WebReply(body=body)

    def test_the_question_and_the_token(self, service: WebServer) -> None:
        self.answer(service)
        result = environments.Azure(RESOURCE).fetch(context())
        assert (result.access_token, result.expires_in_seconds) == (JWT, 3599)
        (request,) = service.requests
        assert request.query == {"api-version": "2018-02-01", "resource": RESOURCE}
        assert request.headers["metadata"] == "true"
        assert request.headers["accept"] == "application/json"
        assert "resource=api%3A%2F%2Fa%20b%2Fc%2Cd%2Be%26f" in request.raw_query

    def test_the_user_name_is_the_client_id(self, service: WebServer) -> None:
        self.answer(service)
        environments.Azure(RESOURCE).fetch(context(username="id&x"))
        assert service.requests[0].query["client_id"] == "id&x"

    @pytest.mark.parametrize(
        ("username", "says"), [("", "set username=<client id>"), ("bad", "client id 'bad'")]
    )
    def test_bad_request_is_about_identities(
        self, service: WebServer, username: str, says: str
    ) -> None:
        body = {"error": "invalid_request", "error_description": "Multiple identities exist"}
        service.fail_always(WebReply(400, body))
        error = refusal(environments.Azure(RESOURCE), username=username)
        assert "Multiple identities exist" in error.message
        assert "HTTP 400" in error.message
        assert f"http://127.0.0.1:{service.port}{AZURE_PATH}" in error.message
        assert error.hint is not None
        assert error.hint.code == "OIDC-AZURE-IDENTITY"
        assert says in error.hint.text
        assert service.count() == 1

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b"<html>", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"\xff\xfe", "not JSON"),
            ([JWT], "not an object"),
            ({"token": JWT}, "without an access_token; it has 'token'"),
            ({}, "without an access_token; it has none"),
            ({"access_token": 5}, "without an access_token"),
            ({"access_token": ""}, "without an access_token"),
            ({"access_token": JWT, "expires_in": "soon"}, "expires_in"),
            ({"access_token": JWT, "expires_in": {}}, "expires_in"),
        ],
    )
    def test_answers_that_make_no_sense(self, service: WebServer, body: Any, says: str) -> None:
        service.fail_always(WebReply(body=body))
        assert says in refusal(environments.Azure(RESOURCE)).message

    @pytest.mark.parametrize("expires", [None, "", 12, "12.5"])
    def test_expiry_is_optional_and_may_be_text(self, service: WebServer, expires: Any) -> None:
        self.answer(service, expires_in=expires)
        result = environments.Azure(RESOURCE).fetch(context())
        assert result.expires_in_seconds == (float(expires) if expires else None)


class TestGoogle:
    def test_the_question_and_the_token(self, service: WebServer) -> None:
        service.routes["GET", GCP_PATH] = lambda request: WebReply(body=JWT + "\n")
        result = environments.Gcp(RESOURCE).fetch(context())
        assert (result.access_token, result.expires_in_seconds) == (JWT, None)
        (request,) = service.requests
        assert request.query == {"audience": RESOURCE}
        assert request.headers["metadata-flavor"] == "Google"

    @pytest.mark.parametrize(
        ("body", "says"), [(b"", "empty"), (b" \n", "empty"), (b"not a token", "not a token")]
    )
    def test_answers_that_make_no_sense(self, service: WebServer, body: bytes, says: str) -> None:
        service.fail_always(WebReply(body=body))
        assert says in refusal(environments.Gcp(RESOURCE)).message


@pytest.mark.parametrize("source", [environments.Azure(RESOURCE), environments.Gcp(RESOURCE)])
class TestServices:
    @pytest.mark.parametrize("status", [404, 410, 429, 500, 503, 599])
    def test_one_retry_after_a_pause(self, service: WebServer, source: Any, status: int) -> None:
        good = {"access_token": JWT} if isinstance(source, environments.Azure) else JWT
        service.fail(WebReply(status, "busy"), WebReply(200, good))
        assert source.fetch(context()).access_token == JWT
        first, second = service.requests
        assert second.at - first.at >= 0.045

    def test_a_second_failure_is_told_with_status_and_body(
        self, service: WebServer, source: Any
    ) -> None:
        service.fail_always(WebReply(503, f"sorry {JWT} " + "x" * 1000))
        error = refusal(source)
        assert service.count() == 2
        assert "HTTP 503" in error.message
        assert "sorry <token> xx" in error.message
        assert len(error.message) < 700
        assert f"http://127.0.0.1:{service.port}/" in error.message

    @pytest.mark.parametrize("status", [301, 401, 403])
    def test_other_statuses_are_final(self, service: WebServer, source: Any, status: int) -> None:
        service.fail_always(WebReply(status, "no", headers={"Location": "http://127.0.0.1:1/"}))
        assert f"HTTP {status}" in refusal(source).message
        assert service.count() == 1

    def test_no_retry_where_no_time_is_left(self, service: WebServer, source: Any) -> None:
        service.fail_always(WebReply(503))
        refusal(source, timeout_s=0.04)
        assert service.count() == 1

    @pytest.mark.parametrize("reply", [WebReply(delay=5.0), WebReply(body=b"x" * 99, pause=0.05)])
    def test_the_time_limit_holds(self, service: WebServer, source: Any, reply: WebReply) -> None:
        service.fail_always(reply)
        began = time.monotonic()
        error = refusal(source, timeout_s=0.3)
        assert time.monotonic() - began < 3.0
        assert error.kind is LoginTimeout

    def test_an_answer_without_end(self, service: WebServer, source: Any) -> None:
        service.fail_always(WebReply(body=b"x" * (metadata.MAX_ANSWER + 1)))
        assert f"more than {metadata.MAX_ANSWER} bytes" in refusal(source).message

    def test_one_that_hangs_up(self, service: WebServer, source: Any) -> None:
        service.fail_always(WebReply(hang_up=True))
        assert "no HTTP answer" in refusal(source).message

    def test_proxies_are_not_asked(
        self, service: WebServer, source: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        good = {"access_token": JWT} if isinstance(source, environments.Azure) else JWT
        service.fail(WebReply(200, good))
        assert source.fetch(context()).access_token == JWT

    def test_nobody_there(
        self, service: WebServer, source: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            for name in ("AZURE", "GCP"):
                monkeypatch.setattr(environments, name, unused.getsockname())
            error = refusal(source)
        assert "cannot be reached" in error.message
        assert "is for" in error.message


def raw_server(answer: bytes) -> tuple[tuple[str, int], threading.Thread]:
    """A server that gives one connection these bytes and closes it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    listener.settimeout(10)

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.settimeout(10)
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname(), thread


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"SSH-2.0-x\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\neyJ", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\neyJ", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "no HTTP answer"),
    ],
)
def test_broken_http(monkeypatch: pytest.MonkeyPatch, answer: bytes, says: str) -> None:
    address, thread = raw_server(answer)
    monkeypatch.setattr(environments, "GCP", address)
    assert says in refusal(environments.Gcp(RESOURCE)).message
    thread.join(10)


class TestFiles:
    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in (*environments.TOKEN_FILE_VARIABLES, environments.TEST_VARIABLE):
            monkeypatch.delenv(name, raising=False)
        self.path = tmp_path / "token"
        self.path.write_text("default\n")
        monkeypatch.setattr(environments, "SERVICE_ACCOUNT_TOKEN", str(self.path))

    def test_the_order_in_kubernetes(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        found = []
        for name in ("", "AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE"):
            if name:
                (tmp_path / name).write_text(name)
                monkeypatch.setenv(name, str(tmp_path / name))
            found.append(environments.Kubernetes().fetch(context()).access_token)
        assert found == ["default", "AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE"]

    def test_a_variable_that_is_empty_counts_as_not_set(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", "")
        assert environments.Kubernetes().fetch(context()).access_token == "default"

    def test_the_file_is_read_anew_each_time(self) -> None:
        source = environments.Kubernetes()
        source.fetch(context())
        self.path.write_text("rotated")
        assert source.fetch(context()).access_token == "rotated"

    def test_the_test_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        error = refusal(environments.Test())
        assert error.kind is ConfigurationError
        assert "OIDC_TOKEN_FILE" in error.message
        monkeypatch.setenv("OIDC_TOKEN_FILE", str(self.path))
        assert environments.Test().fetch(context()).access_token == "default"

    @pytest.mark.parametrize(
        ("content", "kind", "says"),
        [
            (None, ConfigurationError, "No such file"),
            (b"", AuthenticationFailed, "is empty"),
            (b" \n", AuthenticationFailed, "is empty"),
            (b"\xff\xfe", ConfigurationError, "is not text"),
            (b"x" * (metadata.MAX_ANSWER + 1), ConfigurationError, "more than"),
        ],
    )
    def test_files_without_a_token(
        self, content: bytes | None, kind: type[Exception], says: str
    ) -> None:
        self.path.unlink()
        if content is not None:
            self.path.write_bytes(content)
        error = refusal(environments.Kubernetes())
        assert error.kind is kind
        assert says in error.message
        assert str(self.path) in error.message
        assert "AWS_WEB_IDENTITY_TOKEN_FILE are not set" in error.message

"""The examples of docs/oidc.md: each makes its client, and the device login talks to an IdP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth_oidc import OIDCCallbackContext, OIDCIdPInfo
from tests.servers.web import WebReply, WebRequest, WebServer

PAGE = Path(__file__).parents[2] / "docs" / "oidc.md"
EXAMPLES = re.findall(r"^```python no-run\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
VARIABLES = {
    "MONGODB_URI": "mongodb://db.example.com/",
    "AZURE_AUDIENCE": "api://db",
    "AZURE_IDENTITY_CLIENT_ID": "an-id",
}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def filled(text: str) -> str:
    """`text` with its placeholders replaced."""
    return text.replace("<client_id>", "an-id").replace("<audience>", "api://db/x")


def run(example: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(filled(example), str(PAGE), "exec"), names)
    return names


def test_each_example_makes_its_client() -> None:
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        if "azure.identity" in example:
            pytest.importorskip("azure.identity")
        exec(compile(filled(example), str(PAGE), "exec"), names)
        client = names["client"]
        assert isinstance(client, MongoClient)
        assert client.options.credential.mechanism == "MONGODB-OIDC"
        client.close()
    assert len(EXAMPLES) == 7


def test_the_connection_string_is_as_good() -> None:
    (uri,) = re.findall(r"^mongodb\+srv://<client_id>.*$", PAGE.read_text(), re.MULTILINE)
    with MongoClient(filled(uri), connect=False) as client:
        credential = client.options.credential
        assert credential.username == "an-id"
        assert credential.mechanism_properties["TOKEN_RESOURCE"] == "api://db/x"


class IdP:
    """An identity provider's device flow: pending once, then a token."""

    def __init__(self, server: WebServer) -> None:
        self.forms: list[dict[str, str]] = []
        self.pending = 1
        urls = {
            "token_endpoint": f"{server.url}/token",
            "device_authorization_endpoint": f"{server.url}/device",
        }
        server.routes["GET", "/.well-known/openid-configuration"] = lambda _: WebReply(body=urls)
        server.routes["POST", "/device"] = self.device
        server.routes["POST", "/token"] = self.token

    def device(self, request: WebRequest) -> WebReply:
        self.forms.append(request.form)
        answer = {"verification_uri": "https://idp/", "user_code": "AB-12", "device_code": "d"}
        return WebReply(body={**answer, "interval": 0})

    def token(self, request: WebRequest) -> WebReply:
        self.forms.append(request.form)
        if self.pending:
            self.pending -= 1
            return WebReply(400, {"error": "authorization_pending"})
        if request.form.get("refresh_token") == "expired":
            return WebReply(400, {"error": "invalid_grant"})
        return WebReply(body={"access_token": "a", "refresh_token": "r", "expires_in": 60})


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


def test_the_device_login(server: WebServer, capsys: pytest.CaptureFixture[str]) -> None:
    idp = IdP(server)
    (example,) = (each for each in EXAMPLES if "class DeviceLogin" in each)
    names = run(example)
    names["client"].close()
    callback = names["DeviceLogin"]()
    info = OIDCIdPInfo(server.url, "app", ["db"])
    result = callback.fetch(OIDCCallbackContext(300, "ada", 1, None, info))
    assert (result.access_token, result.refresh_token, result.expires_in_seconds) == ("a", "r", 60)
    assert "Open https://idp/ and enter AB-12" in capsys.readouterr().out
    assert idp.forms[0] == {"client_id": "app", "scope": "openid offline_access db"}
    assert [form["device_code"] for form in idp.forms[1:]] == ["d", "d"]
    callback.fetch(OIDCCallbackContext(300, "ada", 1, "r", info))
    assert idp.forms[-1]["refresh_token"] == "r"
    with pytest.raises(RuntimeError, match="invalid_grant"):
        callback.fetch(OIDCCallbackContext(300, "ada", 1, "expired", info))

"""SSPI through winkerberos, as far as it can be tried elsewhere: a stand-in that holds calls to
winkerberos's documentation (github.com/mongodb/winkerberos, README and docstrings), and records.

Only the last test uses the real module, on Windows, where no domain is at hand: it can see the
calls accepted, not a login succeed.
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest

from mongokey.auth.conversation import run_blocking
from mongokey.auth.credential import MongoCredential, build_credential
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.kerberos import libraries
from mongokey.auth.kerberos.conversation import GssapiConversation
from mongokey.auth.kerberos.interface import KerberosFailure, Service
from mongokey.auth.kerberos.tickets import PasswordTickets
from mongokey.errors import ConfigurationError

ADDRESS = ("mongo.example.com", 27017)


class KrbError(Exception):
    pass


class GSSError(KrbError):
    pass


class StandIn(ModuleType):
    """winkerberos's functions, with their documented arguments and results."""

    AUTH_GSS_COMPLETE = 1
    AUTH_GSS_CONTINUE = 0
    GSS_C_MUTUAL_FLAG = 2
    KrbError = KrbError
    GSSError = GSSError

    def __init__(self) -> None:
        super().__init__("winkerberos")
        self.calls: list[tuple[Any, ...]] = []
        self.logged_on = True

    def authGSSClientInit(
        self,
        service: str,
        principal: Any = None,
        gssflags: int = 6,
        user: str | None = None,
        domain: str | None = None,
        password: Any = None,
        mech_oid: Any = None,
    ) -> tuple[int, Any]:
        assert isinstance(service, str)
        # "Can be unicode or any 8 bit string type"; UTF-8, and percent-encoded where needed.
        if principal is not None:
            name, _, secret = bytes(principal).decode().partition(":")
            principal = unquote(name), unquote(secret)
        self.calls.append(("init", service, principal, gssflags, user, domain, password))
        return self.AUTH_GSS_COMPLETE, {"response": None, "steps": 0, "user": principal}

    def authGSSClientStep(self, context: Any, challenge: str, channel_bindings: Any = None) -> int:
        assert isinstance(challenge, str)
        if not self.logged_on and context["user"] is None:
            raise GSSError(
                "SSPI: InitializeSecurityContext: No credentials are available in the security "
                "package\r\n"
            )
        self.calls.append(("step", b64decode(challenge, validate=True)))
        context["steps"] += 1
        if context["steps"] == 1:
            context["response"] = b64encode(b"first token").decode()
            return self.AUTH_GSS_CONTINUE
        context["response"] = None
        return self.AUTH_GSS_COMPLETE

    def authGSSClientResponse(self, context: Any) -> str | None:
        response: str | None = context["response"]
        return response

    def authGSSClientUserName(self, context: Any) -> str:
        return "ada@EXAMPLE.COM"

    def authGSSClientUnwrap(self, context: Any, challenge: str) -> int:
        self.calls.append(("unwrap", b64decode(challenge, validate=True)))
        context["response"] = b64encode(b"\7\xff\xff\xff").decode()
        return self.AUTH_GSS_COMPLETE

    def authGSSClientWrap(
        self, context: Any, data: str, user: str | None = None, protect: int = 0
    ) -> int:
        # "If `user` is None, this should be a base64 encoded authorization message".
        assert user is None
        assert protect == 0
        message = b64decode(data, validate=True)
        self.calls.append(("wrap", message))
        context["response"] = b64encode(b"wrapped:" + message).decode()
        return self.AUTH_GSS_COMPLETE


@pytest.fixture
def winkerberos(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "winkerberos", module)
    monkeypatch.setattr(libraries, "ON_WINDOWS", True)
    monkeypatch.setattr(libraries, "_loaded", {})
    return module


def credential(password: str | None = None, **properties: str) -> MongoCredential:
    made = build_credential("GSSAPI", "ada@EXAMPLE.COM", password, properties=properties)
    assert made is not None
    return made


def converse(who: MongoCredential) -> list[bytes]:
    """A whole login against a server that the test plays; returns the payloads sent."""
    replies = iter([(b"mutual", False), (b"layers", False), (b"", True)])
    sent: list[bytes] = []

    def send(database: str, command: dict[str, Any]) -> dict[str, Any]:
        assert database == "$external"
        sent.append(command["payload"])
        payload, done = next(replies)
        return {"conversationId": 1, "done": done, "payload": payload, "ok": 1}

    run_blocking(GssapiConversation(who, ADDRESS), send)
    return sent


CHOICE = b"\1\0\0\0ada@EXAMPLE.COM"


def test_the_logged_on_user_is_not_named_to_windows(winkerberos: StandIn) -> None:
    assert converse(credential()) == [b"first token", b"", b"wrapped:" + CHOICE]
    assert winkerberos.calls == [
        ("init", "mongodb@mongo.example.com", None, 2, None, None, None),
        ("step", b""),
        ("step", b"mutual"),
        ("unwrap", b"layers"),
        ("wrap", CHOICE),
    ]


@pytest.mark.parametrize("password", ["secret", "p:a%3As%s", "p\u00e4ss \u6f22 \U0001f511+&"])
def test_user_and_password_reach_windows_as_they_are(winkerberos: StandIn, password: str) -> None:
    converse(credential(password))
    assert winkerberos.calls[0][2] == ("ada@EXAMPLE.COM", password)


def test_service_name_host_and_realm(winkerberos: StandIn) -> None:
    converse(credential(SERVICE_NAME="other", SERVICE_HOST="real", SERVICE_REALM="ACME.COM"))
    assert winkerberos.calls[0][1] == "other/real@ACME.COM"


def test_nobody_logged_on_is_explained(winkerberos: StandIn) -> None:
    winkerberos.logged_on = False
    with pytest.raises(AuthenticationFailed, match="No credentials are available") as caught:
        converse(credential())
    assert "winkerberos: SSPI" in str(caught.value)


def test_without_winkerberos_the_error_has_the_command(
    winkerberos: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "winkerberos", None)
    with pytest.raises(ConfigurationError, match="-m pip install winkerberos"):
        converse(credential())


@pytest.mark.skipif(sys.platform != "win32", reason="SSPI is Windows's own")
def test_the_real_module_takes_the_calls() -> None:
    library = libraries.find_library(password=True)
    assert library.package == "winkerberos"
    service = Service("mongodb", "no-such-host.invalid", None, "as in the address")
    for password in (None, "not the p:ss%20word"):
        with pytest.raises(KerberosFailure) as caught:
            library.open(service, "ada@EXAMPLE.INVALID", password, PasswordTickets()).step(b"")
        assert caught.value.library == "winkerberos"
        assert caught.value.messages[0][0].startswith("SSPI")

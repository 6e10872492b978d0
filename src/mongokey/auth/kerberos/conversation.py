"""The GSSAPI conversation (Kerberos, RFC 4752).

Knows SASL's side of Kerberos: tokens until the context stands, then the choice of no security
layer. How a ticket comes about is the business of the modules beside it, whose calls it hands out
as work; it waits for nobody itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.auth import sasl
from mongokey.auth.conversation import AbandonableCall, Conversation, OffloadedCall, Step
from mongokey.auth.credential import MongoCredential
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ServerProofError
from mongokey.auth.kerberos import canonical_host
from mongokey.auth.kerberos.error_codes import find_cause
from mongokey.auth.kerberos.evidence import Evidence
from mongokey.auth.kerberos.interface import Context, KerberosFailure, Service
from mongokey.auth.kerberos.open_context import open_context
from mongokey.auth.kerberos.tickets import PasswordTickets
from mongokey.errors import ConfigurationError, NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
# RFC 4752, section 3.3: bits of the first octet of the security layers' message.
NO_LAYER = 1
INTEGRITY = 2
CONFIDENTIALITY = 4
_LAYER_NAMES = {INTEGRITY: "integrity", CONFIDENTIALITY: "confidentiality"}

# RFC 4752, section 3.1: "no security layer", and 0 for the largest message we take.
_CHOICE = bytes((NO_LAYER, 0, 0, 0))
_LAYERS_SIZE = 4

# A Kerberos context stands after one token of the server's; more than this is a broken server.
_MOST_TOKENS = 10


class _OpenWork(AbandonableCall):
    """Finds the service's name, gets a ticket for it, and makes the first token."""

    def __init__(self, service: Service, credential: MongoCredential, evidence: Evidence) -> None:
        self.what = f"asking Kerberos for a ticket for {service}"
        self._service = service
        self._credential = credential
        self._evidence = evidence
        self.context: Context | None = None
        self.token = b""

    def _work(self) -> None:
        credential = self._credential
        username = credential.username
        assert username is not None, "GSSAPI's rules require a user name"
        self.context = open_context(
            self._service,
            credential.mechanism_properties.get("CANONICALIZE_HOST_NAME", canonical_host.NONE),
            username,
            credential.password,
            credential.state.shared.cache("GSSAPI", PasswordTickets),
            self._evidence,
            self.deadline,
        )
        self.token = self.context.step(b"")


class _StepWork(OffloadedCall):
    """Takes the server's token: computing, which asks nobody."""

    what = "checking the server's Kerberos token"

    def __init__(self, context: Context, token: bytes) -> None:
        self._context = context
        self._given = token
        self.token = b""

    def _work(self) -> None:
        self.token = self._context.step(self._given)


class _LayerWork(OffloadedCall):
    """Answers the server's offer of security layers with none and the user's name."""

    what = "choosing no security layer"

    def __init__(self, context: Context, token: bytes, username: str) -> None:
        self._context = context
        self._given = token
        self._username = username
        self.token = b""

    def _work(self) -> None:
        check_layers(self._context.unwrap(self._given))
        self.token = self._context.wrap(_CHOICE + self._username.encode())


class GssapiConversation(Conversation):
    """Tokens both ways until the context stands, then the layers' offer and choice.

    The server proves itself with its first token (mutual authentication): it could read the
    ticket, and so has the service's key.
    """

    mechanism = "GSSAPI"

    def __init__(self, credential: MongoCredential, address: AddressLike) -> None:
        self.source = credential.source
        self._credential = credential
        properties = credential.mechanism_properties
        host, port = address
        origin = "as in the address"
        given = properties.get("SERVICE_HOST")
        if given is not None:
            host, origin = given, "SERVICE_HOST"
        self._is_path = port is None and given is None
        self._service = Service(
            properties["SERVICE_NAME"], host, properties.get("SERVICE_REALM"), origin
        )
        self._evidence = Evidence(credential.username or "", credential.password is not None)
        self._context: Context | None = None
        self._answer: sasl.SaslReply | None = None
        self._tokens = 0
        self._chosen = False

    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        if self._is_path:
            raise ConfigurationError(
                f"GSSAPI: a Unix socket ({self._service.host}) has no host name to ask a ticket "
                "for: give authMechanismProperties=SERVICE_HOST:<the server's full name>"
            )
        self._evidence.service = self._service
        return _OpenWork(self._service, self._credential, self._evidence)

    def step(self, reply: Mapping[str, Any]) -> Step:
        if not reply.get("ok"):
            self._failed()
        return super().step(reply)

    def _next(self, reply: Mapping[str, Any]) -> Step:
        answer = self._answer = sasl.read(reply, "GSSAPI")
        if self._chosen:
            if not answer.done:
                raise ServerProofError(
                    "GSSAPI: the server wants to go on after the choice of the security layer"
                )
            return None
        if answer.done:
            raise ServerProofError(
                "GSSAPI: the server ended the login before it offered the security layers"
            )
        assert self._context is not None, "a reply comes after the first token"
        if self._context.complete:
            return _LayerWork(self._context, answer.payload, self._evidence.username)
        self._tokens += 1
        if self._tokens > _MOST_TOKENS:
            raise ServerProofError(f"GSSAPI: no end after {_MOST_TOKENS} tokens of the server's")
        return _StepWork(self._context, answer.payload)

    def resume(self, work: OffloadedCall) -> Step:
        error = work.error
        if error is None:
            return self._resumed(work)
        if isinstance(work, _OpenWork):
            self._context = work.context
        self._failed()
        if isinstance(error, NetworkTimeout):
            self._evidence.timed_out = True
            raise LoginTimeout(str(error)) from None
        if isinstance(error, KerberosFailure):
            self._evidence.failure = error
            if not isinstance(work, _OpenWork) and find_cause(error) is None:
                raise ServerProofError(
                    f"GSSAPI: what the server sent is not Kerberos's answer to us: {error}"
                ) from None
            raise AuthenticationFailed(str(error)) from None
        raise error

    def _resumed(self, work: OffloadedCall) -> Step:
        if isinstance(work, _OpenWork):
            self._context = work.context
            return sasl.start("GSSAPI", work.token)
        assert self._answer is not None, "the other works take a reply's payload"
        if isinstance(work, _StepWork):
            if self._context is not None and self._context.complete:
                self._evidence.principal = self._context.principal
            return sasl.proceed(self._answer, work.token)
        assert isinstance(work, _LayerWork), "no other work is handed out"
        self._chosen = True
        return sasl.proceed(self._answer, work.token)

    def _failed(self) -> None:
        if self._context is not None:
            self._context.failed()

    def credential_description(self) -> str | None:
        service = self._evidence.service
        if service is None:
            return None
        through = f", through {self._evidence.library}" if self._evidence.library else ""
        return f"Kerberos service {service} (host name: {service.origin}){through}"

    def diagnostic_context(self) -> Evidence:
        return self._evidence


def check_layers(message: bytes) -> None:
    """Check the server's offer of security layers (RFC 4752, section 3.1), already unwrapped.

    Raises ServerProofError when it is malformed or does not offer "no security layer". What
    else is offered does not matter, nor the server's maximum size: Cyrus SASL, which servers
    use, sends one also when it offers no layer.
    """
    if len(message) != _LAYERS_SIZE:
        raise ServerProofError(
            f"GSSAPI: the server's offer of security layers has {len(message)} bytes, not "
            f"{_LAYERS_SIZE}"
        )
    offered = message[0]
    if not offered & NO_LAYER:
        names = [name for bit, name in _LAYER_NAMES.items() if offered & bit]
        raise ServerProofError(
            f"GSSAPI: the server does not offer to go on without a security layer (it offers "
            f"{' and '.join(names) or 'none at all'}), and MongoDB's protocol has none"
        )

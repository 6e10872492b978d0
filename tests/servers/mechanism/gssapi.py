"""GSSAPI: the mechanism server's Kerberos side, with the real GSS library and a keytab.

It accepts a ticket with the key in its keytab and takes the user's name from the ticket; then it
offers security layers and checks the choice (RFC 4752, section 3.2). Written from the RFC; must
not know the code under test.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.mechanism.acceptor import Acceptor, Continue, Done, Exchange, Refused, Session
from tests.servers.needs import need_module

NO_LAYER = 1
INTEGRITY = 2
CONFIDENTIALITY = 4
#: What a server built on Cyrus SASL offers: all layers, and messages of up to 16 MiB.
USUAL_OFFER = bytes((NO_LAYER | INTEGRITY | CONFIDENTIALITY, 0xFF, 0xFF, 0xFF))


@dataclass(frozen=True)
class Choice:
    """What a client answered to the offer: the octet of the layer, its maximum size, a name."""

    layer: int
    size: int
    authorization: str


class GssapiAcceptor(Acceptor):
    """Accepts tickets for the services in `keytab`.

    :param keytab: the services' keys
    :param offer: the message of the security layers, before it is wrapped
    :param wrapped: what to send instead of the wrapped offer (a server that breaks the protocol)
    :param token: what to send instead of the first token
    :param tells_errors: send the library's error tokens to the client, which mongod does not

    To read: `choices`, what the clients answered to the offer.
    """

    mechanism = "GSSAPI"

    def __init__(
        self,
        keytab: Path,
        *,
        offer: bytes = USUAL_OFFER,
        wrapped: bytes | None = None,
        token: bytes | None = None,
        tells_errors: bool = False,
    ) -> None:
        self.raw: Any = need_module("gssapi.raw", extra="gssapi")
        self.store = {
            b"keytab": f"FILE:{keytab}".encode(),
            b"rcache": f"file2:{keytab}.replays".encode(),
        }
        self.offer = offer
        self.wrapped = wrapped
        self.token = token
        self.tells_errors = tells_errors
        self.choices: list[Choice] = []
        self._lock = threading.Lock()

    def begin(self, session: Session) -> Exchange:
        return _Exchange(self)

    def note(self, choice: Choice) -> None:
        with self._lock:
            self.choices.append(choice)


class _Exchange(Exchange):
    def __init__(self, acceptor: GssapiAcceptor) -> None:
        self._acceptor = acceptor
        self._raw: Any = acceptor.raw
        self._context: Any = None
        self._complete = False
        self._offered = False
        self._identity = ""

    def step(self, payload: bytes) -> Continue | Done:
        try:
            if not self._complete:
                return self._accept(payload)
            if not self._offered:
                # RFC 4752, section 3.1: the client's last token is empty for Kerberos.
                if payload:
                    raise Refused(detail=f"{len(payload)} bytes, not the empty token expected")
                return self._offer()
            return self._take_choice(self._raw.unwrap(self._context, payload).message)
        except self._raw.GSSError as error:
            if self._acceptor.tells_errors and error.token:
                return Continue(error.token)
            raise Refused(detail=str(error)) from error

    def _accept(self, payload: bytes) -> Continue:
        raw = self._raw
        credential = raw.acquire_cred_from(self._acceptor.store, usage="accept").creds
        result = raw.accept_sec_context(payload, credential, self._context)
        self._context = result.context
        if self._acceptor.token is not None:
            return Continue(self._acceptor.token)
        if not result.more_steps:
            self._complete = True
            self._identity = raw.display_name(result.initiator_name).name.decode()
            if not result.token:
                return self._offer()
        return Continue(result.token or b"")

    def _offer(self) -> Continue:
        self._offered = True
        if self._acceptor.wrapped is not None:
            return Continue(self._acceptor.wrapped)
        return Continue(self._raw.wrap(self._context, self._acceptor.offer, False).message)

    def _take_choice(self, message: bytes) -> Done:
        if len(message) < 4:
            raise Refused(detail=f"a choice of {len(message)} bytes")
        size = int.from_bytes(message[1:4], "big")
        choice = Choice(message[0], size, message[4:].decode())
        self._acceptor.note(choice)
        if choice.layer != NO_LAYER:
            raise Refused(detail=f"the client chose layer {choice.layer}")
        if choice.authorization not in ("", self._identity):
            raise Refused(
                detail=f"{self._identity} may not act as {choice.authorization}: not the same"
            )
        return Done(self._identity)

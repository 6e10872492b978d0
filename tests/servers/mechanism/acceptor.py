"""What a mechanism is to the mechanism server: an `Acceptor` that begins `Exchange`s.

Knows SASL's shape (payloads back and forth until one side is satisfied); must not know commands,
sockets, or any mechanism.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

EXTERNAL = "$external"


@dataclass(frozen=True)
class Continue:
    """The server has something to say and waits for the client's next payload."""

    payload: bytes


@dataclass(frozen=True)
class Done:
    """The client is who it says: `identity` is its name in the acceptor's source."""

    identity: str
    payload: bytes = b""


class Refused(Exception):
    """The client is refused with this error; `detail` is for the server's own log only."""

    def __init__(
        self,
        errmsg: str = "Authentication failed.",
        code: int = 18,
        code_name: str = "AuthenticationFailed",
        *,
        detail: str = "",
    ) -> None:
        super().__init__(detail or errmsg)
        self.detail = detail or errmsg
        self.code = code
        self.reply: dict[str, Any] = {
            "ok": 0.0,
            "errmsg": errmsg,
            "code": code,
            "codeName": code_name,
        }


@dataclass(frozen=True)
class Session:
    """The client's connection: its number, counted from 1, and whether TLS protects it."""

    number: int
    tls: bool


class Exchange(ABC):
    """One login of one connection, the server's side."""

    @abstractmethod
    def step(self, payload: bytes) -> Continue | Done:
        """Answer the client's next payload, saslStart's first; raises `Refused`."""


class Acceptor(ABC):
    """One mechanism of a server. It is used by many connections at once.

    `source` is the only database it accepts a saslStart in; `speculates` says whether hello may
    carry its first step.
    """

    mechanism: str
    source: str = EXTERNAL
    speculates: bool = False

    @abstractmethod
    def begin(self, session: Session) -> Exchange:
        """A new exchange."""

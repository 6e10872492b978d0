"""The saslStart and saslContinue documents, made and read in this one place.

Knows source/auth/auth.md, "SASL Mechanisms"; must not know what any payload says.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.auth.errors import ServerProofError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

# Payloads are a few hundred bytes; a Kerberos or OIDC one reaches tens of kilobytes.
MAX_PAYLOAD = 1 << 20


class SaslReply:
    """A server's SASL answer: what to say in saslContinue, whether it is done, its message."""

    __slots__ = ("conversation_id", "done", "payload")

    def __init__(self, conversation_id: int | float, done: bool, payload: bytes) -> None:
        self.conversation_id = conversation_id
        self.done = done
        self.payload = payload


def start(
    mechanism: str, payload: bytes, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The saslStart command for the mechanism's first message."""
    command: dict[str, Any] = {
        "saslStart": 1,
        "mechanism": mechanism,
        "payload": payload,
        "autoAuthorize": 1,
    }
    if options is not None:
        command["options"] = options
    return command


def proceed(reply: SaslReply, payload: bytes) -> dict[str, Any]:
    """The saslContinue command for the mechanism's next message."""
    return {"saslContinue": 1, "conversationId": reply.conversation_id, "payload": payload}


def read(reply: Mapping[str, Any], mechanism: str) -> SaslReply:
    """Check the types of a reply to saslStart or saslContinue.

    Raises ServerProofError, naming the field, when one is missing or not what it should be.
    """
    conversation_id = reply.get("conversationId")
    done = reply.get("done")
    payload = reply.get("payload")
    # An int32 from every server known; other numbers of BSON are sent back as they came.
    if type(conversation_id) is not int:
        if not isinstance(conversation_id, (int, float)) or isinstance(conversation_id, bool):
            raise _broken(mechanism, "conversationId", "a number", conversation_id)
    elif not -(1 << 63) <= conversation_id < 1 << 63:
        raise ServerProofError(f"{mechanism}: the server's conversationId does not fit 64 bits")
    if not isinstance(done, bool):
        raise _broken(mechanism, "done", "true or false", done)
    if not isinstance(payload, bytes):
        raise _broken(mechanism, "payload", "binary data", payload)
    if len(payload) > MAX_PAYLOAD:
        raise ServerProofError(
            f"{mechanism}: the server's payload has {len(payload)} bytes, more than {MAX_PAYLOAD}"
        )
    return SaslReply(conversation_id, done, payload)


def _broken(mechanism: str, name: str, expected: str, value: Any) -> ServerProofError:
    seen = "is missing" if value is None else f"is {type(value).__name__}"
    return ServerProofError(
        f"{mechanism}: the server broke the SASL exchange: {name} {seen}, expected {expected}"
    )

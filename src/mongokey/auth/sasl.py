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

    __slots__ = ("conversation_id", "done", "mechanism", "payload")

    def __init__(self, conversation_id: Any, done: bool, payload: bytes, mechanism: str) -> None:
        self.conversation_id = conversation_id
        self.done = done
        self.payload = payload
        self.mechanism = mechanism


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
    """The saslContinue command for the mechanism's next message.

    Raises ServerProofError when the server gave the conversation no id.
    """
    # An int32 from MongoDB; whatever another server calls it by is sent back as it came.
    if reply.conversation_id is None:
        raise _broken(reply.mechanism, "conversationId", "a number", None)
    return {"saslContinue": 1, "conversationId": reply.conversation_id, "payload": payload}


def read(reply: Mapping[str, Any], mechanism: str) -> SaslReply:
    """Check the types of a reply to saslStart or saslContinue.

    A missing payload is an empty one. Raises ServerProofError, naming the field, when one is not
    what it should be, or `done` is missing.
    """
    done = reply.get("done")
    payload = reply.get("payload")
    if done is not True and done is not False:
        # 1 or 1.0 from servers that only look like MongoDB.
        if not isinstance(done, (int, float)):
            raise _broken(mechanism, "done", "true or false", done)
        done = done == 1
    if payload is None:
        payload = b""
    if not isinstance(payload, bytes):
        raise _broken(mechanism, "payload", "binary data", payload)
    if len(payload) > MAX_PAYLOAD:
        raise ServerProofError(
            f"{mechanism}: the server's payload has {len(payload)} bytes, more than {MAX_PAYLOAD}"
        )
    return SaslReply(reply.get("conversationId"), done, payload, mechanism)


def _broken(mechanism: str, name: str, expected: str, value: Any) -> ServerProofError:
    seen = "is missing" if value is None else f"is {type(value).__name__}"
    return ServerProofError(
        f"{mechanism}: the server broke the SASL exchange: {name} {seen}, expected {expected}"
    )

from collections.abc import Mapping
from typing import Any

MAX_PAYLOAD: int

class SaslReply:
    def __init__(
        self, conversation_id: Any, done: bool, payload: bytes, mechanism: str
    ) -> None: ...
    @property
    def conversation_id(self) -> Any: ...
    @property
    def done(self) -> bool: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def mechanism(self) -> str: ...

def start(
    mechanism: str, payload: bytes, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The saslStart command for the mechanism's first message."""

def proceed(reply: SaslReply, payload: bytes) -> dict[str, Any]:
    """The saslContinue command for the mechanism's next message.

    Raises ServerProofError when the server gave the conversation no id.
    """

def read(reply: Mapping[str, Any], mechanism: str) -> SaslReply:
    """Check the types of a reply to saslStart or saslContinue.

    A missing payload is an empty one. Raises ServerProofError, naming the field, when one is not
    what it should be, or `done` is missing.
    """

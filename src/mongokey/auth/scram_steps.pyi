from collections.abc import Mapping
from typing import Any

from mongokey._support.address import AddressLike
from mongokey.auth.conversation import Document, OffloadedCall, Step
from mongokey.auth.credential import MongoCredential
from mongokey.auth.keycache import KeyCache

MIN_ITERATIONS: int
MAX_ITERATIONS: int
NONCE_BYTES: int
MAX_SERVER_FIRST: int

class ScramState:
    """What logins of one credential by one mechanism share: keys, and the name as it is sent."""

    @property
    def keys(self) -> KeyCache: ...

class ScramSteps:
    """One SCRAM login; `scram.ScramConversation` adds the derivation of keys.

    `max_iterations` is the most a server may ask for; `_nonce` fixes the client's nonce and is
    for tests with the RFCs' vectors.
    """

    mechanism: str
    source: str
    credential: MongoCredential
    state: ScramState
    def __init__(
        self,
        mechanism: str,
        credential: MongoCredential,
        address: AddressLike,
        *,
        max_iterations: int = ...,
        _nonce: bytes | None = None,
    ) -> None: ...
    def speculative(self) -> Document: ...
    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step: ...
    def step(self, reply: Mapping[str, Any]) -> Step: ...
    def saved_state(self) -> Any: ...
    def _next(self, reply: Mapping[str, Any]) -> Step: ...
    def _resumed(self, work: OffloadedCall) -> Step: ...
    def _derivation(self, salt: bytes, iterations: int) -> OffloadedCall:
        """The `OffloadedCall` that derives the keys for a salt in base64, into its `keys`."""

def read_server_first(payload: bytes) -> tuple[bytes, bytes, int] | None:
    """(nonce, salt in base64, iterations) of a server-first-message; None for what is none."""

def read_server_final(payload: bytes) -> tuple[bytes | None, bytes | None] | None:
    """(signature in base64, error) of a server-final-message, one of them None; None for what is
    none."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from mongokey._support.address import AddressLike
from mongokey.auth.conversation import Conversation, Document, OffloadedCall
from mongokey.auth.credential import MongoCredential
from mongokey.handshake.hello import ServerApiLike
from mongokey.handshake.metadata import ClientMetadata
from mongokey.handshake.reply import HelloReply

Steps = Generator[Command | OffloadedCall, Mapping[str, Any] | None, LoginResult]

class Command:
    """A command to send as OP_MSG; answer the generator with the decoded reply, errors too."""

    def __init__(self, database: str, document: Document) -> None: ...
    @property
    def database(self) -> str: ...
    @property
    def document(self) -> Document: ...

class LoginResult:
    """What a login came to.

    `mechanism` is None when nobody logged in (no credential, or an arbiter); `round_trips`
    counts the messages sent, hello included; `speculative` says whether the answer to the
    speculative first step was used. `saved_state` is what the conversation left for a later login
    on the same connection (`Conversation.saved_state`).
    """

    hello: HelloReply
    mechanism: str | None
    round_trips: int
    speculative: bool
    saved_state: Any
    def __init__(
        self,
        hello: HelloReply,
        mechanism: str | None,
        round_trips: int,
        speculative: bool,
        saved_state: Any = None,
    ) -> None: ...

class Greeting:
    """A server's answer to hello, and what `authenticate` needs to go on from there.

    `hello` is None only where one logs in again without saying it.
    """

    def __init__(
        self,
        hello: HelloReply | None,
        credential: MongoCredential | None,
        address: AddressLike,
        server_api: ServerApiLike | None,
        subject: str | None,
        conversation: Conversation | None,
        reply: Mapping[str, Any] | None,
    ) -> None: ...
    @property
    def hello(self) -> HelloReply | None: ...
    @property
    def credential(self) -> MongoCredential | None: ...
    @property
    def address(self) -> AddressLike: ...
    @property
    def server_api(self) -> ServerApiLike | None: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def conversation(self) -> Conversation | None: ...
    @property
    def reply(self) -> Mapping[str, Any] | None: ...

def greet(
    credential: MongoCredential | None,
    metadata: ClientMetadata | None,
    address: AddressLike,
    *,
    server_api: ServerApiLike | None = None,
    load_balanced: bool = False,
    hello_ok: bool = False,
    compressors: Sequence[str] = (),
    subject: str | None = None,
    to_be_used: bool = True,
) -> Generator[Command | OffloadedCall, Mapping[str, Any] | None, Greeting]:
    """Say hello on a new connection; the login is `authenticate`'s, once the server is found to be
    one that is to be used.

    `to_be_used` says that this is known already: only then a login may go along with hello whose
    speculative step is all of it. The generator returns a `Greeting`; what it yields and raises is
    as in `whole_login.login`, but the server's version is not looked at.
    """

def authenticate(greeting: Greeting) -> Steps:
    """Log in on a connection whose server has said hello (`greet`). Yields, returns and raises what
    `whole_login.login` does."""

def converse(
    conversation: Conversation, speculative_reply: Mapping[str, Any] | None, greeting: Greeting
) -> Generator[Command | OffloadedCall, Mapping[str, Any] | None, int]:
    """Hold the conversation; returns how many commands it took. Explains its failures."""

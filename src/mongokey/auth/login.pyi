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

def login(
    credential: MongoCredential | None,
    metadata: ClientMetadata | None,
    address: AddressLike,
    *,
    server_api: ServerApiLike | None = None,
    load_balanced: bool = False,
    hello_ok: bool = False,
    compressors: Sequence[str] = (),
    subject: str | None = None,
) -> Steps:
    """Say hello on a new connection and log in: `greet`, then `authenticate`.

    For each `Command` that comes out, send it and `send()` the reply in; for each `OffloadedCall`,
    run it (a blocking driver here, an asyncio driver in a thread) and `send(None)`. The generator
    returns a `LoginResult`; who gives up before that closes it (`close()`). `subject` is the one of
    the connection's client certificate (RFC 2253 order), "" when there is none, None when that is
    not known.

    Raises AuthenticationFailed (an OperationFailure), with user, source and next step in its
    message, when the server refuses; ServerProofError when it does not prove itself;
    ConfigurationError when the server's version does not fit; ProtocolError when its hello
    makes no sense. After an error the connection must be closed.
    """

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
    as in `login`, but the server's version is not looked at.
    """

def authenticate(greeting: Greeting) -> Steps:
    """Log in on a connection whose server has said hello (`greet`). Yields, returns and raises what
    `login` does."""

def reauthenticate(
    credential: MongoCredential,
    address: AddressLike,
    mechanism: str | None = None,
    saved_state: Any = None,
    server_api: ServerApiLike | None = None,
) -> Generator[Command | OffloadedCall, Mapping[str, Any] | None, Any]:
    """Log in again on a connection whose server asked for it (error 391); no hello is sent.

    `mechanism` is the one the connection logged in with (`LoginResult.mechanism`); by default
    the credential's, then the one negotiated last. `saved_state` is that login's
    (`LoginResult.saved_state`), and the generator returns the new one's. Driven and failing as
    `login`.
    """

"""A login from hello to its end, as a generator that both faces drive.

Yields commands to send and work to do off the wire; knows negotiation, speculation and what is
remembered between logins (auth.md, "Authentication Handshake"). Must not know sockets, clocks,
or any mechanism by name.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from mongokey._replies import STATE_CHANGE_CODES, raise_command_error
from mongokey.auth.conversation import Conversation, Document, Work
from mongokey.auth.diagnosis import LoginFacts, explain, explain_hello, format_address
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.registry import PREFERRED, find_rules, negotiate, open_conversation
from mongokey.errors import ConfigurationError, NotPrimaryError, OperationFailure
from mongokey.handshake.hello import hello_command
from mongokey.handshake.reply import HelloReply

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.handshake.hello import ServerApiLike
    from mongokey.handshake.metadata import ClientMetadata

    Steps = Generator["Command | Work", "Mapping[str, Any] | None", "LoginResult"]

Address = tuple[str, int | None]


class Command:
    """A command to send as OP_MSG; answer the generator with the decoded reply, errors too."""

    __slots__ = ("database", "document")

    def __init__(self, database: str, document: Document) -> None:
        self.database = database
        self.document = document


class LoginResult:
    """What a login came to.

    `mechanism` is None when nobody logged in (no credential, or an arbiter); `round_trips`
    counts the messages sent, hello included; `speculative` says whether the answer to the
    speculative first step was used. `memory` is what the conversation left for a later login on
    the same connection (`Conversation.memory`).
    """

    __slots__ = ("hello", "mechanism", "memory", "round_trips", "speculative")

    def __init__(
        self,
        hello: HelloReply,
        mechanism: str | None,
        round_trips: int,
        speculative: bool,
        memory: Any = None,
    ) -> None:
        self.hello = hello
        self.mechanism = mechanism
        self.round_trips = round_trips
        self.speculative = speculative
        self.memory = memory


def login(
    credential: MongoCredential | None,
    metadata: ClientMetadata | None,
    address: Address,
    *,
    server_api: ServerApiLike | None = None,
    load_balanced: bool = False,
    hello_ok: bool = False,
    compressors: Sequence[str] = (),
    subject: str | None = None,
) -> Steps:
    """Say hello on a new connection and log in.

    For each `Command` that comes out, send it and `send()` the reply in; for each `Work`, run
    it (a blocking driver here, an asyncio driver in a thread) and `send(None)`. The generator
    returns a `LoginResult`. `subject` is the one of the connection's client certificate (RFC 2253
    order), "" when there is none, None when that is not known.

    Raises AuthenticationFailed (an OperationFailure), with user, source and next step in its
    message, when the server refuses; ServerProofError when it does not prove itself;
    ConfigurationError when the server's version does not fit; ProtocolError when its hello
    makes no sense. After an error the connection must be closed.
    """
    conversation: Conversation | None = None
    speculated: Document | None = None
    question: str | None = None
    if credential is not None:
        mechanism = credential.mechanism
        if mechanism is None:
            # A hundred connections of one user: what the first one ended with comes first.
            mechanism = credential.state.mechanism or PREFERRED
            question = f"{credential.source}.{credential.username}"
        if subject == "" and find_rules(mechanism).certificate:
            raise ConfigurationError(
                f"{mechanism} logs in with the client certificate of TLS, and there is none: give "
                "tlsCertificateKeyFile (a PEM file with certificate and key)"
            )
        conversation = open_conversation(credential, mechanism, address)
        speculated = conversation.speculative()
    answer = yield Command(
        "admin",
        hello_command(
            metadata.raw if metadata is not None else None,
            server_api=server_api,
            load_balanced=load_balanced,
            hello_ok=hello_ok,
            compressors=compressors,
            sasl_supported_mechs=question,
            speculative=speculated,
        ),
    )
    assert answer is not None, "a Command is answered with its reply"
    speculates, speculated = speculated is not None, None  # it may hold a secret
    if not answer.get("ok"):
        _refuse_hello(answer, credential, address)
    hello = HelloReply(answer)
    if not hello.is_compatible:
        hello.check_compatible(format_address(address))
    if credential is None or conversation is None or hello.is_arbiter:
        return LoginResult(hello, None, 1, False)

    facts = LoginFacts(credential, address, conversation.mechanism, hello)
    facts.subject = subject or None
    reply = hello.speculative_authenticate if speculates else None
    if credential.mechanism is None:
        facts.offered = hello.sasl_supported_mechs
        facts.mechanism = chosen = negotiate(facts.offered)
        if chosen != conversation.mechanism:
            # The server speculated about a mechanism that this user will not log in with.
            conversation = open_conversation(credential, chosen, address)
            reply = None
    commands = yield from _converse(conversation, reply, facts)
    state = credential.state
    if credential.mechanism is None:
        state.mechanism = conversation.mechanism
    state.logged_in = True
    speculative = reply is not None
    memory = conversation.memory()
    return LoginResult(hello, conversation.mechanism, 1 + commands, speculative, memory)


def reauthenticate(
    credential: MongoCredential,
    address: Address,
    mechanism: str | None = None,
    memory: Any = None,
) -> Generator[Command | Work, Mapping[str, Any] | None, Any]:
    """Log in again on a connection whose server asked for it (error 391); no hello is sent.

    `mechanism` is the one the connection logged in with (`LoginResult.mechanism`); by default
    the credential's, then the one negotiated last. `memory` is that login's (`LoginResult.memory`),
    and the generator returns the new one's. Driven and failing as `login`.
    """
    chosen = mechanism or credential.mechanism or credential.state.mechanism or negotiate(None)
    conversation = open_conversation(credential, chosen, address)
    conversation.renew(memory)
    yield from _converse(conversation, None, LoginFacts(credential, address, chosen, None))
    credential.state.reauthentications += 1
    return conversation.memory()


def _converse(
    conversation: Conversation, speculative_reply: Mapping[str, Any] | None, facts: LoginFacts
) -> Generator[Command | Work, Mapping[str, Any] | None, int]:
    """Hold the conversation; returns how many commands it took. Explains its failures."""
    commands = 0
    database = conversation.source
    try:
        step = conversation.start(speculative_reply)
        while step is not None:
            if isinstance(step, Work):
                yield step
                step = conversation.resume(step)
            else:
                command = Command(database, step)
                commands += 1
                # In no variable: tools that report errors print those, and it may hold a secret.
                step = None
                reply = yield command
                assert reply is not None, "a Command is answered with its reply"
                step = conversation.step(reply)
    except NotPrimaryError:
        # The server is going down or changing its role: not the credential's fault.
        raise
    except OperationFailure as error:
        facts.credential.state.mechanism = None
        facts.told = conversation.told()
        facts.evidence = conversation.evidence()
        # A cause that is given on purpose (a callback's own error) stays to be seen.
        raise _explained(error, facts) from error.__cause__
    except ConfigurationError as error:
        facts.told = conversation.told()
        raise ConfigurationError(f"{facts.tried()}: {error}") from error.__cause__
    return commands


def _explained(error: OperationFailure, facts: LoginFacts) -> AuthenticationFailed:
    kind = type(error) if isinstance(error, AuthenticationFailed) else AuthenticationFailed
    told = kind(explain(error, facts), error.code, error.details)
    told.facts = facts
    return told


def _refuse_hello(
    answer: Mapping[str, Any], credential: MongoCredential | None, address: Address
) -> None:
    code = answer.get("code")
    if isinstance(code, int) and code in STATE_CHANGE_CODES:
        raise_command_error(answer)
    failure = AuthenticationFailed if credential is not None else OperationFailure
    raise failure(
        explain_hello(answer, credential, address), code if isinstance(code, int) else None, answer
    )

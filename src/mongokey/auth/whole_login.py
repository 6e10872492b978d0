"""Whole logins: on a new connection, from hello to the end, and again on one that has been in use.

Knows in which order the steps of `mongokey.auth.login` come (auth.md, "Authentication Handshake"
and "Reauthentication"). Must not know sockets, clocks, or any mechanism by name.
"""

from __future__ import annotations

from mongokey.auth.login import Greeting, authenticate, converse, greet
from mongokey.auth.registry import find_mechanism, negotiate

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.conversation import OffloadedCall
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.login import Command, Steps
    from mongokey.handshake.hello import ServerApiLike
    from mongokey.handshake.metadata import ClientMetadata

__all__ = ["login", "reauthenticate"]


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
    greeting = yield from greet(
        credential,
        metadata,
        address,
        server_api=server_api,
        load_balanced=load_balanced,
        hello_ok=hello_ok,
        compressors=compressors,
        subject=subject,
    )
    result = yield from authenticate(greeting)
    return result


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
    chosen = mechanism or credential.mechanism or credential.state.shared.mechanism
    if chosen is None:
        chosen = negotiate(None)
    conversation = find_mechanism(chosen).conversation(credential, address)
    conversation.restore(saved_state)
    greeting = Greeting(None, credential, address, server_api, None, None, None)
    yield from converse(conversation, None, greeting)
    credential.state.reauthentications += 1
    return conversation.saved_state()

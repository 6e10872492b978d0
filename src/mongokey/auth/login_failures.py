"""What few logins come to: one that fails, and one that waits for another of the same credential.

Knows what a failed login's error says. Must not know the steps of a login.
"""

from __future__ import annotations

from mongokey._support.portable import Portable
from mongokey._support.server_codes import STATE_CHANGE_CODES
from mongokey._support.server_errors import raise_command_error
from mongokey.auth.diagnosis import explain, explain_hello
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.login_context import LoginContext
from mongokey.auth.refusals import from_memory
from mongokey.auth.turns import Refusal, WaitForLogin
from mongokey.errors import OperationFailure

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any, NoReturn

    from mongokey._support.address import AddressLike
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.login import Greeting

__all__ = ["RefusedBefore", "context_of", "explained", "refuse_hello", "take_turn"]


class RefusedBefore(Portable, Exception):
    """The login that this one waited for, or one before it, was refused."""

    def __init__(self, error: OperationFailure) -> None:
        super().__init__()
        self.error = error


def take_turn(turns: Any, credential: MongoCredential) -> Generator[WaitForLogin, None, Any]:
    """Wait until this login may go on; the turn it has then, None where it needs none."""
    while True:
        flight, own = turns.begin(credential.state.backoff)
        if own or flight is None:
            return flight
        if isinstance(flight, Refusal):
            raise RefusedBefore(from_memory(flight, credential))
        if flight.refusal is None:
            work = WaitForLogin(flight)
            yield work
            if work.error is not None:
                raise work.error
            if work.own:
                return None
        if flight.refusal is not None:
            raise RefusedBefore(flight.refusal)


def context_of(conversation: Any, greeting: Greeting, credential: MongoCredential) -> LoginContext:
    """What a failed login's error tells; most logins do not fail."""
    context = LoginContext(credential, greeting.address, conversation.mechanism, greeting.hello)
    context.subject = greeting.subject or None
    if credential.mechanism is None and greeting.hello is not None:
        context.offered = greeting.hello.sasl_supported_mechs
    context.credential_description = conversation.credential_description()
    return context


def explained(error: OperationFailure, context: LoginContext) -> AuthenticationFailed:
    """The error of a login that was refused with `error`, with what was tried and what to do."""
    kind = type(error) if isinstance(error, AuthenticationFailed) else AuthenticationFailed
    text, diagnoses = explain(error, context)
    failed = kind(text, error.code, error.details)
    failed.login, failed.diagnoses = context, diagnoses
    return failed


def refuse_hello(
    answer: Mapping[str, Any], credential: MongoCredential | None, address: AddressLike
) -> NoReturn:
    """Raise what a server that refuses hello has said."""
    code = answer.get("code")
    if isinstance(code, int) and code in STATE_CHANGE_CODES:
        raise_command_error(answer)
    failure = AuthenticationFailed if credential is not None else OperationFailure
    raise failure(
        explain_hello(answer, credential, address), code if isinstance(code, int) else None, answer
    )

"""Which session a call is carried out in, and what its transaction makes of inherited options.

It knows explicit sessions and the context that one is bound to. It must not know what is carried
out, nor how.
"""

from __future__ import annotations

from contextvars import ContextVar

from mongokey.commands import arguments
from mongokey.commands.inherited_options import InheritedOptions
from mongokey.errors import ConfigurationError, InvalidOperation
from mongokey.execution.execution import count_bound_sessions
from mongokey.read_concern import DEFAULT_READ_CONCERN
from mongokey.sessions.explicit_session import ExplicitSession
from mongokey.write_concern import DEFAULT_WRITE_CONCERN, WriteConcern

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from contextvars import Token
    from typing import Any

_BOUND: ContextVar[ExplicitSession | None] = ContextVar("mongokey_session", default=None)


def session_for(session: Any, executor: Any) -> ExplicitSession | None:
    """The session of a call that was given `session`: that, or the one bound here, or None.

    Raises `ValueError` for what is no session, `InvalidOperation` where another client's is bound.
    """
    if session is None:
        bound = _BOUND.get()
        if bound is not None and bound._pool is not executor.sessions:
            raise InvalidOperation(
                "a session of another client is bound here, by session.bind(): only that client "
                "can be used in its block"
            )
        return bound
    if not isinstance(session, ExplicitSession):
        raise ValueError(
            f"'session' argument must be a session or None, not {type(session).__name__}: "
            "client.start_session() gives one"
        )
    return session


def options_in(session: ExplicitSession | None, inherited: InheritedOptions) -> InheritedOptions:
    """`inherited`, as commands in `session` have them: those of a transaction have its read
    preference, and neither a read concern nor a write concern."""
    if session is None or not session.in_transaction:
        return inherited
    found: InheritedOptions | None = session._inherited.get(inherited)
    if found is None:
        options = session._transaction.options
        assert options is not None, "it was started"
        assert options.read_preference is not None, "it is inherited"
        found = session._inherited[inherited] = InheritedOptions(
            inherited.codec_options,
            options.read_preference,
            DEFAULT_WRITE_CONCERN,
            DEFAULT_READ_CONCERN,
        )
    return found


def with_write_concern(
    session: Any, executor: Any, inherited: InheritedOptions, write_concern: Any
) -> InheritedOptions:
    """The options of a call of the client that was given `write_concern`, or None for its own.

    Raises `InvalidOperation` for one in a transaction, which has its own.
    """
    found = session_for(session, executor)
    if write_concern is None:
        return options_in(found, inherited)
    if not isinstance(write_concern, WriteConcern):
        arguments.refuse_type("write_concern", "a WriteConcern", write_concern)
    if found is not None and found.in_transaction:
        raise InvalidOperation(
            "Cannot set write concern after starting a transaction: give it to start_transaction()"
        )
    return InheritedOptions(
        inherited.codec_options,
        inherited.read_preference,
        write_concern,
        inherited.read_concern,
    )


def refuse_unacknowledged(session: Any, options: InheritedOptions) -> None:
    """Raise `ConfigurationError` for writes with w=0 in a session."""
    if options.unacknowledged and (session is not None or _BOUND.get() is not None):
        raise ConfigurationError(
            "unacknowledged writes (w=0) cannot be in a session: leave out session, or acknowledge "
            "them"
        )


class Binding:
    """A session that is bound, between `bind` and `unbind`."""

    __slots__ = ("_session", "_token")

    def __init__(self, session: ExplicitSession) -> None:
        self._session = session
        self._token: Token[ExplicitSession | None] | None = None

    def bind(self) -> None:
        """From now on, calls in this context are carried out in the session."""
        if self._token is not None:
            raise InvalidOperation("this session is bound here already: call bind() once more")
        self._token = _BOUND.set(self._session)
        count_bound_sessions(1)

    def unbind(self) -> None:
        """Calls in this context have the session again that they had before."""
        token, self._token = self._token, None
        if token is not None:
            count_bound_sessions(-1)
            _BOUND.reset(token)

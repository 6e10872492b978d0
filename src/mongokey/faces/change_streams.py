"""The core of change streams on both faces: the steps of a look for the next event.

It has the stream's cursor replaced when that is lost, from where `commands.change_stream_state`
says. Each call is a plan, a generator of steps; a face carries them out, and here is no I/O.
"""

from __future__ import annotations

from _thread import allocate_lock
from types import GenericAlias, SimpleNamespace

from mongokey._support.fork import call_after_fork
from mongokey._support.system import monotonic_ns
from mongokey.bson import decode
from mongokey.bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS
from mongokey.commands.change_stream_cursor import ChangeStreamCursor, WatchCommand, WatchGetMore
from mongokey.commands.change_stream_state import is_resumable
from mongokey.commands.change_streams import Watch
from mongokey.commands.housekeeping import close_cursor
from mongokey.errors import InvalidOperation, MongoError
from mongokey.execution.cursors import ServerCursor
from mongokey.execution.time_limits import await_time_too_long, deadline_of, limited, timeout_now
from mongokey.faces.sessions import session_for
from mongokey.transport.sleeping import sleep_until

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any, Generic, TypeVar

    from mongokey.bson.timestamp import Timestamp
    from mongokey.execution.execution import Executor
    from mongokey.sessions.server_session import ServerSession

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    Steps = Generator[Any, Any, Any]

    class _Base(Generic[_Document]): ...

else:

    class _Base:
        __class_getitem__ = classmethod(GenericAlias)


class Pause:
    """The step that waits so many nanoseconds, or until the stream is closed."""

    __slots__ = ("duration_ns",)

    def __init__(self, duration_ns: int) -> None:
        self.duration_ns = duration_ns


class Turn:
    """Who looks for the next event; a forked child is nobody's yet."""

    __slots__ = ("__weakref__", "acquire", "release")

    def __init__(self) -> None:
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """The thread that was looking is the parent's."""
        lock = allocate_lock()
        self.acquire, self.release = lock.acquire, lock.release


class ChangeStreamCore(_Base["_Document"]):
    """What the change streams of both faces share.

    A step of its plans is a `Pause`; a `ServerCursor`, to be killed; a `WatchCommand`; or a
    `WatchGetMore`, for the cursor that the stream has.
    """

    _whole_cluster = False

    def __init__(
        self,
        target: Any,
        pipeline: Sequence[Mapping[str, Any]] | None,
        full_document: str | None,
        resume_after: Mapping[str, Any] | None,
        max_await_time_ms: int | None,
        batch_size: int | None,
        collation: Any,
        start_at_operation_time: Timestamp | None,
        session: Any,
        start_after: Mapping[str, Any] | None,
        comment: Any = None,
        full_document_before_change: str | None = None,
        show_expanded_events: bool | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        self._closed = True  # until it is there
        self._server_cursor: ChangeStreamCursor | None = None
        self._watch = Watch(
            pipeline,
            whole_cluster=self._whole_cluster,
            full_document=full_document,
            full_document_before_change=full_document_before_change,
            resume_after=resume_after,
            start_after=start_after,
            start_at_operation_time=start_at_operation_time,
            show_expanded_events=show_expanded_events,
            max_await_time_ms=max_await_time_ms,
            batch_size=batch_size,
            collation=collation,
            comment=comment,
        )
        self._state = self._watch.state
        self._target = target  # kept alive, and its client with it
        self._executor: Executor = limited(target._executor, timeout_ms, of_call=True)
        limit = timeout_now(self._executor.timeout)
        if limit is not None and max_await_time_ms and max_await_time_ms * 1_000_000 >= limit.ns:
            raise await_time_too_long(max_await_time_ms, limit)
        # What it is resumed with is what it was opened with.
        self._session = session_for(session, self._executor)
        self._inherited = target._inherited_in(session)
        options = target.codec_options
        self._codec_options = options
        # Type decoders are for events. A token has to go back as it came.
        self._token_options = options
        if options.type_registry._decoder_map:
            self._token_options = DEFAULT_RAW_BSON_OPTIONS
        # The implicit session of the cursor that was lost, for the next one.
        self._kept_session: ServerSession | None = None
        self._turn = Turn()

    def __reduce_ex__(self, protocol: object) -> Any:
        # A copy would share the cursor on the server.
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __repr__(self) -> str:
        state = "closed" if getattr(self, "_closed", True) else "open"
        return f"<{type(self).__name__} of {getattr(self, '_target', None)!r}, {state}>"

    @property
    def resume_token(self) -> Mapping[str, Any] | None:
        """What the stream goes on after: the token of the event handed out last or, where the
        server has looked further since, of that place. None before there is one.

        It may change with each `try_next`, also with those that return None. A new stream begins
        after it with `resume_after=` or `start_after=`.
        """
        token: Any = self._state.token
        if isinstance(token, bytes):
            token = decode(token, self._token_options)
        found: Mapping[str, Any] | None = token
        return found

    @property
    def alive(self) -> bool:
        """Whether there may be further events: not after `close`, an invalidate event, or an error
        that the stream cannot go on after. `next` can find the end even if it is True."""
        return not self._closed

    @property
    def _cursor(self) -> SimpleNamespace:
        """What is seen of PyMongo's private cursor, for programs that look at it: `alive`, and
        `cursor_id`, 0 where the server has none."""
        cursor = self._server_cursor
        served = None if cursor is None else cursor.server_cursor
        return SimpleNamespace(alive=self.alive, cursor_id=0 if served is None else served.id)

    # -- turns -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A look begins: one at a time, as a stream has one place."""
        if not self._turn.acquire(False):
            raise InvalidOperation(
                "this change stream is looking for its next event at this moment, in another "
                "thread or task or in the code that a signal handler or destructor interrupted: a "
                "change stream is for one user at a time"
            )

    def _done(self) -> None:
        """A look is over. Who closed the stream meanwhile has left its cursor to it."""
        kept, self._kept_session = self._kept_session, None
        if kept is not None:
            self._executor.sessions.give_back(kept)
        self._turn.release()
        if self._closed:
            self._abandon()

    def _end(self) -> ServerCursor | None:
        """The end of the stream: what is to be killed on the server, or None."""
        self._closed = True
        if not self._turn.acquire(False):
            return None  # a look is on its way, and sees to it
        try:
            cursor, self._server_cursor = self._server_cursor, None
            return None if cursor is None else cursor.let_go()
        finally:
            self._turn.release()

    # -- plans -----------------------------------------------------------------------------------

    def _do(self, step: Any) -> Any:
        """The result of a step other than a `Pause`; on the asyncio face an awaitable of it."""
        if isinstance(step, WatchCommand):
            if self._session is not None:
                return self._executor.execute_in(step, self._session)
            # "The resume attempt MUST use the same session".
            kept, self._kept_session = self._kept_session, None
            if kept is not None:
                return self._executor.execute_with(step, kept)
            return self._executor.execute(step)
        if isinstance(step, ServerCursor):
            return close_cursor(self._executor, step)
        assert isinstance(step, WatchGetMore), "there are no other steps"
        assert self._server_cursor is not None, "it has made the step"
        server_cursor = self._server_cursor.server_cursor
        assert server_cursor is not None, "there is something to get"
        return self._executor.execute_for_cursor(step, server_cursor)

    def _opening(self) -> Steps:
        """Open the cursor, or open it anew: through the selection of a server, as any read."""
        pause_ns = self._state.pause_ns(self._executor.jitter())
        deadline = deadline_of(None, False, None)
        if deadline is not None:
            pause_ns = min(pause_ns, deadline.left_ns())
        if pause_ns:
            yield Pause(pause_ns)
            if self._closed:
                return
        command = self._watch.command(self._target._namespace, self._inherited)
        batch = yield command
        cursor = self._server_cursor = ChangeStreamCursor(self._executor, command, batch)
        self._state.opened(
            not cursor.has_event, command.post_batch_resume_token, command.operation_time
        )

    def _first(self) -> Steps:
        """The plan of `watch`: the stream is open then."""
        self._closed = False
        try:
            yield from self._opening()
        except BaseException:
            self._abandon()
            raise

    def _look(self) -> Steps:
        """The plan of `try_next`: the next event, or None if there is none now. At most one getMore
        is carried out, and the stream resumed once (two times where it was lost before)."""
        try:
            yield from self._fetching()
        except Exception as error:
            # As PyMongo: who is told of a lost connection, or of a time limit, may try once more.
            if not is_resumable(error) and not (isinstance(error, MongoError) and error.timeout):
                self._abandon()
            raise
        return self._next_at_hand()

    def _fetching(self) -> Steps:
        """Have an event at hand, if there is one now."""
        cursor = self._server_cursor
        if self._closed or (cursor is not None and (cursor.has_event or not cursor.is_alive)):
            return
        if cursor is not None and cursor.is_foreign:
            # Parent and child would each get some of its events.
            self._server_cursor = cursor = None
        if cursor is None:
            yield from self._resuming()
            cursor = self._server_cursor
            if self._closed or cursor is None or cursor.has_event or not cursor.is_alive:
                return
        operation = cursor.next_operation()
        try:
            events = yield operation
        except Exception as error:
            self._server_cursor = None
            resumable = is_resumable(error)
            if resumable:
                self._kept_session = cursor.keep_session()
            left = cursor.take_error(error)
            if left is not None:
                # The server has answered: it is told at once. No failure of that is raised.
                yield left
            if not resumable:
                raise
            self._state.lost()
            if not self._closed:
                yield from self._resuming()
        except BaseException:
            # A Ctrl-C, or a task that is cancelled: what the server has sent is lost. The stream
            # is not: it is resumed when it is asked again.
            self._server_cursor = None
            cursor.drop()
            raise
        else:
            cursor.take_in(events)
            self._state.received(not cursor.has_event, operation.post_batch_resume_token)

    def _resuming(self) -> Steps:
        try:
            yield from self._opening()
        except Exception as error:
            # What has waited in vain has paused already.
            if not getattr(error, "timeout", False):
                self._state.lost()
            raise

    def _next_at_hand(self) -> Any:
        """Hand out the event at hand, or None."""
        cursor = self._server_cursor
        if self._closed or cursor is None:
            return None
        event = None
        if cursor.has_event:
            document, token = cursor.take_event()
            if token is None:
                self._abandon()
                raise InvalidOperation(
                    "Cannot provide resume functionality when the resume token is missing: the "
                    "pipeline of a change stream has to leave _id as it is."
                )
            # An event that cannot be decoded was not handed out.
            event = decode(document, self._codec_options)
            self._state.returned(token, not cursor.has_event)
        if not cursor.is_alive:
            self._closed = True
        return event

    def _abandon(self) -> None:
        """The stream ends with an error; its cursor is killed beside the program."""
        self._closed = True
        cursor, self._server_cursor = self._server_cursor, None
        if cursor is not None:
            cursor.drop()

    def _gave_up(self) -> bool:
        return self._closed or self._executor.closed


class BlockingChangeStreamCore(ChangeStreamCore["_Document"]):
    """Base of `ChangeStream`: it waits for what it has carried out."""

    def _pause(self, pause: Pause) -> None:
        sleep_until(monotonic_ns() + pause.duration_ns, self._gave_up)

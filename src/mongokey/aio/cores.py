"""What makes the C cores a face of asyncio: executors return awaitables there, and plans and
fetches are carried out by coroutines.

It knows the cores and how they are awaited. Which operations a call takes, it must not know. The
blocking counterparts stand in `mongokey.faces`, most of them in C.
"""

from __future__ import annotations

from asyncio import sleep

from mongokey.commands.command import CursorCommand
from mongokey.commands.housekeeping import close_cursor
from mongokey.commands.plan import GIVE_WAY, Documents
from mongokey.errors import InvalidOperation
from mongokey.execution.operation import Operation
from mongokey.execution.time_limits import limited, one_deadline
from mongokey.faces.cores import CollectionCore, DatabaseCore
from mongokey.faces.cursor_cores import AwaitableCursorCore, AwaitableCursorSteps
from mongokey.faces.sessions import session_for

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Collection as AbstractCollection
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any, TypeVar, overload

    from mongokey.aio.client_session import AsyncClientSession
    from mongokey.aio.cursor import AsyncCommandCursor, AsyncCursor
    from mongokey.bson.codec_options import CodecOptions
    from mongokey.execution.cursors import ServerCursor
    from mongokey.execution.execution import Executor
    from mongokey.read_preferences import _ServerMode
    from mongokey.results import DeleteResult, InsertOneResult, UpdateResult

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Result = TypeVar("_Result")
    _CursorSelf = TypeVar("_CursorSelf", bound="AsyncCursorCore[Any]")
    _Keys = str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]
    _Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]

# The cores' methods return what the executor does, an awaitable. They are called by a coroutine,
# so that wrong arguments are refused where the call is awaited, as with PyMongo.
_command = DatabaseCore.command
_insert_one = CollectionCore.insert_one
_update_one = CollectionCore.update_one
_update_many = CollectionCore.update_many
_replace_one = CollectionCore.replace_one
_delete_one = CollectionCore.delete_one
_delete_many = CollectionCore.delete_many
_find_one = CollectionCore.find_one


class AsyncCalls:
    """The calls of the asyncio classes, beside a core."""

    __slots__ = ()
    _command_cursor_class: type[AsyncCommandCursor[Any]]

    if TYPE_CHECKING:

        @property
        def _executor(self) -> Executor: ...
        @overload
        async def _execute(
            self,
            step: CursorCommand,
            session: AsyncClientSession | None = None,
            timeout_ms: float | None = None,
            timeout_mode: str | None = None,
        ) -> AsyncCommandCursor[Any]: ...
        @overload
        async def _execute(
            self,
            step: Any,
            session: AsyncClientSession | None = None,
            timeout_ms: float | None = None,
            timeout_mode: str | None = None,
        ) -> Any: ...
        async def _execute(self, step: Any, *more: Any, **options: Any) -> Any: ...
        async def _perform(
            self, executor: Executor, step: Any, session: Any, timeout_mode: str | None
        ) -> Any: ...

    else:

        async def _execute(
            self, step: Any, session: Any = None, timeout_ms: Any = None, timeout_mode: Any = None
        ) -> Any:
            """Carry out one step of a plan (`mongokey.commands.plan`), in `session` if that is
            given; returns its result. `timeout_ms` takes the place of the timeoutMS that is
            inherited; `timeout_mode` says what that is for in a cursor.

            A cursor that is made keeps this object, and so the client, alive.
            """
            executor = self._executor
            if timeout_ms is not None:
                executor = limited(executor, timeout_ms, of_call=True)
            return await self._perform(executor, step, session, timeout_mode)

        async def _perform(self, executor, step, session, timeout_mode):
            if isinstance(step, Operation):
                if (executor.timed or timeout_mode is not None) and isinstance(step, CursorCommand):
                    step.in_time_of(executor, timeout_mode)
                session = session_for(session, executor)
                if session is None:
                    result = await executor.execute(step)
                else:
                    result = await executor.execute_in(step, session)
                if isinstance(step, CursorCommand):
                    return self._command_cursor_class._opened(self, executor, step, result, session)
                return result
            if isinstance(step, Documents):
                return self._command_cursor_class._of(step.documents)
            if step is GIVE_WAY:
                return await sleep(0)
            # One batch, which may be empty: how many there may be, the plan knows.
            return await step._fill(once=True)

    async def _run(
        self,
        plan: Generator[Any, Any, _Result],
        session: AsyncClientSession | None = None,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
    ) -> _Result:
        """Carry out a plan, a generator over operations, which share one deadline; returns its
        result. `timeout_ms` and `timeout_mode` are as in `_execute`."""
        scope = None
        try:
            executor = limited(self._executor, timeout_ms, of_call=True)
            if executor.timed:
                scope = one_deadline(executor)
                scope.__enter__()
            publisher: Any = executor.publisher
            if publisher.commands:
                plan = publisher.traced(plan)
            step = next(plan)
            while True:
                try:
                    result = await self._perform(executor, step, session, timeout_mode)
                except BaseException as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            outcome: _Result = end.value
            return outcome
        finally:
            plan.close()
            if scope is not None:
                scope.__exit__()


class AsyncDatabaseCore(DatabaseCore["_Document"]):
    """The core of `AsyncDatabase`: what is called all the time."""

    async def command(  # type: ignore[override]
        self,
        command: str | Mapping[str, Any],
        value: Any = 1,
        check: bool = True,
        allowable_errors: AbstractCollection[int | str] | None = None,
        read_preference: _ServerMode | None = None,
        codec_options: CodecOptions[Any] | None = None,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Run a command and return the server's reply, a dict.

        `command` is its name (then `value` and keyword arguments are its fields) or the whole
        document. With ``check=False``, or for codes and messages in `allowable_errors`, an error
        reply is returned and not raised. Raises `OperationFailure` and kin.
        """
        return await _command(  # type: ignore[misc, no-any-return]
            self,
            command,
            value,
            check,
            allowable_errors,
            read_preference,
            codec_options,
            session,
            comment,
            timeout_ms=timeout_ms,
            **kwargs,
        )


class AsyncCollectionCore(CollectionCore["_Document"]):
    """The core of `AsyncCollection`: what is called all the time."""

    def _create(self, session: Any, options: dict[str, Any]) -> None:
        raise ValueError(
            "AsyncCollection creates nothing in its constructor, which cannot wait for the server: "
            "await database.create_collection(...)"
        )

    async def insert_one(  # type: ignore[override]
        self,
        document: Any,
        bypass_document_validation: bool | None = None,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> InsertOneResult:
        """Insert one document; it gets an ``_id`` if it has none.

        Returns an `InsertOneResult`. Raises `DuplicateKeyError`, `WriteError`, `DocumentTooLarge`,
        `InvalidDocument` and what the connection raises.
        """
        return await _insert_one(  # type: ignore[misc, no-any-return]
            self, document, bypass_document_validation, session, comment, timeout_ms=timeout_ms
        )

    async def update_one(  # type: ignore[override]
        self,
        filter: Mapping[str, Any],
        update: _Update,
        upsert: bool = False,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        sort: _Keys | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> UpdateResult:
        """Update the first document that `filter` matches, with ``$`` operators or a pipeline.

        Returns an `UpdateResult`.
        """
        return await _update_one(  # type: ignore[misc, no-any-return]
            self,
            filter,
            update,
            upsert,
            bypass_document_validation,
            collation,
            array_filters,
            hint,
            session,
            let,
            sort,
            comment,
            timeout_ms=timeout_ms,
        )

    async def update_many(  # type: ignore[override]
        self,
        filter: Mapping[str, Any],
        update: _Update,
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> UpdateResult:
        """Update every document that `filter` matches. Returns an `UpdateResult`."""
        return await _update_many(  # type: ignore[misc, no-any-return]
            self,
            filter,
            update,
            upsert,
            array_filters,
            bypass_document_validation,
            collation,
            hint,
            session,
            let,
            comment,
            timeout_ms=timeout_ms,
        )

    async def replace_one(  # type: ignore[override]
        self,
        filter: Mapping[str, Any],
        replacement: Mapping[str, Any],
        upsert: bool = False,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        sort: _Keys | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> UpdateResult:
        """Replace the first document that `filter` matches. Returns an `UpdateResult`."""
        return await _replace_one(  # type: ignore[misc, no-any-return]
            self,
            filter,
            replacement,
            upsert,
            bypass_document_validation,
            collation,
            hint,
            session,
            let,
            sort,
            comment,
            timeout_ms=timeout_ms,
        )

    async def delete_one(  # type: ignore[override]
        self,
        filter: Mapping[str, Any],
        collation: Any = None,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> DeleteResult:
        """Delete the first document that `filter` matches. Returns a `DeleteResult`."""
        return await _delete_one(  # type: ignore[misc, no-any-return]
            self, filter, collation, hint, session, let, comment, timeout_ms=timeout_ms
        )

    async def delete_many(  # type: ignore[override]
        self,
        filter: Mapping[str, Any],
        collation: Any = None,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> DeleteResult:
        """Delete every document that `filter` matches. Returns a `DeleteResult`."""
        return await _delete_many(  # type: ignore[misc, no-any-return]
            self, filter, collation, hint, session, let, comment, timeout_ms=timeout_ms
        )

    async def find_one(  # type: ignore[override]
        self, filter: Any = None, *args: Any, **kwargs: Any
    ) -> _Document | None:
        """The first document that `filter` matches, or None.

        `filter` may also be an ``_id``; further arguments are those of `find`.
        """
        return await _find_one(self, filter, *args, **kwargs)  # type: ignore[misc, no-any-return]

    if TYPE_CHECKING:

        def find(self, *args: Any, **kwargs: Any) -> AsyncCursor[_Document]: ...  # type: ignore[override]


AsyncCursorSteps = AwaitableCursorSteps  # as the blocking face's are named


class AsyncCursorCore(AwaitableCursorCore["_Document"]):
    """The core of `AsyncCursor` and `AsyncCommandCursor`: what is done once for a batch."""

    async def _fill(self, once: bool = False) -> bool:
        """Fetch until there is a document at hand, or with `once` a single batch; False when there
        are no more for now."""
        scope = self._one_deadline()
        if scope is None:
            return await self._fetch(once)
        with scope:
            return await self._fetch(once)

    async def _fetch(self, once: bool) -> bool:
        self._claim()
        try:
            while True:
                if self._is_encoded:
                    # A large batch is decoded in parts, so that other tasks have their turn.
                    await sleep(0)
                    self._decode_part()
                    if self._has_document:
                        break
                    continue
                operation = self._next_operation()
                if operation is None:
                    break
                try:
                    result = await self._carry_out(operation)
                except BaseException as error:
                    if self._failed(error):
                        break
                    await self._kill(self._to_be_killed())
                    raise
                if self._take_in(result) or (once and not self._is_encoded):
                    break
            return self._has_document
        finally:
            self._unclaim()

    async def _next_fetched(self) -> _Document:
        """The coroutine of `__anext__` where no document is at hand."""
        if not await self._fill():
            raise StopAsyncIteration
        return self._take_document()

    async def _kill(self, cursor: ServerCursor | None) -> None:
        if cursor is not None:
            await close_cursor(self._executor, cursor)

    async def next(self) -> _Document:
        """The next document. Raises StopAsyncIteration when there is none."""
        return await self.__anext__()

    async def _try_next(self) -> _Document | None:
        if self._has_document or await self._fill(once=True):
            return self._take_document()
        return None

    def _document_at(self, cursor: AsyncCursor[_Document], index: int) -> Any:
        """A document of a cursor, whose core this is, by its position: not on this face."""
        if index < 0:
            raise IndexError("Cursor instances do not support negative indices")
        raise IndexError(
            f"{type(cursor).__name__} has no positions, which would have to be awaited: await "
            f"cursor.skip({index + self._query.skip}).limit(1).next()"
        )

    async def to_list(self, length: int | None = None) -> list[_Document]:
        """The remaining documents (at most `length` of them) as a list; of a cursor whose server
        waits for more, what is there."""
        result: list[_Document] = self._drain([], length)
        # Elsewhere an empty batch is not the end.
        once = self._endless
        while (length is None or len(result) < length) and await self._fill(once):
            result = self._drain(result, length)
        return result

    async def close(self) -> None:
        """Close the cursor. The server is told at once, and waited for 2 seconds at most; where no
        connection is free at the moment, it is told later, beside the program."""
        await self._kill(self._end())

    async def __aenter__(self: _CursorSelf) -> _CursorSelf:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _rewind(self) -> None:
        """Start over."""
        if self._executor is None:
            raise InvalidOperation("this cursor was never given a collection")
        self._claim()
        try:
            await self._kill(self._release())
            self._start_over()
        finally:
            self._unclaim()

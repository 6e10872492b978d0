"""Change streams, under PyMongo's names; made by the `watch` methods.

What is done for an event stands in `mongokey.faces.change_streams`; from where a stream goes on
after an error, in `mongokey.commands.change_stream_state`.
"""

from __future__ import annotations

from mongokey.aio.change_stream_base import AsyncChangeStreamCore
from mongokey.commands.housekeeping import close_cursor
from mongokey.execution.time_limits import one_deadline
from mongokey.faces.change_streams import Pause

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from types import TracebackType
    from typing import Any, TypeVar

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Self = TypeVar("_Self", bound="AsyncChangeStream[Any]")

__all__ = [
    "AsyncChangeStream",
    "AsyncClusterChangeStream",
    "AsyncCollectionChangeStream",
    "AsyncDatabaseChangeStream",
]


class AsyncChangeStream(AsyncChangeStreamCore["_Document"]):
    """An iterator over the changes of a collection, a database or a deployment; made by `watch`.

    Where its cursor on the server is lost, it is opened anew, after the event handed out last, on
    whatever server the read preference then selects: no event is left out, and none comes twice.
    It is for one user at a time; `close` may be called by another.
    """

    async def _open(self) -> None:
        """Open it on a server."""
        self._begin()
        try:
            await self._carry_out(self._first())
        finally:
            self._done()

    async def _carry_out(self, plan: Generator[Any, Any, Any]) -> Any:
        """Carry out a plan of `ChangeStreamCore`; returns its result."""
        try:
            # A look and the attempt to go on after it have the time of one call.
            with one_deadline(self._executor):
                step = next(plan)
                while True:
                    try:
                        result = None
                        if isinstance(step, Pause):
                            await self._pause(step)
                        else:
                            result = await self._do(step)
                    except BaseException as error:
                        step = plan.throw(error)
                    else:
                        step = plan.send(result)
        except StopIteration as end:
            return end.value
        finally:
            plan.close()

    async def next(self) -> _Document:
        """The next event; waits until there is one, with timeoutMS no longer than that.

        Raises StopAsyncIteration when the stream is closed, and what `try_next` raises.
        """
        with one_deadline(self._executor):
            while self.alive:
                event = await self.try_next()
                if event is not None:
                    return event
        raise StopAsyncIteration

    async def __anext__(self) -> _Document:
        return await self.next()

    async def try_next(self) -> _Document | None:
        """The next event, or None if there is none after one more look (one getMore, for which the
        server takes its time: `max_await_time_ms`), or if the stream is closed.

        A stream whose cursor is lost is resumed once. Raises what that raises, and what the server
        says for good: the stream is closed then (see `alive`). After `ConnectionFailure`s and
        errors whose `timeout` is True it goes on when it is asked again. Raises
        `InvalidOperation` for an event without its resume token, which the pipeline took away.
        """
        if self._closed:
            return None
        self._begin()
        try:
            event: _Document | None = await self._carry_out(self._look())
            return event
        finally:
            self._done()

    async def close(self) -> None:
        """Close the stream, also while another thread or task waits for its next event: that finds
        the end once the server has answered. Nothing if it is closed."""
        cursor = self._end()
        if cursor is not None:
            await close_cursor(self._executor, cursor)

    def __aiter__(self: _Self) -> _Self:
        return self

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncCollectionChangeStream(AsyncChangeStream["_Document"]):
    """The changes of one collection; made by `AsyncCollection.watch`."""


class AsyncDatabaseChangeStream(AsyncChangeStream["_Document"]):
    """The changes of all collections of a database; made by `AsyncDatabase.watch`."""


class AsyncClusterChangeStream(AsyncDatabaseChangeStream["_Document"]):
    """The changes of all databases of a deployment; made by `AsyncMongoClient.watch`."""

    _whole_cluster = True

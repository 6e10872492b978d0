"""`AsyncClientBase`: what the asyncio client does in a way of its own.

It knows the asyncio executor, and what becomes of a client that is let go without `close`. What
both faces do alike stands in `ClientBase`; PyMongo's names, in `mongokey.aio.mongo_client`.
"""

from __future__ import annotations

import sys
import warnings
from asyncio import sleep

from mongokey._support.loop_jobs import await_steps
from mongokey.aio.client_context import AsyncClientContext
from mongokey.execution.aio import AsyncExecutor
from mongokey.faces.client_base import ClientBase

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from mongokey.pool.pool import Pool

    _Document = TypeVar("_Document", bound=Mapping[str, Any])


class AsyncClientBase(ClientBase["_Document"]):
    """Base of `AsyncMongoClient`."""

    _context_class = AsyncClientContext
    _leaves_dns_for_later = True
    _carry_out = staticmethod(await_steps)

    def _make_executor(self, **options: Any) -> AsyncExecutor:
        context = self._context
        assert isinstance(context, AsyncClientContext), "it is of the class named above"
        return AsyncExecutor(self._topology, binding=context.binding, **options)

    async def aconnect(self) -> None:
        """Start to look for the servers now, and not at the first operation; the first connection
        is still made by that.

        Raises what DNS says of a ``mongodb+srv://`` name, and `InvalidOperation` when the client is
        closed.
        """
        await self._open()

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        await self.close()

    if TYPE_CHECKING:

        async def close(self) -> None: ...

    async def _open(self) -> None:
        """Start to look for the servers."""
        await self._executor.open()

    async def _close_encrypter(self) -> None:
        """Close what encrypts and decrypts, if anything does."""
        if self._encrypter is not None:
            await await_steps(self._encrypter.close())

    async def _close_pools(self) -> None:
        """Close every pool; the loop closes many sockets in several turns."""
        self._executor.close()
        while any(pool.is_closing for pool in self._topology.pools):  # type: ignore[attr-defined]
            await sleep(0)

    async def _pool(self) -> Pool:
        """The pool of a server that takes writes, found if need be."""
        pool: Pool = await self._executor.selected_server(self._deadline())
        return pool

    def _warn_unclosed(self) -> None:
        # A program that ends is not told: its modules are gone, and the system closes sockets.
        if self.options._is_for_driver:
            return
        if self._topology.opened and not sys.is_finalizing():
            warnings.warn(
                f"{self!r} was never closed: await client.close(), or use `async with`",
                ResourceWarning,
                stacklevel=3,
            )

    def _has_background(self) -> bool:
        context = self._context
        assert isinstance(context, AsyncClientContext), "it is of the class named above"
        loop = context.binding.loop
        return loop is not None and loop.is_running()

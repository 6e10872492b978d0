"""`AsyncSessionBase`: what the sessions of the asyncio face do in a way of their own."""

from __future__ import annotations

from mongokey._support.tasks import sleep_unless
from mongokey.faces.session_base import SessionBase


class AsyncSessionBase(SessionBase):
    """Base of `AsyncClientSession`."""

    _client_name = "AsyncMongoClient"

    async def _sleep(self, duration_ns: int) -> None:
        if duration_ns:
            await sleep_unless(lambda: self._executor.closed, duration_ns / 1e9)

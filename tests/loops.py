"""What tests of connections on asyncio loops share: loops that nothing may be left in.

Knows asyncio's selector loops, uvloop, and how connections are configured.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

from mongokey._support.deadline import Timeout
from mongokey.auth.credential import MongoCredential
from mongokey.connection.settings import ConnectionSettings
from mongokey.handshake import ClientMetadata


def settings(**options: Any) -> ConnectionSettings:
    return ConnectionSettings(metadata=ClientMetadata(), **options)


def logging_in(password: str = "pencil", **options: Any) -> ConnectionSettings:
    return settings(
        credential=MongoCredential("SCRAM-SHA-256", "admin", "user", password), **options
    )


def ms(number: int, option: str = "connectTimeoutMS") -> Timeout:
    return Timeout(number * 1_000_000, option)


def registered() -> list[Any]:
    """The sockets that the running loop watches, but for its own."""
    loop: Any = asyncio.get_running_loop()
    own = loop._ssock
    return [
        key
        for key in loop._selector.get_map().values()
        if key.fileobj != own.fileno() and key.fileobj is not own
    ]


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` in a loop of its own, in debug mode; nothing may be left to the loop's handler of
    exceptions, nor in its list of what it watches."""
    told: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: told.append(what))
        try:
            await main()
        finally:
            gc.collect()
            await asyncio.sleep(0)
        assert registered() == []

    asyncio.run(watched(), debug=True)
    assert told == []

from asyncio import AbstractEventLoop
from collections.abc import Generator
from typing import Any

from mongokey._support.deadline import Deadline
from mongokey.connection.async_connection import AsyncConnection
from mongokey.connection.settings import ConnectionSettings, Openings

class AsyncDriver:
    """Carries out the steps of one connection, in a task of `loop` that awaits each.

    `openings` is told of the stream; when it ends, so does the work.
    """

    def __init__(
        self, loop: AbstractEventLoop, settings: ConnectionSettings, openings: Openings
    ) -> None: ...
    @property
    def connection(self) -> AsyncConnection: ...
    @property
    def deadline(self) -> Deadline | None: ...
    def go_on_with(
        self,
        connection: AsyncConnection,
        deadline: Deadline | None,
        until: Deadline | None = None,
    ) -> None:
        """The steps are those of a login on `connection`, which is open."""
    async def drive(self, steps: Generator[Any, Any, Any]) -> Any:
        """Carry out all steps, and return what they come to.

        The connection is closed after any error, and when the caller is cancelled.
        """
    def is_over(self) -> bool:
        """Whether nothing more is wanted of it."""

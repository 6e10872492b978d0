"""`AsyncChangeStreamCore`: what the change streams of the asyncio face do in a way of their own."""

from __future__ import annotations

from mongokey._support.tasks import sleep_unless
from mongokey.faces.change_streams import ChangeStreamCore, Pause

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    _Document = TypeVar("_Document", bound=Mapping[str, Any])


class AsyncChangeStreamCore(ChangeStreamCore["_Document"]):
    """Base of `AsyncChangeStream`."""

    async def _pause(self, pause: Pause) -> None:
        await sleep_unless(self._gave_up, pause.duration_ns / 1e9)

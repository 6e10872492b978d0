"""`AsyncEncryptionBase`: how the asyncio face carries explicit encryption out."""

from __future__ import annotations

from mongokey._support.loop_jobs import await_steps
from mongokey.faces.encryption_base import EncryptionCore

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import TypeVar

    from mongokey._support.jobs import JobSteps

    _Result = TypeVar("_Result")


class AsyncEncryptionBase(EncryptionCore):
    """Base of `AsyncClientEncryption`."""

    _client_name = "AsyncMongoClient"
    _database_name = "AsyncDatabase"

    async def _carry_out(self, steps: JobSteps[_Result]) -> _Result:
        """Carry out steps; what they return."""
        return await await_steps(steps)

"""The type of plans: calls that take several operations.

A plan is a generator: it yields an operation, gets its result sent in (or its error thrown in),
and returns the result of the call. It does no I/O, so that every face can run it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeVar

    from mongokey.execution.operation import Operation

    _Result = TypeVar("_Result")
    Plan = Generator[Operation, Any, _Result]

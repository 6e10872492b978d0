"""Whole logins without sockets: the steps of one against a function that answers commands.

Knows what the steps of `mongokey.auth.login` are. Must not know any mechanism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mongokey.auth import OffloadedCall
from mongokey.auth.login import Command
from tests.deadlines import within

#: From a database and a command to the reply.
Answer = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


def drive(steps: Any, answer: Answer, within_s: float | None = None) -> Any:
    """Run the steps of a login to their end; returns what it comes to.

    `within_s` is the time that each work off the wire has.
    """
    try:
        step = next(steps)
        while True:
            if isinstance(step, OffloadedCall):
                step.run(None if within_s is None else within(within_s * 1000))
                step = steps.send(None)
            else:
                assert isinstance(step, Command)
                step = steps.send(answer(step.database, step.document))
    except StopIteration as end:
        return end.value

"""What to say of a thing of the parent process's that a forked child uses.

Knows the hooks by which servers of applications call a worker after its fork. Must not know forks.
"""

from __future__ import annotations

import os
import sys

from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import InvalidOperation

# By a module that such a server has loaded: where work of each worker's own begins.
_HOOKS = {
    "celery": "celery.signals.worker_process_init",
    "gunicorn": "gunicorn's post_fork",
    "uwsgi": "uwsgidecorators.postfork",
    "billiard": "the worker process's initializer",
}


def cursor_of_parent() -> InvalidOperation:
    """The error for a cursor that a parent process opened, and whose connection is the parent's."""
    summary = (
        "this cursor was opened before a fork, in the parent process, and the one connection that "
        "it can be read by is the parent's"
    )
    hook = next((words for name, words in _HOOKS.items() if name in sys.modules), None)
    where = f" (in {hook})" if hook else ""
    fix = (
        f"open it in the child{where}; the client itself may be used there, it makes connections "
        "of its own"
    )
    error = InvalidOperation(f"{summary}: {fix} [ENV-FORK]")
    seen = f"process {os.getpid()} was forked since the cursor was opened"
    error.diagnoses = (Diagnosis("ENV-FORK", CERTAIN, summary, [seen], fix),)
    return error


__all__ = ["cursor_of_parent"]

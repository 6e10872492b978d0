"""Why a connection that a pool lent was lost, as far as its own history tells.

Knows how long connections were idle, and the error that had a pool cleared. Pure: it is given times
and errors. Loaded once something has failed.
"""

from __future__ import annotations

from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis
from mongokey.errors import MongoError, NotPrimaryError, PoolClearedError

# So long a connection has to have been idle before that can be why it is lost; what forgets idle
# connections soonest, of what is in wide use, does so after four minutes (Azure's load balancer).
IDLE_S = 60.0
SURE_IDLE_S = 240.0
# What is advised at most: half of those four minutes.
_MOST_IDLE_MS = 120_000


def explain_idle(error: MongoError, idle_ns: int) -> None:
    """Say in `error`, with which a connection was lost that had been idle for `idle_ns` before this
    use, that this may be why; nothing where it was not idle for long.

    The pool looks whether a connection was closed before it lends it: what is found out only by
    using it is one that somebody on the way dropped without telling this side.
    """
    idle_s = idle_ns / 1e9
    if idle_s < IDLE_S or error.diagnoses:
        return
    if isinstance(error, NotPrimaryError | PoolClearedError):
        return  # the server answered, or this side closed it
    # Who waits in vain may also wait for a slow operation.
    sure = idle_s >= SURE_IDLE_S and not error.timeout
    limit_ms = max(1000, min(_MOST_IDLE_MS, int(idle_s / 2) * 1000))
    cause = Diagnosis(
        "TCP-IDLE-CUT",
        LIKELY if sure else POSSIBLE,
        f"the connection had been idle for {idle_s:.0f} s, and was found dead when it was used: a "
        "firewall, NAT or load balancer on the way forgets idle connections",
        [str(error)],
        f"set maxIdleTimeMS={limit_ms}, so that connections are closed here before they are there",
    )
    text = f"{error}; {cause.text} [{cause.code}]"
    error.args, error._message = (text,), text
    error.diagnoses = (cause,)


def cleared_error(text: str, why: str | None, diagnoses: tuple[Diagnosis, ...]) -> PoolClearedError:
    """The error for who gets no connection, or loses one, as the pool was cleared because of
    another error: `why` is that one in words, `diagnoses` are its own."""
    made = PoolClearedError(text)
    if diagnoses:
        made.diagnoses = diagnoses
    elif why is not None:
        made.diagnoses = (
            Diagnosis(
                "TCP-POOL-CLEARED",
                CERTAIN,
                "all connections to the server were given up, as another operation, or a check of "
                "the server, failed before: its error is the one to look at",
                [why],
            ),
        )
    return made


__all__ = ["cleared_error", "explain_idle"]

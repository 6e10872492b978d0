"""What an error of an operation says about its server (server-discovery-and-monitoring
specification, "Error handling").

Knows which errors mark a server unknown and which clear its pool. Must not know pools, servers or
operations: it is given the facts and returns what is to be done.
"""

from __future__ import annotations

from mongokey._support.server_codes import NODE_SHUTTING_DOWN_CODES
from mongokey.errors import (
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    PoolClearedError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

# What is to be done with the server.
NOTHING = 0
MARK_UNKNOWN = 1
MARK_UNKNOWN_AND_CLEAR_POOL = 2


def effect_of(error: BaseException, *, stale: bool, sent: bool) -> int:
    """What `error` means for the server that an operation was sent, or was to be sent, to.

    `stale` says that it comes from a connection of an older pool generation than the pool's: then
    another failure was noted since, and the pool is a new one. `sent` says that the command may
    have reached the server.
    """
    if stale or not isinstance(error, ConnectionFailure):
        return NOTHING
    if isinstance(error, WaitQueueTimeoutError | ServerSelectionTimeoutError | PoolClearedError):
        return NOTHING  # they say nothing about a server
    if isinstance(error, NotPrimaryError):
        details = error.details
        code = details.get("code") if isinstance(details, dict) else None
        if isinstance(code, int) and code in NODE_SHUTTING_DOWN_CODES:
            return MARK_UNKNOWN_AND_CLEAR_POOL
        return MARK_UNKNOWN
    if error.has_error_label("SystemOverloadedError"):
        return MARK_UNKNOWN  # it may be loaded: the connections that it has are to be kept
    if isinstance(error, NetworkTimeout) and sent:
        # A command that takes long is no sign of a server that is gone. A server to which nothing
        # could be sent in time is another matter.
        return NOTHING
    return MARK_UNKNOWN_AND_CLEAR_POOL

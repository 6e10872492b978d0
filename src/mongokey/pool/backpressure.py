"""Which errors of a connection that is being made may come from a server that sheds load.

Knows the connection-monitoring-and-pooling specification ("Backpressure-enabled"). Must not know
pools: it is given an error, and labels it.
"""

from __future__ import annotations

from mongokey.errors import AutoReconnect, NotPrimaryError, PoolClearedError, TLSError

#: The labels of such an error. The first keeps the pool from being cleared.
OVERLOAD_LABELS = ("SystemOverloadedError", "RetryableError")

# Diagnoses of TLS where the server, or what is before it, hung up: that may be for load. All others
# are about certificates, versions and the like.
_HUNG_UP = frozenset(["TLS-CLOSED", "TLS-CLOSED-EARLY", "TLS-NEEDED"])


def label_overload(error: BaseException) -> None:
    """Label `error`, which came before the server's hello, if load may be its cause: it is of the
    network, and not of the host name's resolution nor of what is wrong with TLS itself."""
    if not isinstance(error, AutoReconnect) or isinstance(
        error, NotPrimaryError | PoolClearedError
    ):
        return
    if error.resolving:
        return
    if isinstance(error, TLSError) and (error.permanent or error.reason not in _HUNG_UP):
        return
    for label in OVERLOAD_LABELS:
        error._add_error_label(label)


__all__ = ["OVERLOAD_LABELS", "label_overload"]

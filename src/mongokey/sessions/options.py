"""The options of sessions and transactions, under PyMongo's names.

They are values, checked when they are made. They must not know sessions.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr
from mongokey.errors import ConfigurationError
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import _ServerMode
from mongokey.write_concern import WriteConcern

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


@with_safe_repr
class TransactionOptions:
    """How the transactions of a session are begun and committed; immutable.

    :param read_concern: of all reads of the transaction; None: the session's default, then the
        client's
    :param write_concern: of the commit; None as above. It must be acknowledged
    :param read_preference: None as above. Whatever reads in a transaction needs ``PRIMARY``
    :param max_commit_time_ms: milliseconds that one attempt of the commit may take on the server;
        None: no limit

    Raises `TypeError` for values of other types, `ConfigurationError` for a write concern of w=0
    (transactions specification, "TransactionOptions").
    """

    __slots__ = ("_max_commit_time_ms", "_read_concern", "_read_preference", "_write_concern")

    def __init__(
        self,
        read_concern: ReadConcern | None = None,
        write_concern: WriteConcern | None = None,
        read_preference: _ServerMode | None = None,
        max_commit_time_ms: int | None = None,
    ) -> None:
        _check_type("read_concern", read_concern, ReadConcern, "a ReadConcern")
        _check_type("write_concern", write_concern, WriteConcern, "a WriteConcern")
        if write_concern is not None and not write_concern.acknowledged:
            raise ConfigurationError(
                f"transactions do not support unacknowledged write concern: {write_concern!r}. "
                "Give start_transaction, or default_transaction_options, one with w > 0"
            )
        _check_type(
            "read_preference", read_preference, _ServerMode, "one of mongokey.read_preferences"
        )
        _check_type("max_commit_time_ms", max_commit_time_ms, int, "an integer")
        self._read_concern = read_concern
        self._write_concern = write_concern
        self._read_preference = read_preference
        self._max_commit_time_ms = max_commit_time_ms

    @property
    def read_concern(self) -> ReadConcern | None:
        """The read concern, or None."""
        return self._read_concern

    @property
    def write_concern(self) -> WriteConcern | None:
        """The write concern of the commit, or None."""
        return self._write_concern

    @property
    def read_preference(self) -> _ServerMode | None:
        """The read preference, or None."""
        return self._read_preference

    @property
    def max_commit_time_ms(self) -> int | None:
        """The ``maxTimeMS`` of the commit in milliseconds, or None."""
        return self._max_commit_time_ms

    def __repr__(self) -> str:
        return (
            f"TransactionOptions(read_concern={self._read_concern!r}, "
            f"write_concern={self._write_concern!r}, read_preference={self._read_preference!r}, "
            f"max_commit_time_ms={self._max_commit_time_ms!r})"
        )


@with_safe_repr
class SessionOptions:
    """How a session behaves; immutable.

    :param causal_consistency: whether reads see what was written in the session before; None: True,
        unless `snapshot` is set
    :param default_transaction_options: a `TransactionOptions`, or None
    :param snapshot: whether all reads are of one point in time, which the first read fixes; not
        together with `causal_consistency`
    :param default_timeout_ms: how long the end of a transaction, all of `with_transaction`, and the
        end of the session may take, in ms, in place of the client's timeoutMS; 0: no limit; None,
        the default: the client's

    Raises `TypeError` for values of other types, `ConfigurationError` for both of the two
    (causal-consistency and snapshot-sessions specifications).
    """

    __slots__ = (
        "_causal_consistency",
        "_default_timeout_ms",
        "_default_transaction_options",
        "_snapshot",
    )

    def __init__(
        self,
        causal_consistency: bool | None = None,
        default_transaction_options: TransactionOptions | None = None,
        snapshot: bool | None = False,
        *,
        default_timeout_ms: float | None = None,
    ) -> None:
        if snapshot and causal_consistency:
            raise ConfigurationError(
                "snapshot=True and causal_consistency=True exclude each other: leave out one"
            )
        _check_type(
            "default_transaction_options",
            default_transaction_options,
            TransactionOptions,
            "a TransactionOptions",
        )
        if causal_consistency is None:
            causal_consistency = not snapshot
        self._causal_consistency = causal_consistency
        self._default_transaction_options = default_transaction_options
        self._snapshot = snapshot
        self._default_timeout_ms = default_timeout_ms

    @property
    def causal_consistency(self) -> bool:
        """Whether reads see what was written in the session before."""
        return self._causal_consistency

    @property
    def default_transaction_options(self) -> TransactionOptions | None:
        """What transactions of the session have where they say nothing, or None."""
        return self._default_transaction_options

    @property
    def snapshot(self) -> bool | None:
        """Whether all reads are of one point in time."""
        return self._snapshot

    @property
    def default_timeout_ms(self) -> float | None:
        """The session's own timeoutMS, or None: it has the client's."""
        return self._default_timeout_ms

    def __repr__(self) -> str:
        time = self._default_timeout_ms
        return (
            f"SessionOptions(causal_consistency={self._causal_consistency!r}, "
            f"default_transaction_options={self._default_transaction_options!r}, "
            f"snapshot={self._snapshot!r}"
            + ("" if time is None else f", default_timeout_ms={time!r}")
            + ")"
        )


def _check_type(option: str, value: Any, kind: type, expected: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{option} must be {expected} or None, not {type(value).__name__}")

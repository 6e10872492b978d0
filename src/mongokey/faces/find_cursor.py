"""What the cursors of `find` are on both faces: a Python class that holds its C core.

They are not made *of* their core, as other classes of the faces are: so they have no layout of
their own, and stand beside any other base, also one with `__slots__` that passes the attributes it
lacks on to a cursor it wraps (umongo). Does no I/O, and must not know how documents are fetched.
"""

from __future__ import annotations

from types import GenericAlias

from mongokey.commands.find_settings import FindSettings

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, ClassVar, Generic, TypeVar

    from mongokey.commands.find_query import FindQuery
    from mongokey.execution.execution import Executor
    from mongokey.sessions.explicit_session import ExplicitSession

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Keys = str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]

    class _Base(FindSettings, Generic[_Document]): ...

else:

    class _Base(FindSettings):
        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["FindCursor"]


class FindCursor(_Base["_Document"]):
    """Base of `Cursor` and `AsyncCursor`; `_core` is the C core, an object of `_core_class`."""

    _core_class: ClassVar[Any]
    _core: Any

    if not TYPE_CHECKING:
        # Not that of the class of the iteration, which stands behind this one and has no fields.
        __new__ = object.__new__

    def __init__(
        self,
        collection: Any,
        filter: Mapping[str, Any] | None = None,
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        skip: int = 0,
        limit: int = 0,
        no_cursor_timeout: bool = False,
        cursor_type: int = 0,
        sort: _Keys | None = None,
        allow_partial_results: bool = False,
        oplog_replay: bool = False,
        batch_size: int = 0,
        collation: Any = None,
        hint: _Keys | None = None,
        max_scan: int | None = None,
        max_time_ms: int | None = None,
        max: _Keys | None = None,
        min: _Keys | None = None,
        return_key: bool | None = None,
        show_record_id: bool | None = None,
        snapshot: bool | None = None,
        comment: Any = None,
        session: ExplicitSession | None = None,
        allow_disk_use: bool | None = None,
        let: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
    ) -> None:
        self._core = type(self)._core_class(
            collection,
            filter,
            projection,
            skip,
            limit,
            no_cursor_timeout,
            cursor_type,
            sort,
            allow_partial_results,
            oplog_replay,
            batch_size,
            collation,
            hint,
            max_scan,
            max_time_ms,
            max,
            min,
            return_key,
            show_record_id,
            snapshot,
            comment,
            session,
            allow_disk_use,
            let,
            timeout_ms=timeout_ms,
            timeout_mode=timeout_mode,
        )

    @property
    def alive(self) -> bool:
        """Whether there may be more documents. True does not promise that there are."""
        return self._core.alive  # type: ignore[no-any-return]

    @property
    def cursor_id(self) -> int | None:
        """The server's id of the cursor; 0 when it has none, None before the first fetch."""
        return self._core.cursor_id  # type: ignore[no-any-return]

    @property
    def address(self) -> tuple[str, int | None] | None:
        """(host, port) of the server that was asked, or None before the first fetch."""
        return self._core.address  # type: ignore[no-any-return]

    @property
    def session(self) -> Any:
        """The session that it was given or that was bound at its first fetch, or None."""
        return self._core.session

    @property
    def retrieved(self) -> int:
        """How many documents the server has sent so far."""
        return self._core.retrieved  # type: ignore[no-any-return]

    @property
    def _owner(self) -> Any:
        return self._core._owner

    @property
    def _executor(self) -> Executor:
        return self._core._executor  # type: ignore[no-any-return]

    @property
    def _query(self) -> FindQuery:
        return self._core._query  # type: ignore[no-any-return]

    @property
    def _buffered(self) -> int:
        return self._core._buffered  # type: ignore[no-any-return]

    def _check_not_started(self) -> None:
        self._core._check_not_started()

    def _replace_query(self, query: FindQuery) -> None:
        self._core._replace_query(query)

    def _limit_as(self, other: FindCursor[Any]) -> None:
        self._core._limit_as(other._core)

    def _take_batch(self) -> list[Any]:
        return self._core._take_batch()  # type: ignore[no-any-return]

    # PyMongo's names for its insides, which Motor and others build upon; the blocking face's.

    @property
    def _data(self) -> Any:
        return self._core._data

    @property
    def _collection(self) -> Any:
        return self._core._collection

    @property
    def _killed(self) -> bool:
        return self._core._killed  # type: ignore[no-any-return]

    def _refresh(self) -> int:
        return self._core._refresh()  # type: ignore[no-any-return]

    def _get_read_preference(self) -> Any:
        collection = self._owner
        of_transaction = collection._transaction_preference(self.session)
        return collection.read_preference if of_transaction is None else of_transaction

"""The methods by which a cursor's query is changed before it is sent: `limit`, `sort` and kin.

They do no I/O, so that the cursors of all faces inherit them. What the arguments may be,
`FindQuery` knows.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeVar, overload

    from mongokey.bson.code import Code
    from mongokey.commands.find_query import FindQuery

    _Self = TypeVar("_Self", bound="FindSettings")
    _Keys = str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]


class FindSettings:
    """Base of the cursors that `find` makes. Each method returns the cursor; once documents were
    asked for, it raises `InvalidOperation`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(self, collection: Any) -> None: ...
        @property
        def collection(self) -> Any: ...
        @property
        def _query(self) -> FindQuery: ...
        def _check_not_started(self) -> None: ...
        def _document_at(self, index: int) -> Any: ...
        def _replace_query(self, query: FindQuery) -> None: ...
        def _limit_as(self, other: Any) -> None: ...

    def limit(self: _Self, limit: int) -> _Self:
        """Return at most `limit` documents; 0 means all, a negative one a single batch."""
        self._check_not_started()
        self._query.set_limit(limit)
        return self

    def skip(self: _Self, skip: int) -> _Self:
        """Leave out the first `skip` documents."""
        self._check_not_started()
        self._query.set_skip(skip)
        return self

    def batch_size(self: _Self, batch_size: int) -> _Self:
        """Have the server send `batch_size` documents at a time; 0 leaves it to the server."""
        self._check_not_started()
        self._query.set_batch_size(batch_size)
        return self

    def sort(self: _Self, key_or_list: _Keys, direction: Any = None) -> _Self:
        """Sort by a key and a direction, or a list of both."""
        self._check_not_started()
        self._query.set_sort(key_or_list, direction)
        return self

    def hint(self: _Self, index: _Keys | None) -> _Self:
        """Have the server use an index, by its name or its keys; None takes a hint back."""
        self._check_not_started()
        self._query.set_hint(index)
        return self

    def comment(self: _Self, comment: Any) -> _Self:
        """A comment that the server's logs and profiles show."""
        return self._set("comment", comment)

    def collation(self: _Self, collation: Any) -> _Self:
        """Compare strings by `collation`."""
        return self._set("collation", collation)

    def max_time_ms(self: _Self, max_time_ms: int | None) -> _Self:
        """Have the server give up after so many milliseconds; None: never."""
        return self._set("maxTimeMS", max_time_ms)

    def max_await_time_ms(self: _Self, max_await_time_ms: int | None) -> _Self:
        """How long a getMore of a tailable-await cursor waits for documents, in ms."""
        self._check_not_started()
        self._query.set_max_await_time_ms(max_await_time_ms)
        return self

    def remove_option(self: _Self, mask: int) -> _Self:
        """Take flags back that were set by an argument of `find` or by `add_option`."""
        return self._set_flags(mask, False)

    @property
    def _query_flags(self) -> int:
        """PyMongo's name for the flags of a query; Motor looks at it."""
        return self._query.flags

    def _set_flags(self: _Self, mask: int, on: bool) -> _Self:
        self._check_not_started()
        query = self._query.copy()
        query.set_flags(mask, on)
        # The cursor itself has a say in some of them.
        self._replace_query(query)
        return self

    def max_scan(self: _Self, max_scan: int | None) -> _Self:
        """Have the server look at so many documents at most. Deprecated, as in PyMongo: MongoDB has
        refused it since 4.2; `max_time_ms` is there instead."""
        return self._set("maxScan", max_scan)

    def allow_disk_use(self: _Self, allow_disk_use: bool) -> _Self:
        """Whether the server may sort on disk."""
        return self._set("allowDiskUse", allow_disk_use)

    def min(self: _Self, spec: _Keys) -> _Self:
        """The lowest keys of the index to look at; needs a hint."""
        return self._set("min", spec)

    def max(self: _Self, spec: _Keys) -> _Self:
        """The keys of the index to stop before; needs a hint."""
        return self._set("max", spec)

    def where(self: _Self, code: str | Code) -> _Self:
        """Match with a JavaScript expression (``$where``)."""
        from mongokey.bson.code import Code

        self._check_not_started()
        changed = dict(self._query.filter or {})
        changed["$where"] = code if isinstance(code, Code) else Code(code)
        self._query.set_filter(changed)
        return self

    def _set(self: _Self, name: str, value: Any) -> _Self:
        self._check_not_started()
        self._query.set_option(name, value)
        return self

    def clone(self: _Self) -> _Self:
        """A cursor of the same query that has not been started."""
        return self._of_query(self._query.copy())

    def __copy__(self: _Self) -> _Self:
        return self.clone()

    def __deepcopy__(self: _Self, memo: dict[int, Any]) -> _Self:
        return self._of_query(self._query.deep_copy(memo))

    def _of_query(self: _Self, query: FindQuery) -> _Self:
        cursor = type(self)(self.collection)
        cursor._replace_query(query)
        cursor._limit_as(self)
        return cursor

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> Any: ...
        @overload
        def __getitem__(self: _Self, index: slice) -> _Self: ...

    def __getitem__(self, index: Any) -> Any:
        """One document by its position, or, with a slice, this cursor with skip and limit."""
        self._check_not_started()
        if isinstance(index, slice):
            return self._set_slice(index)
        if isinstance(index, int):
            return self._document_at(index)
        raise TypeError(f"index {index!r} cannot be applied to Cursor instances")

    def _set_slice(self: _Self, index: slice) -> _Self:
        """``cursor[2:5]``: this cursor with skip and limit."""
        if index.step is not None:
            raise IndexError("Cursor instances do not support slice steps")
        start = index.start or 0
        if start < 0:
            raise IndexError("Cursor instances do not support negative indices")
        self._query.set_slice(start, index.stop)
        return self

    def _at(self: _Self, index: int) -> _Self:
        """A cursor over the one document at a position."""
        if index < 0:
            raise IndexError("Cursor instances do not support negative indices")
        clone = self.clone()
        clone.skip(index + self._query.skip)
        clone.limit(-1)
        return clone

"""What `MongoClient.bulk_write` returns (crud specification, bulk-write.md, "Result")."""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr
from mongokey.errors import InvalidOperation

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mongokey.results import DeleteResult, InsertOneResult, UpdateResult


@with_safe_repr
class ClientBulkWriteResult:
    """The result of `MongoClient.bulk_write`.

    With ``w=0`` nothing is known of it: `acknowledged` is False, and every property of what was
    done raises `InvalidOperation`. So do those of single operations where `has_verbose_results` is
    False.
    """

    __slots__ = ("acknowledged", "bulk_api_result", "has_verbose_results")

    def __init__(
        self, bulk_api_result: Mapping[str, Any], acknowledged: bool, has_verbose_results: bool
    ) -> None:
        #: Whether the server has told what it did.
        self.acknowledged = acknowledged
        #: Counts and results in one dict; empty when unacknowledged.
        self.bulk_api_result = bulk_api_result
        #: Whether there are results of single operations: `verbose_results` was given.
        self.has_verbose_results = has_verbose_results

    def _count(self, name: str, field: str) -> int:
        self._require_acknowledged(name)
        count: int = self.bulk_api_result.get(field, 0)
        return count

    def _results(self, name: str, field: str) -> Mapping[int, Any]:
        self._require_acknowledged(name)
        if not self.has_verbose_results:
            raise InvalidOperation(
                f"A value for {name} is not available when the results are not set to be verbose; "
                "give verbose_results=True, and check has_verbose_results first"
            )
        results: Mapping[int, Any] = self.bulk_api_result.get(field, {})
        return results

    def _require_acknowledged(self, name: str) -> None:
        if not self.acknowledged:
            raise InvalidOperation(
                f"A value for {name} is not available when the write is unacknowledged; "
                "check the acknowledged attribute first"
            )

    @property
    def inserted_count(self) -> int:
        """How many documents were inserted."""
        return self._count("inserted_count", "nInserted")

    @property
    def matched_count(self) -> int:
        """How many documents the updates and replacements matched."""
        return self._count("matched_count", "nMatched")

    @property
    def modified_count(self) -> int:
        """How many documents the updates and replacements changed."""
        return self._count("modified_count", "nModified")

    @property
    def deleted_count(self) -> int:
        """How many documents were deleted."""
        return self._count("deleted_count", "nDeleted")

    @property
    def upserted_count(self) -> int:
        """How many documents upserts inserted."""
        return self._count("upserted_count", "nUpserted")

    @property
    def insert_results(self) -> Mapping[int, InsertOneResult]:
        """Index of the model -> `InsertOneResult`, of the inserts that were done."""
        return self._results("insert_results", "insertResults")

    @property
    def update_results(self) -> Mapping[int, UpdateResult]:
        """Index of the model -> `UpdateResult`, of the updates and replacements that were done."""
        return self._results("update_results", "updateResults")

    @property
    def delete_results(self) -> Mapping[int, DeleteResult]:
        """Index of the model -> `DeleteResult`, of the deletions that were done."""
        return self._results("delete_results", "deleteResults")

    def __repr__(self) -> str:
        return (
            f"ClientBulkWriteResult({self.bulk_api_result!r}, acknowledged={self.acknowledged}, "
            f"verbose={self.has_verbose_results})"
        )

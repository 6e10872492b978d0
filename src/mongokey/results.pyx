# cython: language_level=3, binding=True
"""What write operations return, under PyMongo's names (crud specification, "Write Results").

These are plain values. They must not know how a reply is read.
"""

from collections.abc import Mapping

from mongokey._support.lazy import loader
from mongokey.errors import InvalidOperation

# Few ask for it.
__getattr__ = loader(
    __name__, {"ClientBulkWriteResult": "mongokey.commands.client_bulk_result"}
)


cdef class _WriteResult:
    """Base of the results; `acknowledged` is False for writes with ``w=0``."""

    cdef int _require_acknowledged(self, str name) except -1:
        if not self.acknowledged:
            raise InvalidOperation(
                f"A value for {name} is not available when the write is unacknowledged; "
                f"check the acknowledged attribute first"
            )
        return 0


cdef class InsertOneResult(_WriteResult):
    """The result of `insert_one`."""

    def __init__(self, inserted_id, bint acknowledged):
        self.inserted_id = inserted_id
        self.acknowledged = acknowledged

    def __reduce__(self):
        return type(self), (self.inserted_id, self.acknowledged)

    def __repr__(self):
        return f"InsertOneResult({self.inserted_id!r}, acknowledged={self.acknowledged})"


cdef class InsertManyResult(_WriteResult):
    """The result of `insert_many`; `inserted_ids` are in the order of the documents."""

    def __init__(self, list inserted_ids, bint acknowledged):
        self.inserted_ids = inserted_ids
        self.acknowledged = acknowledged

    def __reduce__(self):
        return type(self), (self.inserted_ids, self.acknowledged)

    def __repr__(self):
        return f"InsertManyResult({self.inserted_ids!r}, acknowledged={self.acknowledged})"


cdef class UpdateResult(_WriteResult):
    """The result of `update_one`, `update_many` and `replace_one`."""

    def __init__(self, raw_result, bint acknowledged, bint in_client_bulk=False):
        self._raw = raw_result
        self.acknowledged = acknowledged
        self._in_client_bulk = in_client_bulk

    @staticmethod
    cdef UpdateResult of_reply(dict answer):
        """The result that a server's reply to an acknowledged update is."""
        cdef UpdateResult made = UpdateResult.__new__(UpdateResult)
        made._raw = answer
        made.acknowledged = made._is_reply = True
        return made

    cdef object raw(self):
        """The reply as PyMongo shows it; made of the server's when somebody asks, as few do."""
        cdef dict made
        if self._is_reply:
            made = dict(self._raw)
            found = made.pop("upserted", None)
            if isinstance(found, list) and found and isinstance(found[0], dict):
                made["upserted"] = found[0].get("_id")
            made["updatedExisting"] = "upserted" not in made and bool(made.get("n"))
            # The flag first, and nothing between: another thread must not do it again.
            self._is_reply = False
            _old, self._raw = self._raw, made
        return self._raw

    @property
    def raw_result(self):
        """The server's reply, a dict (None when unacknowledged).

        As PyMongo has it: `updatedExisting` says whether a document was there to be updated, and
        `upserted` is the ``_id`` of the one that was inserted.
        """
        return self.raw()

    @property
    def matched_count(self):
        """How many documents the filter matched; in the results of `MongoClient.bulk_write` also
        the one that an upsert inserted, as the server counts there."""
        self._require_acknowledged("matched_count")
        if not self._in_client_bulk and self.did_upsert and (
            self.raw()["upserted"] is not None or self.raw().get("updatedExisting") is False
        ):
            return 0
        return self.raw().get("n", 0)

    @property
    def modified_count(self):
        """How many documents were changed."""
        self._require_acknowledged("modified_count")
        return self.raw().get("nModified", 0)

    @property
    def upserted_id(self):
        """The ``_id`` of the document that an upsert inserted, or None."""
        self._require_acknowledged("upserted_id")
        upserted = self.raw().get("upserted")
        if self._in_client_bulk:
            return upserted.get("_id") if isinstance(upserted, Mapping) else None
        return upserted

    @property
    def did_upsert(self):
        """Whether a document was inserted by the upsert."""
        self._require_acknowledged("did_upsert")
        return "upserted" in self.raw()

    def __reduce__(self):
        return type(self), (self.raw(), self.acknowledged, self._in_client_bulk)

    def __repr__(self):
        return f"UpdateResult({self.raw()!r}, acknowledged={self.acknowledged})"


cdef class DeleteResult(_WriteResult):
    """The result of `delete_one` and `delete_many`."""

    def __init__(self, raw_result, bint acknowledged):
        self._raw = raw_result
        self.acknowledged = acknowledged

    @property
    def raw_result(self):
        """The server's reply, a dict (None when unacknowledged)."""
        return self._raw

    @property
    def deleted_count(self):
        """How many documents were deleted."""
        self._require_acknowledged("deleted_count")
        return self._raw.get("n", 0)

    def __reduce__(self):
        return type(self), (self._raw, self.acknowledged)

    def __repr__(self):
        return f"DeleteResult({self._raw!r}, acknowledged={self.acknowledged})"


cdef class BulkWriteResult(_WriteResult):
    """The result of `bulk_write`."""

    cdef readonly dict bulk_api_result

    def __init__(self, dict bulk_api_result, bint acknowledged):
        self.bulk_api_result = bulk_api_result
        self.acknowledged = acknowledged

    @property
    def inserted_count(self):
        """How many documents were inserted."""
        self._require_acknowledged("inserted_count")
        return self.bulk_api_result.get("nInserted", 0)

    @property
    def matched_count(self):
        """How many documents the updates matched."""
        self._require_acknowledged("matched_count")
        return self.bulk_api_result.get("nMatched", 0)

    @property
    def modified_count(self):
        """How many documents the updates changed."""
        self._require_acknowledged("modified_count")
        return self.bulk_api_result.get("nModified", 0)

    @property
    def deleted_count(self):
        """How many documents were deleted."""
        self._require_acknowledged("deleted_count")
        return self.bulk_api_result.get("nRemoved", 0)

    @property
    def upserted_count(self):
        """How many documents upserts inserted."""
        self._require_acknowledged("upserted_count")
        return self.bulk_api_result.get("nUpserted", 0)

    @property
    def upserted_ids(self):
        """Index of the operation -> ``_id`` of the document that its upsert inserted."""
        self._require_acknowledged("upserted_ids")
        return {each["index"]: each["_id"] for each in self.bulk_api_result.get("upserted", ())}

    def __reduce__(self):
        return type(self), (self.bulk_api_result, self.acknowledged)

    def __repr__(self):
        return f"BulkWriteResult({self.bulk_api_result!r}, acknowledged={self.acknowledged})"

# cython: language_level=3, nonecheck=True
"""A collection, under PyMongo's name: reads, writes, and what else one does to a collection.

It knows arguments and turns each call into one operation. How operations travel, and what
their replies mean, is `operations`'; every method ends by handing its operation over, so that
the asyncio face can use the same methods with an executor of its own.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from types import GenericAlias

from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject

from libc.stdint cimport uint8_t

from mongokey.bson.codec cimport context_of
from mongokey.bson.objectid cimport generate, objectid_from_bytes
from mongokey.database cimport Database
from mongokey.commands.command cimport Command, FieldCommand
from mongokey.commands.bulk cimport Batch, check_statements, new_result
from mongokey.commands.crud cimport Find, InsertOne, WriteOne, unanswered_needs
from mongokey.execution.operation cimport Namespace, Operation

from mongokey.commands import arguments as arguments
from mongokey._support import not_yet as not_yet
from mongokey.bson.objectid import ObjectId
from mongokey.cursor import CommandCursor, Cursor
from mongokey.errors import (
    BulkWriteError,
    InvalidOperation,
    OperationFailure,
)
from mongokey.results import BulkWriteResult, InsertManyResult

cdef frozenset NOT_YET = not_yet.NOT_YET["Collection"]

# src/mongo/base/error_codes.yml
NAMESPACE_NOT_FOUND = 26
# Options of `create_index` that are not the index's.
COMMAND_OPTIONS = ("commitQuorum", "maxTimeMS")


class ReturnDocument:
    """Which document `find_one_and_update` and `find_one_and_replace` return."""

    BEFORE = False
    AFTER = True


cdef str ID = "_id"
# The section of OP_MSG that holds a command's statements.
cdef dict SECTIONS = {"insert": b"documents", "update": b"updates", "delete": b"deletes"}
cdef object _raw_document = None


cdef bint is_raw(document) except -1:
    """Whether `document` is a RawBSONDocument, whose bytes are sent as they are."""
    global _raw_document
    if _raw_document is None:
        from mongokey.bson.raw_bson import RawBSONDocument

        _raw_document = RawBSONDocument
    return isinstance(document, _raw_document)


cdef object ensure_id(document):
    """Give `document` an `_id` if it has none, as PyMongo does; returns the `_id`."""
    cdef PyObject *found
    cdef uint8_t[12] data
    if PyDict_CheckExact(document):
        found = PyDict_GetItemWithError(document, ID)
        if found != NULL:
            return <object>found
        generate(data)
        identifier = objectid_from_bytes(data)
        PyDict_SetItem(document, ID, identifier)
        return identifier
    if is_raw(document):
        return None  # it cannot be changed; the server gives it an _id
    if not isinstance(document, MutableMapping):
        arguments.refuse_type(
            "document", "a dict, SON, RawBSONDocument or another MutableMapping", document
        )
    if ID not in document:
        document[ID] = ObjectId()
    return document[ID]


cdef class Collection:
    """The collection `name` of `database`; options left out are the database's.

    `create=True` or further keyword arguments create it on the server at once.
    """

    def __init__(
        self,
        Database database not None,
        name,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
    ):
        if not (type(name) is str and (<str>name).isidentifier()):
            # Most names are plain words, which the rules need not look at.
            arguments.check_collection_name(name)
        self.database = database
        self.executor = database.executor
        self.name = name
        self.namespace = Namespace(database.name, name)
        if codec_options is None:
            self.codec_options = database.codec_options
            self.context = database.context
        else:
            self.codec_options = codec_options
            self.context = context_of(codec_options)
        self.read_preference = database.read_preference
        self.read_preference_element = database.read_preference_element
        self.write_concern = database.write_concern
        self.write_concern_element = database.write_concern_element
        self.read_concern = database.read_concern
        self.read_concern_element = database.read_concern_element
        self.unacknowledged = database.unacknowledged
        if read_preference is None and write_concern is None and read_concern is None:
            return
        from mongokey.database import element, read_preference_element

        if read_preference is not None:
            self.read_preference = read_preference
            self.read_preference_element = read_preference_element(read_preference)
        if write_concern is not None:
            self.write_concern = write_concern
            self.write_concern_element = element("writeConcern", write_concern.document)
            self.unacknowledged = not write_concern.acknowledged
        if read_concern is not None:
            self.read_concern = read_concern
            self.read_concern_element = element("readConcern", read_concern.document)

    # -- the object ------------------------------------------------------------------------

    @property
    def full_name(self):
        """``database.collection``."""
        # By Python's own look-up: a subclass may have left out `super().__init__`.
        return f"{(<object>self.database).name}.{self.name}"

    def __getitem__(self, name):
        return Collection(
            self.database,
            f"{self.name}.{name}",
            self.codec_options,
            self.read_preference,
            self.write_concern,
            self.read_concern,
        )

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r}. To access the "
                f"{self.name}.{name} collection, use database[{f'{self.name}.{name}'!r}]."
            )
        if name in NOT_YET:
            raise not_yet.refuse("Collection", name, "collection")
        return self[name]

    @classmethod
    def __class_getitem__(cls, document_class):
        return GenericAlias(cls, document_class)

    def next(self):
        """Always a TypeError: a collection is nothing to iterate over; `find` is."""
        return self.__iter__()

    def __call__(self, *args, **kwargs):
        raise TypeError(
            f"{type(self).__name__!r} object is not callable. If you meant to call the method "
            f"{self.name.rpartition('.')[2]!r}, it does not exist."
        )

    def __eq__(self, other):
        if isinstance(other, Collection):
            return self.database == other.database and self.name == other.name
        return NotImplemented

    def __hash__(self):
        return hash((self.database, self.name))

    def __repr__(self):
        return f"{type(self).__name__}({self.database!r}, {self.name!r})"

    def __bool__(self):
        raise NotImplementedError(
            f"{type(self).__name__} objects do not implement truth value testing or bool(). "
            f"Please compare with None instead: collection is not None"
        )

    def __iter__(self):
        raise TypeError(f"{type(self).__name__!r} object is not iterable")

    def with_options(
        self, codec_options=None, read_preference=None, write_concern=None, read_concern=None
    ):
        """This collection with other options."""
        return type(self)(
            self.database,
            self.name,
            codec_options or self.codec_options,
            read_preference or self.read_preference,
            write_concern or self.write_concern,
            read_concern or self.read_concern,
        )

    cdef int _prepare_read(self, Operation operation) except -1:
        operation.namespace = self.namespace
        operation.retryable_read = True
        operation.read_preference = self.read_preference_element
        operation.read_concern = self.read_concern_element
        return 0

    cdef int _prepare_write(self, Operation operation) except -1:
        operation.namespace = self.namespace
        operation.write_concern = self.write_concern_element
        operation.unacknowledged = self.unacknowledged
        operation.retryable_write = not self.unacknowledged
        operation.writes = True
        return 0

    def _bind(self, cursor):
        """Give a new cursor what it takes from its collection."""
        bind(self, cursor)

    # -- insert -----------------------------------------------------------------------------

    def insert_one(
        self, document, bypass_document_validation=None, session=None, comment=None
    ):
        """Insert one document; it gets an ``_id`` if it has none.

        Returns an `InsertOneResult`. Raises `DuplicateKeyError`, `WriteError`, `DocumentTooLarge`,
        `InvalidDocument` and what the connection raises.
        """
        cdef InsertOne operation = InsertOne.__new__(InsertOne)
        if session is not None:
            arguments.refuse_session(session)
        operation.inserted_id = ensure_id(document)
        operation.document = document
        operation.context = self.context
        self._prepare_write(operation)
        if bypass_document_validation is not None or comment is not None:
            operation.extras = write_options(bypass_document_validation, None, comment)
        return self.executor.execute(operation)

    def insert_many(
        self,
        documents,
        ordered=True,
        bypass_document_validation=None,
        session=None,
        comment=None,
    ):
        """Insert documents, in as few messages as the server's limits allow.

        With `ordered`, the first error stops it. Returns an `InsertManyResult`; raises
        `BulkWriteError` with the counts and every error in `details`.
        """
        from mongokey.commands.write_requests import Run

        arguments.refuse_session(session)
        if isinstance(documents, Mapping) or not isinstance(documents, Iterable):
            arguments.refuse_type("documents", "a list (or other iterable) of documents", documents)
        run = Run("insert")
        inserted_ids = []
        for document in documents:
            # At once: what makes the documents may look at the _id before it makes the next.
            identifier = ensure_id(document)
            # What is in a raw document is not looked at: its _id is not told, as in PyMongo.
            if identifier is not None or not is_raw(document):
                inserted_ids.append(identifier)
            run.statements.append(document)
        if not run.statements:
            raise TypeError("documents must be a non-empty list")
        self._carry_out([run], ordered, bypass_document_validation, comment, None)
        return InsertManyResult(inserted_ids, not self.unacknowledged)

    def bulk_write(
        self,
        requests,
        ordered=True,
        bypass_document_validation=None,
        session=None,
        comment=None,
        let=None,
    ):
        """Carry out requests of `mongokey.operations` (InsertOne, UpdateOne…), many in a message.

        With `ordered`, in their order and only up to the first error; otherwise those of one
        kind go together. Returns a `BulkWriteResult`; raises `BulkWriteError` with the counts
        and every error in `details`.
        """
        from mongokey.commands.write_requests import runs

        arguments.refuse_session(session)
        arguments.check_list("requests", requests)
        if not requests:
            raise InvalidOperation("No operations to execute")
        groups = runs(requests, ordered)
        arguments.check_let(let)
        for run in groups:
            if run.command == "insert":
                for document in run.statements:
                    ensure_id(document)
        if len(groups) > 1:
            # What cannot be encoded is found before the first is sent.
            for run in groups:
                check_statements(run.statements, run.command == "insert", self.context)
        result = self._carry_out(groups, ordered, bypass_document_validation, comment, let)
        if self.unacknowledged:
            return BulkWriteResult({}, False)
        return BulkWriteResult(result, True)

    cdef dict _carry_out(
        self, list groups, bint ordered, bypass_document_validation, comment, let
    ):
        """Carry out a bulk; returns its result, in the form of `BulkWriteError.details`.

        Raises `BulkWriteError` when something was refused. Any other error that ends it in its
        midst gets the result so far as its `partial_result`.
        """
        cdef Batch batch = None
        cdef dict result = new_result()
        cdef list refusals = []
        needs = None
        if self.unacknowledged:
            needs = unanswered_needs_of(groups, bypass_document_validation)
        try:
            for run in groups:
                batch = Batch.__new__(Batch)
                batch.result = result
                batch.refusals = refusals
                batch.command = run.command.encode()
                batch.section = SECTIONS[run.command]
                batch.statements = run.statements
                batch.indexes = run.indexes
                batch.ordered = ordered
                batch.context = self.context
                batch.extras = write_options(
                    bypass_document_validation, None if run.command == "insert" else let, comment
                )
                self._prepare_write(batch)
                if run.multi:
                    # retryable-writes: the server cannot repeat a statement on many documents.
                    batch.retryable_write = False
                batch.needs = needs
                batch.stops = self.unacknowledged and ordered
                batch.last = run is groups[-1]
                batch.wanted_concern = self.write_concern_element
                batch.begin()
                self.executor.execute(batch)
                if ordered and result["writeErrors"]:
                    break
        except BaseException as error:
            if not self.unacknowledged:
                if batch is not None:
                    batch.settle()
                error.partial_result = BulkWriteResult(result, True)
                raise
            if not isinstance(error, OperationFailure):
                raise
            # With w=0 nobody asked for the server's errors; they only stop the bulk.
        if self.unacknowledged:
            if refusals:
                # The server never saw it, so that nobody else could tell.
                raise refusals[0]
        elif result["writeErrors"] or result["writeConcernErrors"]:
            result["writeErrors"].sort(key=position)
            raise BulkWriteError(result)
        return result

    # -- update and delete --------------------------------------------------------------------

    cdef WriteOne _write_one(self, bint is_delete, dict statement, bint multi, dict extras):
        cdef WriteOne operation = WriteOne.__new__(WriteOne)
        operation.is_delete = is_delete
        operation.statement = statement
        operation.extras = extras
        operation.context = self.context
        self._prepare_write(operation)
        if multi:
            # retryable-writes: the server cannot repeat a statement on many documents.
            operation.retryable_write = False
        if self.unacknowledged:
            arguments.refuse_unacknowledged(statement, "collation", "arrayFilters")
        return operation

    def update_one(
        self,
        filter,
        update,
        upsert=False,
        bypass_document_validation=None,
        collation=None,
        array_filters=None,
        hint=None,
        session=None,
        let=None,
        sort=None,
        comment=None,
    ):
        """Update the first document that `filter` matches, with ``$`` operators or a pipeline.

        Returns an `UpdateResult`.
        """
        cdef dict statement
        check_filter(filter)
        check_update(update)
        statement = {"q": filter, "u": update}
        if upsert is not False and arguments.check_bool("upsert", upsert):
            statement["upsert"] = True
        if not (
            collation is None and array_filters is None and hint is None and sort is None
        ):
            add_update_options(statement, collation, array_filters, hint, sort)
        if session is not None:
            arguments.refuse_session(session)
        extras = None
        if not (bypass_document_validation is None and let is None and comment is None):
            extras = write_options(bypass_document_validation, let, comment)
        return self.executor.execute(self._write_one(False, statement, False, extras))

    def update_many(
        self,
        filter,
        update,
        upsert=False,
        array_filters=None,
        bypass_document_validation=None,
        collation=None,
        hint=None,
        session=None,
        let=None,
        comment=None,
    ):
        """Update every document that `filter` matches. Returns an `UpdateResult`."""
        check_filter(filter)
        check_update(update)
        arguments.refuse_session(session)
        statement = {"q": filter, "u": update, "multi": True}
        if upsert is not False and arguments.check_bool("upsert", upsert):
            statement["upsert"] = True
        add_update_options(statement, collation, array_filters, hint, None)
        extras = write_options(bypass_document_validation, let, comment)
        return self.executor.execute(self._write_one(False, statement, True, extras))

    def replace_one(
        self,
        filter,
        replacement,
        upsert=False,
        bypass_document_validation=None,
        collation=None,
        hint=None,
        session=None,
        let=None,
        sort=None,
        comment=None,
    ):
        """Replace the first document that `filter` matches. Returns an `UpdateResult`."""
        check_filter(filter)
        if not is_raw(replacement):
            arguments.check_replacement(replacement)
        arguments.refuse_session(session)
        statement = {"q": filter, "u": replacement}
        if upsert is not False and arguments.check_bool("upsert", upsert):
            statement["upsert"] = True
        add_update_options(statement, collation, None, hint, sort)
        extras = write_options(bypass_document_validation, let, comment)
        return self.executor.execute(self._write_one(False, statement, False, extras))

    def delete_one(
        self, filter, collation=None, hint=None, session=None, let=None, comment=None
    ):
        """Delete the first document that `filter` matches. Returns a `DeleteResult`."""
        return self._delete(filter, 1, collation, hint, session, let, comment)

    def delete_many(
        self, filter, collation=None, hint=None, session=None, let=None, comment=None
    ):
        """Delete every document that `filter` matches. Returns a `DeleteResult`."""
        return self._delete(filter, 0, collation, hint, session, let, comment)

    def _delete(self, filter, int limit, collation, hint, session, let, comment):
        cdef dict statement
        check_filter(filter)
        if session is not None:
            arguments.refuse_session(session)
        statement = {"q": filter, "limit": limit}
        if collation is not None or hint is not None:
            add_update_options(statement, collation, None, hint, None)
        extras = None
        if let is not None or comment is not None:
            extras = write_options(None, let, comment)
        return self.executor.execute(self._write_one(True, statement, limit == 0, extras))

    # -- find ---------------------------------------------------------------------------------

    def find_one(self, filter=None, *args, **kwargs):
        """The first document that `filter` matches, or None.

        `filter` may also be an ``_id``; further arguments are those of `find`.
        """
        cdef Find operation
        if filter is not None and not PyDict_CheckExact(filter):
            if not isinstance(filter, Mapping):
                filter = {ID: filter}
        if args or kwargs:
            for document in self.find(filter, *args, **kwargs).limit(-1):
                return document
            return None
        operation = Find.__new__(Find)
        operation.context = self.context
        operation.filter = filter
        operation.limit = 1
        operation.single_batch = True
        operation.first_only = True
        self._prepare_read(operation)
        document = self.executor.execute(operation)
        if operation.opened:
            # Asked for a single batch, no server should leave a cursor open.
            self.executor._abandon_opened(operation)
        return document

    def find(self, *args, **kwargs):
        """A `Cursor` over the documents that a filter matches; arguments as PyMongo's `find`."""
        return Cursor(self, *args, **kwargs)

    def count_documents(self, filter, session=None, comment=None, **kwargs):
        """How many documents `filter` matches, counted by an aggregation.

        Keyword arguments: skip, limit, hint, collation, maxTimeMS.
        """
        check_filter(filter)
        arguments.refuse_session(session)
        pipeline = [{"$match": filter}]
        for stage in ("skip", "limit"):
            if stage in kwargs:
                pipeline.append({f"${stage}": kwargs.pop(stage)})
        pipeline.append({"$group": {"_id": 1, "n": {"$sum": 1}}})
        document = {"aggregate": self.name, "pipeline": pipeline, "cursor": {}}
        return self._count(
            document,
            kwargs,
            comment,
            lambda reply: sum(each["n"] for each in reply["cursor"]["firstBatch"]),
        )

    def estimated_document_count(self, comment=None, **kwargs):
        """About how many documents there are, from the collection's metadata."""
        arguments.refuse_session(kwargs.pop("session", None))
        return self._count({"count": self.name}, kwargs, comment, lambda reply: int(reply["n"]))

    def _count(self, document, options, comment, parse):
        arguments.add_options(document, options, comment)
        return self._read(
            Command(self.namespace, document, parse=parse, options=self.codec_options)
        )

    def distinct(self, key, filter=None, session=None, comment=None, hint=None, **kwargs):
        """The distinct values of the field `key`, a list."""
        arguments.check_string("key", key)
        arguments.refuse_session(session)
        document = {"distinct": self.name, "key": key}
        if filter is not None:
            check_filter(filter)
            document["query"] = filter
        arguments.add_options(document, {**kwargs, "hint": hint}, comment)
        return self._read(
            FieldCommand(
                self.namespace, document, b"values", array=True, options=self.codec_options
            )
        )

    def _read(self, Command operation):
        operation.retryable_read = True
        operation.set_elements(self.read_preference_element, self.read_concern_element, None)
        return self.executor.execute(operation)

    def _write_command(self, document, allowed=None):
        """Run a command that writes, with this collection's write concern."""
        cdef Command operation = Command(self.namespace, document, check_write_concern=True)
        operation.writes = True
        operation.set_elements(None, None, self.write_concern_element)
        if allowed is not None:
            operation.allow_errors(allowed)
        return self.executor.execute(operation)

    def aggregate(self, pipeline, session=None, let=None, comment=None, **kwargs):
        """Run an aggregation; returns a `CommandCursor` over its result."""
        from mongokey.commands.aggregate import aggregate_command

        arguments.refuse_session(session)
        document, batch_size, writes, extras = aggregate_command(
            self.name, pipeline, {**kwargs, "let": let}, comment
        )
        return self.database._cursor(
            document,
            collection=self,
            codec_options=self.codec_options,
            read_preference_bytes=None if writes else self.read_preference_element,
            read_concern=self.read_concern_element,
            write_concern=self.write_concern_element if writes else None,
            batch_size=batch_size,
            retryable_read=not writes,
            writes=writes,
            get_more_extras=extras,
        )

    # -- find and modify ------------------------------------------------------------------------

    def find_one_and_delete(
        self, filter, projection=None, sort=None, hint=None, session=None, let=None,
        comment=None, **kwargs,
    ):
        """Delete one document and return it, or None if none matched."""
        return self._find_and_modify(
            {"remove": True}, filter, projection, sort, hint, session, let, comment, kwargs
        )

    def find_one_and_replace(
        self, filter, replacement, projection=None, sort=None, upsert=False,
        return_document=ReturnDocument.BEFORE, hint=None, session=None, let=None, comment=None,
        **kwargs,
    ):
        """Replace one document and return it, as it was before or (`return_document`) after."""
        if not is_raw(replacement):
            arguments.check_replacement(replacement)
        change = {"update": replacement}
        return self._find_and_modify(
            change, filter, projection, sort, hint, session, let, comment, kwargs,
            upsert, return_document,
        )

    def find_one_and_update(
        self, filter, update, projection=None, sort=None, upsert=False,
        return_document=ReturnDocument.BEFORE, array_filters=None, hint=None, session=None,
        let=None, comment=None, **kwargs,
    ):
        """Update one document and return it, as it was before or (`return_document`) after."""
        check_update(update)
        change = {"update": update}
        if array_filters is not None:
            arguments.check_list("array_filters", array_filters)
            change["arrayFilters"] = array_filters
        return self._find_and_modify(
            change, filter, projection, sort, hint, session, let, comment, kwargs,
            upsert, return_document,
        )

    def _find_and_modify(
        self, change, filter, projection, sort, hint, session, let, comment, options,
        upsert=None, return_document=None,
    ):
        cdef FieldCommand operation
        cdef bint unacknowledged = self.unacknowledged
        check_filter(filter)
        arguments.refuse_session(session)
        document = {"findAndModify": self.name, "query": filter, **change}
        if return_document is not None:
            document["new"] = arguments.check_bool("return_document", return_document)
        if upsert is not None and arguments.check_bool("upsert", upsert):
            document["upsert"] = True
        if projection is not None:
            document["fields"] = arguments.projection_document(projection)
        if sort is not None:
            document["sort"] = arguments.index_document(arguments.index_pairs(sort))
        arguments.add_options(document, {**options, "hint": hint, "let": let}, comment)
        if "writeConcern" in document:
            unacknowledged = document["writeConcern"].get("w") == 0
        if unacknowledged:
            # A collation can be: this command is answered even so.
            arguments.refuse_unacknowledged(document, "arrayFilters")
        operation = FieldCommand(
            self.namespace,
            document,
            b"value",
            array=False,
            options=self.codec_options,
            retryable_write=not unacknowledged,
            check_write_concern=True,
        )
        operation.writes = True
        operation.set_elements(None, None, self.write_concern_element)
        return self.executor.execute(operation)

    # -- the collection itself ----------------------------------------------------------------

    def drop(self, session=None, comment=None, encrypted_fields=None):
        """Drop the collection; no error if there is none."""
        database = self.database.with_options(write_concern=self.write_concern)
        database.drop_collection(
            self.name, session=session, comment=comment, encrypted_fields=encrypted_fields
        )

    def rename(self, new_name, session=None, comment=None, **kwargs):
        """Rename the collection within its database; ``dropTarget=True`` replaces another."""
        arguments.check_collection_name(new_name)
        arguments.refuse_session(session)
        prefix = self.database.name
        document = {"renameCollection": self.full_name, "to": f"{prefix}.{new_name}"}
        arguments.add_options(document, kwargs, comment)
        return self.database.client.admin._write_command(document)

    def options(self, session=None, comment=None):
        """The options the collection was created with, a dict; empty if there is none."""
        cursor = self.database.list_collections(
            session=session, filter={"name": self.name}, comment=comment
        )
        for each in cursor:
            return each.get("options", {})
        return {}

    # -- indexes: their commands stand in operations/_indexes.py -------------------------------

    def create_index(self, keys, session=None, comment=None, **kwargs):
        """Create an index on `keys`; returns its name. Options as PyMongo's (unique, name…)."""
        from mongokey.operations import IndexModel

        # These two are the command's, all others the index's.
        options = {name: kwargs.pop(name) for name in COMMAND_OPTIONS if name in kwargs}
        name, = self.create_indexes(
            [IndexModel(keys, **kwargs)], session=session, comment=comment, **options
        )
        return name

    def create_indexes(self, indexes, session=None, comment=None, **kwargs):
        """Create indexes given as `IndexModel`; returns their names, a list."""
        from mongokey.operations import index_documents

        arguments.refuse_session(session)
        documents = index_documents(indexes)
        self._write_command(
            arguments.add_options(
                {"createIndexes": self.name, "indexes": documents}, kwargs, comment
            )
        )
        return [each["name"] for each in documents]

    def drop_index(self, index_or_name, session=None, comment=None, **kwargs):
        """Drop one index, by its name or its keys."""
        arguments.refuse_session(session)
        name = index_or_name
        if not isinstance(name, str):
            name = arguments.index_name(
                arguments.index_document(arguments.index_pairs(index_or_name))
            )
        arguments.check_string("index_or_name", name)
        self._write_command(
            arguments.add_options({"dropIndexes": self.name, "index": name}, kwargs, comment),
            allowed=[NAMESPACE_NOT_FOUND, "ns not found"],
        )

    def drop_indexes(self, session=None, comment=None, **kwargs):
        """Drop every index but the one on ``_id``."""
        self.drop_index("*", session=session, comment=comment, **kwargs)

    def list_indexes(self, session=None, comment=None):
        """A cursor over the indexes, a document for each."""
        arguments.refuse_session(session)
        document = arguments.add_options(
            {"listIndexes": self.name, "cursor": {}}, {}, comment
        )
        try:
            return self.database._cursor(document, collection=self, retryable_read=True)
        except OperationFailure as error:
            if error.code != NAMESPACE_NOT_FOUND:
                raise
            # enumerate-indexes: a collection that is not there has no indexes.
            return CommandCursor._of([])

    def index_information(self, session=None, comment=None):
        """The indexes: name -> their facts, with ``key`` as a list of pairs."""
        information = {}
        for index in self.list_indexes(session=session, comment=comment):
            index["key"] = list(index["key"].items())
            name = index.pop("name")
            information[name] = dict(index)
        return information


from mongokey.cursor cimport Cursor as CCursor


cdef int bind(Collection collection, CCursor cursor) except -1:
    cursor._collection = collection
    cursor.executor = collection.executor
    cursor.namespace = collection.namespace
    cursor.context = collection.context
    cursor.read_preference = collection.read_preference_element
    cursor.read_concern = collection.read_concern_element
    return 0


cdef int check_filter(filter) except -1:
    if not PyDict_CheckExact(filter):
        arguments.check_mapping("filter", filter)
    return 0


cdef int check_update(update) except -1:
    """The usual update is a dict whose first key is an operator: seen without a call."""
    if PyDict_CheckExact(update):
        for key in <dict>update:
            if isinstance(key, str) and (<str>key).startswith("$"):
                return 0
            break
    arguments.check_update(update)
    return 0


cdef int add_update_options(dict statement, collation, array_filters, hint, sort) except -1:
    if collation is not None:
        statement["collation"] = arguments.collation_document(collation)
    if array_filters is not None:
        arguments.check_list("array_filters", array_filters)
        statement["arrayFilters"] = array_filters
    if hint is not None:
        statement["hint"] = arguments.hint_value(hint)
    if sort is not None:
        statement["sort"] = arguments.index_document(arguments.index_pairs(sort))
    return 0


cdef tuple unanswered_needs_of(list groups, bypass_document_validation):
    """What an unacknowledged bulk needs of the server, see `unanswered_needs`; raises for what it
    cannot have at all."""
    cdef tuple needs = None
    if bypass_document_validation:
        # PyMongo's class for it.
        raise OperationFailure(
            "bypass_document_validation cannot be used in an unacknowledged bulk (w=0)"
        )
    for run in groups:
        if run.command == "insert":
            continue
        for statement in run.statements:
            arguments.refuse_unacknowledged(statement, "collation", "arrayFilters")
            needed = unanswered_needs(statement, run.command == "delete")
            if needed is not None and (needs is None or needed > needs):
                needs = needed
    return needs


def position(error):
    """Where in the bulk a write error belongs."""
    return error["index"]


cdef dict write_options(bypass_document_validation, let, comment):
    """The options that write commands share, those that are not None; None if there is none."""
    cdef dict options = {}
    if bypass_document_validation is not None:
        options["bypassDocumentValidation"] = bypass_document_validation
    if let is not None:
        options["let"] = arguments.check_let(let)
    if comment is not None:
        options["comment"] = comment
    return options or None

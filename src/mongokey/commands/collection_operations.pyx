# cython: language_level=3, nonecheck=True
"""The operations of every day on a collection, made from the arguments of PyMongo's methods.

It knows arguments, and which of the inherited options a command takes. It must not know who
carries an operation out: the blocking and the asyncio face use the same functions.
"""

from collections.abc import Iterable, Mapping, MutableMapping

from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from mongokey.bson.objectid cimport generate, objectid_from_bytes
from mongokey.commands.crud cimport Find, InsertOne, WriteOne
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.operation cimport Namespace, Operation

from mongokey.bson.objectid import ObjectId
from mongokey.commands import arguments

cdef str ID = "_id"
cdef object _raw_document = None


cpdef bint is_raw(document) except -1:
    """Whether `document` is a RawBSONDocument, whose bytes are sent as they are."""
    global _raw_document
    if _raw_document is None:
        from mongokey.bson.raw_bson import RawBSONDocument

        _raw_document = RawBSONDocument
    return isinstance(document, _raw_document)


cpdef object ensure_id(document):
    """Give `document` an `_id` if it has none, as PyMongo does; returns the `_id`.

    Raises `TypeError` for what is no mutable mapping.
    """
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


def documents_of(documents):
    """An iterator over what `insert_many` was given. Raises `TypeError` for what is no iterable of
    documents."""
    if isinstance(documents, Mapping) or not isinstance(documents, Iterable):
        arguments.refuse_type("documents", "a list (or other iterable) of documents", documents)
    return iter(documents)


def take_documents(documents, list taken not None, list identifiers not None, Py_ssize_t most):
    """Append as many of `documents`, an iterator, to `taken`, and their _ids to `identifiers`, as
    are there; `most` at most. Returns whether there may be more."""
    cdef Py_ssize_t left = most
    if left < 1:
        return True
    for document in documents:
        # At once: what makes the documents may look at the _id before it makes the next.
        identifier = ensure_id(document)
        # What is in a raw document is not looked at: its _id is not told, as in PyMongo.
        if identifier is not None or not is_raw(document):
            identifiers.append(identifier)
        taken.append(document)
        left -= 1
        if not left:
            return True
    return False


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
        statement["sort"] = arguments.update_sort(sort)
    return 0


cpdef dict write_options(bypass_document_validation, let, comment):
    """The options that write commands share, those that are not None; None if there is none."""
    cdef dict options = {}
    if bypass_document_validation is not None:
        options["bypassDocumentValidation"] = bypass_document_validation
    if let is not None:
        options["let"] = arguments.check_let(let)
    if comment is not None:
        options["comment"] = comment
    return options or None


cdef Find find_first(Namespace namespace, InheritedOptions options, filter):
    """The first document that `filter` (also an ``_id``, or None for all) matches, or None."""
    cdef Find operation
    if filter is not None and not PyDict_CheckExact(filter):
        if not isinstance(filter, Mapping):
            filter = {ID: filter}
    operation = Find.__new__(Find)
    operation.context = options.context
    operation.filter = filter
    operation.limit = 1
    operation.single_batch = True
    operation.first_only = True
    operation.namespace = namespace
    operation.retryable_read = True
    operation.criteria = options.criteria
    operation.read_concern = options.read_concern_element
    return operation


cdef int prepare_write(
    Operation operation, Namespace namespace, InheritedOptions options
) except -1:
    operation.namespace = namespace
    operation.write_concern = options.write_concern_element
    operation.unacknowledged = options.unacknowledged
    operation.retryable_write = not options.unacknowledged
    operation.writes = True
    return 0


cdef InsertOne insert_one(
    Namespace namespace,
    InheritedOptions options,
    document,
    bypass_document_validation,
    comment,
):
    cdef InsertOne operation = InsertOne.__new__(InsertOne)
    operation.inserted_id = ensure_id(document)
    operation.document = document
    operation.context = options.context
    prepare_write(operation, namespace, options)
    if bypass_document_validation is not None or comment is not None:
        operation.extras = write_options(bypass_document_validation, None, comment)
    return operation


cdef WriteOne write_one(
    Namespace namespace,
    InheritedOptions options,
    bint is_delete,
    dict statement,
    bint multi,
    dict extras,
):
    cdef WriteOne operation = WriteOne.__new__(WriteOne)
    operation.is_delete = is_delete
    operation.statement = statement
    operation.extras = extras
    operation.context = options.context
    prepare_write(operation, namespace, options)
    if multi:
        # retryable-writes: the server cannot repeat a statement on many documents.
        operation.retryable_write = False
    if options.unacknowledged:
        arguments.refuse_unacknowledged(statement, "collation", "arrayFilters")
    return operation


cdef WriteOne update(
    Namespace namespace,
    InheritedOptions options,
    filter,
    update,
    bint multi,
    upsert,
    bypass_document_validation,
    collation,
    array_filters,
    hint,
    let,
    sort,
    comment,
):
    """Update the first document that `filter` matches, or with `multi` all of them."""
    cdef dict statement
    check_filter(filter)
    check_update(update)
    statement = {"q": filter, "u": update}
    if multi:
        statement["multi"] = True
    if upsert is not False and arguments.check_bool("upsert", upsert):
        statement["upsert"] = True
    if not (collation is None and array_filters is None and hint is None and sort is None):
        add_update_options(statement, collation, array_filters, hint, sort)
    extras = None
    if not (bypass_document_validation is None and let is None and comment is None):
        extras = write_options(bypass_document_validation, let, comment)
    return write_one(namespace, options, False, statement, multi, extras)


cdef WriteOne replace(
    Namespace namespace,
    InheritedOptions options,
    filter,
    replacement,
    upsert,
    bypass_document_validation,
    collation,
    hint,
    let,
    sort,
    comment,
):
    """Replace the first document that `filter` matches."""
    cdef dict statement
    check_filter(filter)
    if not is_raw(replacement):
        arguments.check_replacement(replacement)
    statement = {"q": filter, "u": replacement}
    if upsert is not False and arguments.check_bool("upsert", upsert):
        statement["upsert"] = True
    add_update_options(statement, collation, None, hint, sort)
    extras = write_options(bypass_document_validation, let, comment)
    return write_one(namespace, options, False, statement, False, extras)


cdef WriteOne delete(
    Namespace namespace,
    InheritedOptions options,
    filter,
    int limit,
    collation,
    hint,
    let,
    comment,
):
    """Delete the first document that `filter` matches (`limit` 1), or all of them (0)."""
    cdef dict statement
    check_filter(filter)
    statement = {"q": filter, "limit": limit}
    if collation is not None or hint is not None:
        add_update_options(statement, collation, None, hint, None)
    extras = None
    if let is not None or comment is not None:
        extras = write_options(None, let, comment)
    return write_one(namespace, options, True, statement, limit == 0, extras)

# Operations on a collection, made from the arguments of PyMongo's methods; both faces use them.
from mongokey.commands.crud cimport Find, InsertOne, WriteOne
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.operation cimport Namespace


cdef Find find_first(Namespace namespace, InheritedOptions options, filter)
cdef InsertOne insert_one(
    Namespace namespace,
    InheritedOptions options,
    document,
    bypass_document_validation,
    comment,
)
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
)
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
)
cdef WriteOne delete(
    Namespace namespace,
    InheritedOptions options,
    filter,
    int limit,
    collation,
    hint,
    let,
    comment,
)

# The bulk of a client (bulkWrite command): operations on any collections, and how they become
# messages.
from libc.stdint cimport int32_t, int64_t, uint32_t

from mongokey._support.cdefs cimport mk_buffer
from mongokey.bson.codec cimport CodecContext
from mongokey.commands.command cimport CursorCommand
from mongokey.execution.operation cimport CommandReply, Limits


ctypedef struct BulkOperation:
    uint32_t size                           # bytes of its document
    uint32_t document_size                  # of the document it stores; 0: it stores no whole one
    uint32_t namespace                      # an index into `namespaces`
    bint multi                              # it may touch many documents


ctypedef struct BulkNamespace:
    size_t at                               # of its document, in `namespace_documents`
    uint32_t size
    int32_t index                           # in the message number `message`
    int64_t message


cdef class ClientBatch(CursorCommand):
    # Operations of a client's bulk. Carried out, it is one message, with as many as fit.
    cdef CodecContext own_context           # of what is sent: the client's
    cdef list models
    cdef readonly list identifiers          # the _id of each insert, None for others; or None
    cdef bint ordered, errors_only
    cdef readonly bint raw_results          # the results are RawBSONDocuments
    cdef dict extras
    # What was encoded before anything was sent: a description of each operation, the documents of
    # the first `kept` ones, one after the other, and those of the namespaces.
    cdef BulkOperation *operations
    cdef Py_ssize_t seen, kept
    cdef readonly Py_ssize_t total
    cdef mk_buffer documents
    cdef dict namespace_numbers             # name -> index into `namespaces`
    cdef BulkNamespace *namespaces
    cdef Py_ssize_t namespace_room
    cdef mk_buffer namespace_documents
    # The message at hand: operations[start:end] and the namespaces that they name.
    cdef readonly Py_ssize_t start, end
    cdef Py_ssize_t most_end                # an attempt before had no more than those; 0: none yet
    cdef int64_t message                    # its number
    cdef mk_buffer message_namespaces
    cdef Py_ssize_t section_start, index    # of the section that is written in part; 0: none is
    cdef size_t at                          # of operations[index] in `documents`
    cdef size_t start_at                    # of operations[start]
    cdef readonly bint written              # some message was written as a whole
    cdef int32_t checked_bson_size          # all of them fit into what such servers take
    # What came of it.
    cdef readonly dict answer               # the reply without its cursor
    cdef readonly tuple unsettled           # (answer, results) of an attempt that is repeated

    cdef int _add(self, object model, Py_ssize_t index) except -1
    cdef int _foresee(self) except -1
    cdef uint32_t _namespace_number(self, object name) except? 0xffffffff
    cdef size_t _put(self, mk_buffer *out, object model, int32_t namespace) except? 1
    cdef int _plan(self, const Limits *limits, size_t command_size) except -1
    cdef int _check_sizes(self, const Limits *limits, size_t room) except -1
    cdef dict _answer_of(self, CommandReply *reply)

# Bulks: many statements of one kind, and how they become messages.
from mongokey._support.cdefs cimport mk_buffer
from mongokey.bson.codec cimport CodecContext
from mongokey.execution.operation cimport Limits, Operation


cdef class EncodedStatements:
    cdef mk_buffer bytes                    # the documents, one after the other
    cdef size_t *ends                       # where each ends
    cdef Py_ssize_t count                   # of the documents
    cdef Py_ssize_t seen, total             # statements looked at, and all of them


cdef class Batch(Operation):
    # Statements of one kind. Carried out, it is one message, with as many of them as fit.
    cdef CodecContext context
    cdef readonly bytes command                # b"insert", b"update" or b"delete"
    cdef bytes section                      # b"documents", b"updates" or b"deletes"
    cdef readonly list statements
    cdef EncodedStatements encoded          # the first of them, encoded already; or None
    cdef list indexes                       # where each statement stands in the bulk; empty: there
    cdef bint ordered
    cdef dict extras
    # The bulk's outcome, shared by its batches.
    cdef readonly dict result                  # in the form of BulkWriteError.details
    cdef list refusals                      # DocumentTooLarge of each statement that was not sent
    # With w=0.
    cdef bint stops                         # it must stop at an error, so it asks for answers
    cdef bint last                          # no batch of the bulk follows
    cdef bytes wanted_concern               # the write concern of a last statement that is alone
    cdef tuple needs                        # what the server must have; see `unanswered_needs`
    cdef readonly bint more                 # not all statements are answered: carry it out again
    # The message at hand.
    cdef Py_ssize_t start, end              # it holds statements[start:end]
    cdef Py_ssize_t section_start           # of the section that is written in part; 0: none is
    cdef object refusal                     # DocumentTooLarge of statements[end], or None
    cdef tuple unsettled                    # (reply, n) of an attempt that is to be repeated

    cdef int begin(self) except -1
    cdef int put_statement(self, mk_buffer *out, Py_ssize_t index, bint inserts) except -1
    cpdef int note_unsettled(self) except -1
    cdef Py_ssize_t _index(self, Py_ssize_t statement) except -1
    cdef Py_ssize_t _most(self, const Limits *limits) except -1
    cdef int _note(self, dict answer, n) except -1
    cdef object _too_large(self, size_t size, Py_ssize_t index, const Limits *limits)
    cdef int _refuse(self, Py_ssize_t index, error) except -1

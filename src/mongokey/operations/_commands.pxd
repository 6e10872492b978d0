# Operations given as a whole command document, and the driver's own housekeeping.
from mongokey.bson._codec cimport CodecContext
from mongokey.operations._operation cimport Operation


cdef class Command(Operation):
    cdef CodecContext context
    cdef object document
    cdef object parse                       # (reply: dict) -> result, or None: the reply itself
    cdef bint check_write_concern           # a `writeConcernError` in the reply raises
    cdef int set_document(self, object document) except -1


cdef class CursorCommand(Command):
    cdef bint needs_cursor                  # a reply without one is an error

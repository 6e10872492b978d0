# Results as C types, so that the hot operations make them without a Python call.

cdef class _WriteResult:
    cdef readonly bint acknowledged
    cdef int _require_acknowledged(self, str name) except -1


cdef class InsertOneResult(_WriteResult):
    cdef readonly object inserted_id


cdef class InsertManyResult(_WriteResult):
    cdef readonly list inserted_ids


cdef class UpdateResult(_WriteResult):
    cdef dict _raw
    cdef bint _is_reply                     # `_raw` is as the server has sent it
    cdef bint _in_client_bulk

    @staticmethod
    cdef UpdateResult of_reply(dict answer)
    cdef object raw(self)


cdef class DeleteResult(_WriteResult):
    cdef dict _raw

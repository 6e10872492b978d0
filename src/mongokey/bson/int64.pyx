# cython: binding=True
"""Int64, an int that is always stored as 64 bits.

An extension type, so that the many Int64s of a large result are not the garbage collector's
business, as instances of a class written in Python are.
"""
import copyreg

__all__ = ["Int64"]


cdef class Int64(int):
    """An integer that BSON stores as int64, however small; what int64 values decode to.

    A plain int is stored as int32 when it fits. Arithmetic gives plain ints.
    """

    _type_marker = 18

    def __reduce__(self):
        return copyreg.__newobj__, (type(self), int(self))

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        """There is no state besides the number."""

# cython: boundscheck=False, wraparound=False, cdivision=True, binding=True
"""ObjectId, the 12-byte identifier MongoDB gives a document that has none.

It follows the bson-objectid specification: seconds since the epoch, five random bytes drawn
once per process (and again in a forked child), and a counter that starts at random. This module
is C inside because an ObjectId is made for each document inserted or decoded; it knows nothing
of the codec.
"""
import copyreg
import datetime
import os

from mongokey.bson.errors import InvalidId
from mongokey.bson.tz_util import utc

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

__all__ = ["ObjectId"]


cdef extern from "mongokey/fork.h" nogil:
    int mk_watch_fork(int *flag)


cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
    int TIME_UTC
    int timespec_get(timespec *ts, int base)


cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030e0000
    #define mk_hash_bytes(p, n) Py_HashBuffer((p), (n))
    #elif PY_VERSION_HEX < 0x030d0000
    #define mk_hash_bytes(p, n) _Py_HashBytes((p), (n))
    #else
    /* 3.13 has neither in its public headers. */
    static Py_hash_t mk_hash_bytes(const void *p, Py_ssize_t n) {
        PyObject *bytes = PyBytes_FromStringAndSize((const char *)p, n);
        Py_hash_t hash;
        if (bytes == NULL) return -1;
        hash = PyObject_Hash(bytes);
        Py_DECREF(bytes);
        return hash;
    }
    #endif
    """
    Py_hash_t mk_hash_bytes(const void *p, Py_ssize_t n) except -1


# The GIL guards these; the flag is also raised by a forked child before Python runs in it.
cdef int _reseed = 1
cdef uint8_t[5] _random
cdef uint32_t _counter = 0

if mk_watch_fork(&_reseed) != 0:
    raise OSError("cannot register the handler that gives forked children their own ObjectIds")


cdef int _seed() except -1:
    global _reseed, _counter
    cdef bytes fresh = os.urandom(8)
    cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(fresh)
    memcpy(_random, p, 5)
    _counter = (<uint32_t>p[5] << 16) | (<uint32_t>p[6] << 8) | p[7]
    _reseed = 0
    return 0


cdef int generate(uint8_t *data) except -1:
    global _counter
    cdef timespec now
    cdef uint32_t seconds, count
    if _reseed:
        _seed()
    # The same clock as time.time(): time(2) may lag a tick behind it.
    timespec_get(&now, TIME_UTC)
    seconds = <uint32_t>now.tv_sec
    count = _counter
    _counter = (count + 1) & 0xFFFFFF
    data[0] = seconds >> 24
    data[1] = (seconds >> 16) & 0xFF
    data[2] = (seconds >> 8) & 0xFF
    data[3] = seconds & 0xFF
    memcpy(data + 4, _random, 5)
    data[9] = count >> 16
    data[10] = (count >> 8) & 0xFF
    data[11] = count & 0xFF
    return 0


def _set_counter(uint32_t value):
    """Set the counter that the next ObjectId takes, so that a test can see it wrap."""
    global _counter
    if _reseed:
        _seed()
    _counter = value & 0xFFFFFF


cdef inline int _nibble(int c) noexcept:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    if c'A' <= c <= c'F':
        return c - c'A' + 10
    return -1


cdef int _from_hex(uint8_t *data, str text) except -1:
    cdef int i, high, low
    if len(text) == 24:
        for i in range(12):
            high = _nibble(<int>text[2 * i])
            low = _nibble(<int>text[2 * i + 1])
            if high < 0 or low < 0:
                break
            data[i] = high << 4 | low
        else:
            return 0
    raise InvalidId(
        f"{text!r} is not a valid ObjectId: it must be 12 bytes or a string of 24 hex digits"
    )


cdef str _to_hex(const uint8_t *data):
    cdef char[24] text
    cdef const char *digits = "0123456789abcdef"
    cdef int i
    for i in range(12):
        text[2 * i] = digits[data[i] >> 4]
        text[2 * i + 1] = digits[data[i] & 15]
    return PyUnicode_DecodeASCII(text, 24, NULL)


@cython.freelist(256)
cdef class ObjectId:
    """A MongoDB ObjectId: 12 bytes, unique across machines and processes.

    `oid` is another ObjectId, 12 bytes, or a string of 24 hex digits; without it a new id is
    made. Immutable, hashable, and ordered as its bytes are. Raises `InvalidId` for bytes or
    strings of another form and `TypeError` for other types.
    """

    _type_marker = 7

    def __init__(self, oid=None):
        if oid is None:
            generate(self.data)
        elif isinstance(oid, ObjectId):
            memcpy(self.data, (<ObjectId>oid).data, 12)
        elif isinstance(oid, bytes):
            self._set(oid)
        elif isinstance(oid, str):
            _from_hex(self.data, oid)
        elif getattr(oid, "_type_marker", None) == 7:
            self._set(oid.binary)
        else:
            raise TypeError(f"id must be an instance of (bytes, str, ObjectId), not {type(oid)}")

    cdef int _set(self, bytes value) except -1:
        if value is None or PyBytes_GET_SIZE(value) != 12:
            raise InvalidId(
                f"{value!r} is not a valid ObjectId: it must be 12 bytes or 24 hex digits"
            )
        memcpy(self.data, PyBytes_AS_STRING(value), 12)
        return 0

    @classmethod
    def from_datetime(cls, generation_time):
        """An ObjectId of that time, for range queries on `_id`; not unique, never to be stored.

        A naive `generation_time` is taken as UTC. Raises `OverflowError` when it is outside
        1970-01-01..2106-02-07, which is all that the 32 bits of seconds can say.
        """
        offset = generation_time.utcoffset()
        naive = generation_time.replace(tzinfo=None)
        if offset is not None:
            naive -= offset
        seconds = (naive - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1)
        if not 0 <= seconds < 2**32:
            raise OverflowError(f"{generation_time} does not fit the 32-bit time of an ObjectId")
        return cls(seconds.to_bytes(4, "big") + bytes(8))

    @classmethod
    def is_valid(cls, oid):
        """Whether `ObjectId(oid)` would accept `oid`; False for None and empty values."""
        if not oid:
            return False
        try:
            ObjectId(oid)
        except (InvalidId, TypeError):
            return False
        return True

    @property
    def binary(self):
        """The 12 bytes."""
        return (<const char *>self.data)[:12]

    @property
    def generation_time(self):
        """The time of generation, in UTC (timezone-aware), to the second."""
        cdef uint32_t seconds = (
            <uint32_t>self.data[0] << 24 | <uint32_t>self.data[1] << 16
            | <uint32_t>self.data[2] << 8 | self.data[3]
        )
        return datetime.datetime.fromtimestamp(seconds, utc)

    @classmethod
    def _random(cls):
        """The five bytes of this process, as PyMongo's has them."""
        if _reseed:
            _seed()
        return (<const char *>_random)[:5]

    def __reduce__(self):
        return copyreg.__newobj__, (type(self),), self.__getstate__()

    def __getstate__(self):
        return self.binary

    def __setstate__(self, state):
        # What PyMongo's old versions wrote, too; on Python 2, as read with encoding="latin-1".
        if isinstance(state, dict):
            state = state["_ObjectId__id"]
        if isinstance(state, str) and len(state) == 12:
            state = state.encode("latin-1")
        self._set(state)

    def __str__(self):
        return _to_hex(self.data)

    def __repr__(self):
        return f"ObjectId('{_to_hex(self.data)}')"

    def __hash__(self):
        # The hash of the bytes, as PyMongo's ObjectId has it.
        return mk_hash_bytes(self.data, 12)

    def __richcmp__(self, other, int op):
        cdef int order
        if not isinstance(other, ObjectId):
            return NotImplemented
        order = memcmp((<ObjectId>self).data, (<ObjectId>other).data, 12)
        if op == Py_EQ:
            return order == 0
        if op == Py_NE:
            return order != 0
        if op == Py_LT:
            return order < 0
        if op == Py_LE:
            return order <= 0
        if op == Py_GT:
            return order > 0
        assert op == Py_GE
        return order >= 0


cdef ObjectId objectid_from_bytes(const uint8_t *data):
    cdef ObjectId oid = ObjectId.__new__(ObjectId)
    memcpy(oid.data, data, 12)
    return oid

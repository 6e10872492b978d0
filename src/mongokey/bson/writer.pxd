# What the encoder writes with: where it is, errors that say so, and the values that are leaves.
from cpython.datetime cimport (
    PyDateTime_DATE_GET_HOUR,
    PyDateTime_DATE_GET_MICROSECOND,
    PyDateTime_DATE_GET_MINUTE,
    PyDateTime_DATE_GET_SECOND,
    PyDateTime_GET_DAY,
    PyDateTime_GET_MONTH,
    PyDateTime_GET_YEAR,
    datetime,
)
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.cdefs cimport MK_OK, mk_buffer, mk_buffer_reserve, mk_store_i64
from mongokey.bson cimport python as py

cdef enum:
    # Room kept free behind each key: more than any value of fixed size needs (16 bytes).
    SLACK = 32


# One container on the way from the outermost document to the value being written.
cdef struct Frame:
    Frame *up
    PyObject *key                           # borrowed; NULL in an array
    Py_ssize_t index                        # in an array


cdef struct Writer:
    mk_buffer *out
    Frame *frame
    PyObject *context                       # a CodecContext, borrowed
    PyObject *document                      # the outermost one, borrowed
    int depth
    bint check_keys


# The path to the current value, dotted; and as a message shows it when it is long.
cdef str path(Writer *w)
cdef str shorten(str path)
# Raises InvalidDocument, or `kind`, with the message and the path.
cdef int fail(Writer *w, str message, kind=*) except -1
# Raises InvalidDocument: BSON has no place for such a value.
cdef int fail_value(Writer *w, object value) except -1
# An attribute of a value of a BSON type; raises InvalidDocument where there is none.
cdef object attribute(Writer *w, object value, object name)
# The value of an int (of its digits: a subclass has no say); raises InvalidDocument for others.
cdef int64_t integer_within(
    Writer *w, object number, int64_t least, int64_t most
) except? -1
# Raises what a negative code of buffer.h or bson.h means.
cdef int raise_buffer_error(int code) except -1

# Appends text as UTF-8 and a NUL, and keeps SLACK free; no Python code runs.
cdef int put_utf8(Writer *w, PyObject *text) except -1
# Refuses what `check_keys` refuses: "$" in front, "." anywhere.
cdef int check_key(Writer *w, const uint8_t *key, size_t n) except -1
cdef int put_bytes(Writer *w, const void *data, size_t n) except -1
# Appends bytes if they are of that size.
cdef int put_sized(Writer *w, object data, Py_ssize_t size) except -1
# Appends `number`, which stands for `value`; raises InvalidDocument when it is no int, and
# OverflowError when it needs more than 64 bits.
cdef int put_int64(Writer *w, object value, object number) except -1
cdef int put_binary(Writer *w, int subtype, const char *data, size_t n) except -1
cdef int put_datetime(Writer *w, object value) except -1
# A Regex or a compiled pattern.
cdef int put_regex(Writer *w, object regex) except -1


cdef inline int reserve(mk_buffer *out, size_t n) except -1:
    cdef int rc = mk_buffer_reserve(out, n)
    if rc != MK_OK:
        raise_buffer_error(rc)
    return 0


cdef inline int put_i64(Writer *w, int64_t number) except -1:
    reserve(w.out, 8)
    mk_store_i64(w.out.data + w.out.size, number)
    w.out.size += 8
    return 0


# Microseconds from the epoch to the date as it reads, its time zone left aside.
cdef inline int64_t micros(datetime value):
    cdef int64_t days = py.mk_days_from_civil(
        PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value)
    )
    cdef int64_t seconds = days * 86400 + (
        PyDateTime_DATE_GET_HOUR(value) * 3600
        + PyDateTime_DATE_GET_MINUTE(value) * 60
        + PyDateTime_DATE_GET_SECOND(value)
    )
    return seconds * 1000000 + PyDateTime_DATE_GET_MICROSECOND(value)

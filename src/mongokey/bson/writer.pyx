# cython: boundscheck=False, wraparound=False, cdivision=True, nonecheck=False
"""What the encoder writes with: errors that say where they arose, and the values that are leaves.

Nothing here knows how containers are walked or which Python type becomes which BSON type.
"""
import sys

from mongokey.bson.errors import InvalidDocument, InvalidStringData

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.datetime cimport (
    PyDateTime_DELTA_GET_DAYS,
    PyDateTime_DELTA_GET_MICROSECONDS,
    PyDateTime_DELTA_GET_SECONDS,
    PyDelta_Check,
    import_datetime,
)
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, INT32_MIN, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from mongokey._support.cdefs cimport MK_NO_MEMORY, MK_TOO_LARGE, mk_buffer, mk_store_u32
from mongokey.bson cimport bson_c as c
from mongokey.bson cimport python as py

import_datetime()

cdef object _flags_name = sys.intern("flags")
cdef object _pattern_name = sys.intern("pattern")


cdef str path(Writer *w):
    cdef Frame *frame = w.frame
    cdef list parts = []
    while frame != NULL:
        if frame.key != NULL:
            # The characters, not what a subclass of str says it is: no code of others runs here.
            parts.append(<str>py.PyUnicode_FromObject(frame.key))
        elif frame.index >= 0:
            parts.append(str(frame.index))
        frame = frame.up
    return ".".join(reversed(parts))


cdef str shorten(str path):
    return path if len(path) <= 120 else f"{path[:60]}...{path[len(path) - 57:]}"


cdef int fail(Writer *w, str message, kind=InvalidDocument) except -1:
    cdef str where = path(w)
    cdef object document = <object>w.document if w.document != NULL else None
    if where:
        message = f"{message}, at field {shorten(where)!r}"
    if issubclass(kind, InvalidDocument):
        raise kind(f"Invalid document: {message}", document, where)
    raise kind(message)


cdef int fail_value(Writer *w, object value) except -1:
    return fail(w, f"cannot encode object: {value!r}, of type: {type(value)!r}")


cdef object attribute(Writer *w, object value, object name):
    try:
        return getattr(value, name)
    except AttributeError as err:
        # The names of private fields say nothing to a reader.
        shown = name.rpartition("__")[2]
        fail(w, f"cannot encode object of type {type(value)!r}: it has no {shown!r} ({err})")


cdef int64_t integer_within(
    Writer *w, object number, int64_t least, int64_t most
) except? -1:
    cdef int64_t value = 0
    if (
        not py.PyLong_Check(<PyObject *>number)
        or not py.mk_long_as_int64(<PyObject *>number, &value)
        or not least <= value <= most
    ):
        fail(w, f"expected an integer from {least} to {most}, got {number!r}")
    return value


cdef int put_int64(Writer *w, object value, object number) except -1:
    cdef int64_t n = 0
    if not py.PyLong_Check(<PyObject *>number):
        return fail_value(w, value)
    if not py.mk_long_as_int64(<PyObject *>number, &n):
        raise OverflowError("MongoDB can only handle up to 8-byte ints")
    return put_i64(w, n)


cdef int raise_buffer_error(int code) except -1:
    if code == MK_NO_MEMORY:
        raise MemoryError()
    if code == MK_TOO_LARGE:
        # Not at the top: mongokey.errors stands beside this package, not below it.
        from mongokey.errors import _TooLargeForBSON

        raise _TooLargeForBSON("the document is larger than the message may be")
    if code == c.MK_BSON_BAD_KEY:
        raise InvalidDocument("BSON keys must not contain a NUL character")
    raise InvalidDocument("the bytes are not valid BSON")


cdef int raise_surrogate(Writer *w, object text) except -1:
    try:
        PyUnicode_AsUTF8String(text)
    except UnicodeEncodeError as err:
        err.reason += f", at field {shorten(path(w))!r}"
        raise
    raise AssertionError("the text was expected to have a surrogate")


cdef int put_utf8(Writer *w, PyObject *text) except -1:
    cdef mk_buffer *out = w.out
    cdef size_t n, size
    cdef void *data
    cdef int kind
    py.__Pyx_PyUnicode_READY(text)
    n = py.PyUnicode_GET_LENGTH(text)
    data = py.PyUnicode_DATA(text)
    kind = py.PyUnicode_KIND(text)
    if kind == 1:
        size = py.mk_utf8_size_ucs1(<uint8_t *>data, n)
    elif kind == 2:
        size = py.mk_utf8_size_ucs2(<uint16_t *>data, n)
    else:
        size = py.mk_utf8_size_ucs4(<uint32_t *>data, n)
    if size == py.MK_UTF8_SURROGATE:
        raise_surrogate(w, <object>text)
    reserve(out, size + 1 + SLACK)
    if kind == 1:
        py.mk_utf8_from_ucs1(out.data + out.size, <uint8_t *>data, n)
    elif kind == 2:
        py.mk_utf8_from_ucs2(out.data + out.size, <uint16_t *>data, n)
    else:
        py.mk_utf8_from_ucs4(out.data + out.size, <uint32_t *>data, n)
    out.size += size
    out.data[out.size] = 0
    out.size += 1
    return 0


cdef int check_key(Writer *w, const uint8_t *key, size_t n) except -1:
    cdef size_t i
    if n and key[0] == c'$':
        fail(w, f"key {(<char *>key)[:n].decode()!r} must not start with '$'")
    for i in range(n):
        if key[i] == c'.':
            fail(w, f"key {(<char *>key)[:n].decode()!r} must not contain '.'")
    return 0


cdef int put_bytes(Writer *w, const void *data, size_t n) except -1:
    reserve(w.out, n)
    memcpy(w.out.data + w.out.size, data, n)
    w.out.size += n
    return 0


cdef int put_binary(Writer *w, int subtype, const char *data, size_t n) except -1:
    cdef mk_buffer *out = w.out
    cdef uint8_t *p
    cdef size_t inner = 4 if subtype == 2 else 0
    reserve(out, n + inner + 5)
    p = out.data + out.size
    mk_store_u32(p, <uint32_t>(n + inner))
    p[4] = <uint8_t>subtype
    if inner:
        mk_store_u32(p + 5, <uint32_t>n)
    memcpy(p + 5 + inner, data, n)
    out.size += n + inner + 5
    return 0


cdef int put_sized(Writer *w, object data, Py_ssize_t size) except -1:
    # A subclass may say that it has another length.
    if not isinstance(data, bytes) or PyBytes_GET_SIZE(data) != size:
        return fail(w, f"expected {size} bytes, got {data!r}")
    return put_bytes(w, PyBytes_AS_STRING(data), size)


cdef int put_datetime(Writer *w, object value) except -1:
    cdef int64_t since_epoch = micros(<datetime>value)
    cdef int64_t seconds
    offset = value.utcoffset()
    if offset is not None:
        # A subclass may answer with anything; what datetime itself lets through is checked here.
        if not PyDelta_Check(offset):
            return fail(w, f"utcoffset() of {type(value)!r} gave {offset!r}, not a timedelta")
        seconds = (
            <int64_t>PyDateTime_DELTA_GET_DAYS(offset) * 86400
            + PyDateTime_DELTA_GET_SECONDS(offset)
        )
        if not -86400 <= seconds < 86400 or (
            seconds == -86400 and PyDateTime_DELTA_GET_MICROSECONDS(offset) == 0
        ):
            return fail(
                w,
                f"utcoffset() of {type(value)!r} gave {offset!r}: it must be less than a day",
            )
        since_epoch -= seconds * 1000000 + PyDateTime_DELTA_GET_MICROSECONDS(offset)
    return put_i64(w, py.mk_floor_div(since_epoch, 1000))


cdef int put_regex(Writer *w, object regex) except -1:
    cdef int64_t flags = integer_within(
        w, attribute(w, regex, _flags_name), INT32_MIN, INT32_MAX
    )
    cdef size_t start = w.out.size
    cdef uint8_t[8] letters
    cdef size_t n = 0
    # The letters of re.I, L, M, S, U, X, whose bits follow each other from the second on.
    cdef const char *names = "ilmsux"
    cdef int bit = 0
    pattern = attribute(w, regex, _pattern_name)
    if isinstance(pattern, str):
        put_utf8(w, <PyObject *>pattern)
    elif isinstance(pattern, bytes):
        try:
            PyUnicode_DecodeUTF8(PyBytes_AS_STRING(pattern), PyBytes_GET_SIZE(pattern), NULL)
        except UnicodeDecodeError:
            fail(w, "regex patterns must be valid UTF-8", InvalidStringData)
        put_bytes(w, PyBytes_AS_STRING(pattern), PyBytes_GET_SIZE(pattern) + 1)
    else:
        return fail(w, f"regex patterns must be str or bytes, not {type(pattern)!r}")
    if py.mk_has_nul(w.out.data + start, w.out.size - start - 1):
        return fail(w, "regex patterns must not contain the NULL byte")
    while bit < 6:
        if flags >> (bit + 1) & 1:
            letters[n] = names[bit]
            n += 1
        bit += 1
    letters[n] = 0
    return put_bytes(w, letters, n + 1)

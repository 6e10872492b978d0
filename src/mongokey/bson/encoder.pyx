# cython: boundscheck=False, wraparound=False, cdivision=True, nonecheck=False
"""The encoder: Python values to BSON bytes, appended to a buffer in one pass.

Values of the exact built-in types are written without running any Python code; all others go
through `_write_other`, which holds references to what it works on because the code it calls may
change the containers around it. Passing a cast pointer on does not count as a reference; only a
local variable does. Lengths are filled in when a container ends. The chain of
`Frame`s on the C stack says where we are, for errors, and how deep.
"""
import sys
from collections.abc import Mapping
from datetime import timezone

from mongokey.bson.binary import Binary
from mongokey.bson.code import Code
from mongokey.bson.datetime_ms import DatetimeMS
from mongokey.bson.errors import _TooDeep
from mongokey.bson.int64 import Int64
from mongokey.bson.timestamp import Timestamp

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.datetime cimport (
    PyDateTime_CheckExact,
    PyDateTime_DATE_GET_TZINFO,
    datetime,
    import_datetime,
)
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport (
    INT32_MAX,
    INT32_MIN,
    UINT32_MAX,
    int32_t,
    int64_t,
    uint8_t,
    uint32_t,
)
from libc.string cimport memcpy, memset

from mongokey._support.cdefs cimport (
    MK_TOO_LARGE,
    mk_buffer,
    mk_store_f64,
    mk_store_i32,
    mk_store_i64,
    mk_store_u32,
)
from mongokey.bson cimport bson_c as c
from mongokey.bson cimport python as py
from mongokey.bson.context cimport CodecContext
from mongokey.bson.writer cimport (
    SLACK,
    Frame,
    Writer,
    attribute,
    check_key,
    fail,
    fail_value,
    integer_within,
    micros,
    put_binary,
    put_bytes,
    put_datetime,
    put_int64,
    put_regex,
    put_sized,
    put_utf8,
    raise_buffer_error,
    reserve,
)
from mongokey.bson.objectid cimport ObjectId

import_datetime()

cdef enum:
    # What has been tried already on a value that BSON does not know.
    CUSTOM_TRIED = 1
    FALLBACK_TRIED = 2

cdef object _utc = timezone.utc
cdef object _Mapping = Mapping
cdef object _Binary = Binary
cdef object _Code = Code
cdef object _Int64 = Int64
cdef object _Timestamp = Timestamp
cdef object _marker_name = sys.intern("_type_marker")
cdef object _id_name = sys.intern("_id")
cdef object _subtype_name = sys.intern("subtype")
cdef object _scope_name = sys.intern("scope")
cdef object _time_name = sys.intern("time")
cdef object _inc_name = sys.intern("inc")
cdef object _binary_name = sys.intern("binary")
cdef object _bid_name = sys.intern("bid")
cdef object _as_doc_name = sys.intern("as_doc")
cdef object _raw_name = sys.intern("raw")
# Fields of our own classes, read without calling their properties.
cdef object _binary_subtype = sys.intern("_Binary__subtype")
cdef object _code_scope = sys.intern("_Code__scope")
cdef object _timestamp_time = sys.intern("_Timestamp__time")
cdef object _timestamp_inc = sys.intern("_Timestamp__inc")
cdef dict _modules = sys.modules


# ---- Text ----

# Appends a BSON string: length, UTF-8, NUL.
cdef int _put_string(Writer *w, PyObject *text) except -1:
    cdef mk_buffer *out = w.out
    cdef size_t start, n
    cdef uint8_t *p
    if py.mk_is_compact_ascii(text):
        n = py.PyUnicode_GET_LENGTH(text)
        reserve(out, n + 5 + SLACK)
        p = out.data + out.size
        mk_store_u32(p, <uint32_t>(n + 1))
        py.mk_copy_short(p + 4, py.mk_ascii_data(text), n)
        p[4 + n] = 0
        out.size += n + 5
        return 0
    start = out.size
    reserve(out, 4)
    out.size += 4
    put_utf8(w, text)
    mk_store_u32(out.data + start, <uint32_t>(out.size - start - 4))
    return 0


# Appends a place for the type, the key and its NUL; keeps SLACK free.
cdef inline int _put_key(Writer *w, PyObject *key) except -1:
    cdef mk_buffer *out = w.out
    cdef size_t n
    cdef uint8_t *p
    if py.Py_TYPE(key) == &py.PyUnicode_Type and py.mk_is_compact_ascii(key):
        n = py.PyUnicode_GET_LENGTH(key)
        reserve(out, n + 2 + SLACK)
        p = out.data + out.size
        p[0] = 0
        if py.mk_copy_key(p + 1, py.mk_ascii_data(key), n):
            return _fail_nul(w, key)
        p[1 + n] = 0
        out.size += n + 2
        if w.check_keys:
            check_key(w, p + 1, n)
        return 0
    return _put_other_key(w, key)


cdef int _put_other_key(Writer *w, PyObject *key) except -1:
    # What shows it in an error may take it out of its document.
    cdef object held = <object>key
    cdef mk_buffer *out = w.out
    cdef size_t start = out.size, n
    if not py.PyUnicode_Check(key):
        w.frame.key = NULL
        return fail(w, f"documents must have only string keys, key was {held!r}")
    reserve(out, 1)
    out.size += 1
    put_utf8(w, key)
    n = out.size - start - 2
    if py.mk_has_nul(out.data + start + 1, n):
        return _fail_nul(w, key)
    if w.check_keys:
        check_key(w, out.data + start + 1, n)
    return 0


cdef int _fail_nul(Writer *w, PyObject *key) except -1:
    cdef object held = <object>key
    return fail(w, f"BSON keys must not contain a NUL character, key was {held!r}")


# ---- Values ----

# Writes `value` and fills in the type that _put_key left open at `type_at`. At least SLACK
# bytes are free.
cdef int _write_value(Writer *w, size_t type_at, PyObject *value) except -1:
    cdef mk_buffer *out = w.out
    cdef PyTypeObject *kind = py.Py_TYPE(value)
    cdef uint8_t *p = out.data + out.size
    cdef int64_t number
    if kind == &py.PyUnicode_Type:
        out.data[type_at] = c.MK_BSON_STRING
        return _put_string(w, value)
    if kind == &py.PyLong_Type and py.mk_long_as_int64(value, &number):
        if INT32_MIN <= number <= INT32_MAX:
            out.data[type_at] = c.MK_BSON_INT32
            mk_store_i32(p, <int32_t>number)
            out.size += 4
            return 0
        out.data[type_at] = c.MK_BSON_INT64
        mk_store_i64(p, number)
        out.size += 8
        return 0
    if kind == &py.PyFloat_Type:
        out.data[type_at] = c.MK_BSON_DOUBLE
        mk_store_f64(p, py.PyFloat_AS_DOUBLE(value))
        out.size += 8
        return 0
    if kind == &py.PyDict_Type:
        out.data[type_at] = c.MK_BSON_DOCUMENT
        return _write_held(w, value)
    if kind == &py.PyList_Type:
        out.data[type_at] = c.MK_BSON_ARRAY
        return _write_held(w, value)
    if kind == <PyTypeObject *>_Int64 and py.mk_long_as_int64(value, &number):
        out.data[type_at] = c.MK_BSON_INT64
        mk_store_i64(p, number)
        out.size += 8
        return 0
    if kind == <PyTypeObject *>ObjectId:
        out.data[type_at] = c.MK_BSON_OBJECTID
        memcpy(p, (<ObjectId>value).data, 12)
        out.size += 12
        return 0
    if value == py.Py_None:
        out.data[type_at] = c.MK_BSON_NULL
        return 0
    if kind == &py.PyBool_Type:
        out.data[type_at] = c.MK_BSON_BOOL
        p[0] = value == py.Py_True
        out.size += 1
        return 0
    if kind == &py.PyBytes_Type:
        out.data[type_at] = c.MK_BSON_BINARY
        return put_binary(w, 0, py.PyBytes_AS_STRING(value), py.PyBytes_GET_SIZE(value))
    if PyDateTime_CheckExact(<object>value) and (
        PyDateTime_DATE_GET_TZINFO(<object>value) == py.Py_None
        # Its offset is known, and datetime takes long to say it.
        or PyDateTime_DATE_GET_TZINFO(<object>value) == <PyObject *>_utc
    ):
        out.data[type_at] = c.MK_BSON_DATETIME
        mk_store_i64(p, py.mk_floor_div(micros(<datetime>value), 1000))
        out.size += 8
        return 0
    return _write_other(w, type_at, value, 0)


# ---- Containers ----

# A dict or list within another. References to it and to its key are held: code of others, run by
# something inside, may take both out of the container around them.
cdef int _write_held(Writer *w, PyObject *value) except -1:
    cdef object held = <object>value
    cdef object _held_key = <object>w.frame.key if w.frame.key != NULL else None
    if py.Py_TYPE(value) == &py.PyDict_Type:
        return _write_dict(w, <PyObject *>held, False)
    return _write_sequence(w, <PyObject *>held, True)


cdef int _enter(Writer *w, Frame *frame, Py_ssize_t index) except -1:
    frame.up = w.frame
    frame.key = NULL
    frame.index = index
    if w.depth >= c.MK_BSON_MAX_DEPTH:
        fail(
            w,
            f"documents may nest {c.MK_BSON_MAX_DEPTH} levels deep; this one is deeper, or"
            " contains itself",
            _TooDeep,
        )
    w.depth += 1
    w.frame = frame
    reserve(w.out, 4)
    w.out.size += 4
    return 0


cdef inline int _leave(Writer *w, size_t start) except -1:
    cdef mk_buffer *out = w.out
    reserve(out, 1)
    out.data[out.size] = 0
    out.size += 1
    mk_store_u32(out.data + start, <uint32_t>(out.size - start))
    w.frame = w.frame.up
    w.depth -= 1
    return 0


cdef inline bint _is_id(PyObject *key):
    cdef const uint8_t *p
    if key == <PyObject *>_id_name:
        return True
    if py.mk_is_compact_ascii(key) and py.PyUnicode_GET_LENGTH(key) == 3:
        p = py.mk_ascii_data(key)
        return p[0] == c'_' and p[1] == c'i' and p[2] == c'd'
    # A subclass of str keeps its characters elsewhere.
    return (
        py.Py_TYPE(key) != &py.PyUnicode_Type
        and py.PyUnicode_CompareWithASCIIString(key, "_id") == 0
    )


cdef int _raise_changed(str kind) except -1:
    raise RuntimeError(f"{kind} changed size during encoding")


# A dict, or a subclass that keeps its items where dict does.
cdef int _write_dict(Writer *w, PyObject *document, bint top_level) except -1:
    cdef mk_buffer *out = w.out
    cdef Frame frame
    cdef size_t start = out.size, type_at
    cdef Py_ssize_t position = 0, size = py.PyDict_GET_SIZE(document), left = size
    cdef PyObject *key
    cdef PyObject *value
    cdef bint id_written = False
    _enter(w, &frame, -1)
    if top_level:
        value = py.PyDict_GetItemWithError(document, <PyObject *>_id_name)
        if value != NULL:
            id_written = True
            frame.key = <PyObject *>_id_name
            type_at = out.size
            _put_key(w, frame.key)
            _write_value(w, type_at, value)
    # Items are counted too: one that is taken out and put in again would come up for ever.
    while py.PyDict_Next(document, &position, &key, &value):
        left -= 1
        if id_written and py.PyUnicode_Check(key) and _is_id(key):
            continue
        frame.key = key
        type_at = out.size
        _put_key(w, key)
        _write_value(w, type_at, value)
        if left < 0 or py.PyDict_GET_SIZE(document) != size:
            break
    # The last key may be gone by now.
    frame.key = NULL
    if left != 0 or py.PyDict_GET_SIZE(document) != size:
        _raise_changed("dictionary")
    return _leave(w, start)


# Any other mapping, by its own protocol.
cdef int _write_mapping(Writer *w, object document, bint top_level) except -1:
    cdef mk_buffer *out = w.out
    cdef Frame frame
    cdef size_t start = out.size, type_at
    cdef bint id_written = False
    _enter(w, &frame, -1)
    if top_level and _id_name in document:
        id_written = True
        value = document[_id_name]
        frame.key = <PyObject *>_id_name
        type_at = out.size
        _put_key(w, frame.key)
        _write_value(w, type_at, <PyObject *>value)
    for key in document:
        # Not the key before: it may be gone.
        frame.key = NULL
        if id_written and py.PyUnicode_Check(<PyObject *>key) and _is_id(<PyObject *>key):
            continue
        value = document[key]
        frame.key = <PyObject *>key
        type_at = out.size
        _put_key(w, frame.key)
        _write_value(w, type_at, <PyObject *>value)
    frame.key = NULL
    return _leave(w, start)


cdef int _write_sequence(Writer *w, PyObject *items, bint is_list) except -1:
    cdef mk_buffer *out = w.out
    cdef Frame frame
    cdef size_t start = out.size, type_at, n = 1, j
    cdef Py_ssize_t i = 0, size = py.Py_SIZE(items)
    cdef uint8_t *p
    # The index in decimal, counted up in place.
    cdef uint8_t[24] digits
    memset(digits, 0, 24)
    digits[0] = c'0'
    _enter(w, &frame, 0)
    while i < size:
        frame.index = i
        reserve(out, 24 + SLACK)
        type_at = out.size
        p = out.data + type_at
        p[0] = 0
        memcpy(p + 1, digits, 16)
        p[1 + n] = 0
        out.size += n + 2
        _write_value(
            w, type_at, py.PyList_GET_ITEM(items, i) if is_list else py.PyTuple_GET_ITEM(items, i)
        )
        # Code run by an item may have changed the list.
        if py.Py_SIZE(items) != size:
            _raise_changed("list")
        i += 1
        j = n
        while True:
            if j == 0:
                digits[0] = c'1'
                digits[n] = c'0'
                n += 1
                break
            j -= 1
            if digits[j] != c'9':
                digits[j] += 1
                break
            digits[j] = c'0'
    return _leave(w, start)


cdef int _write_raw(Writer *w, object raw) except -1:
    cdef Py_buffer view
    try:
        PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
    except (TypeError, BufferError):
        return fail(w, f"a RawBSONDocument's bytes are not bytes-like: {raw!r}")
    try:
        if c.mk_bson_document_size(<const uint8_t *>view.buf, view.len) != <size_t>view.len:
            return fail(w, "a RawBSONDocument's bytes are not one whole document")
        return put_bytes(w, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef int _write_any_document(Writer *w, object document, bint top_level) except -1:
    cdef PyObject *p = <PyObject *>document
    if isinstance(document, dict):
        # OrderedDict.move_to_end does not reorder the dict underneath.
        if py.PyType_IsSubtype(py.Py_TYPE(p), &py.PyODict_Type):
            return _write_mapping(w, document, top_level)
        return _write_dict(w, p, top_level)
    if _marker(p) == 101:
        return _write_raw(w, attribute(w, document, _raw_name))
    if isinstance(document, _Mapping):
        return _write_mapping(w, document, top_level)
    if w.frame != NULL:
        return fail(w, f"expected a mapping but got: {document!r}")
    raise TypeError(f"encoder expected a mapping type but got: {document!r}")


# ---- Values that are not exactly of a built-in type ----

# The `_type_marker` of BSON's own classes, ours or those of PyMongo's bson; 0: none.
cdef int _marker(PyObject *value) except -1:
    cdef PyObject *marker = py.mk_type_attribute(py.Py_TYPE(value), <PyObject *>_marker_name)
    cdef int64_t number
    if marker == NULL or py.Py_TYPE(marker) != &py.PyLong_Type:
        return 0
    if not py.mk_long_as_int64(marker, &number) or not 0 <= number <= 255:
        return 0
    return <int>number


cdef bint _is_pattern(object value) except -1:
    # Whoever has a compiled pattern has loaded its module.
    re = sys.modules.get("re")
    return re is not None and type(value) is re.Pattern


cdef int _write_other(Writer *w, size_t type_at, PyObject *pointer, int tried) except -1:
    # These references keep value and key alive while code of others runs.
    cdef object value = <object>pointer
    cdef object _held_key = None
    cdef mk_buffer *out = w.out
    cdef int marker
    cdef int64_t number
    if w.frame.key != NULL:
        _held_key = <object>w.frame.key
    marker = _marker(pointer)
    if marker:
        if _write_marked(w, type_at, value, marker):
            return 0
    if isinstance(value, int):
        if py.mk_long_as_int64(pointer, &number):
            reserve(out, 8)
            if INT32_MIN <= number <= INT32_MAX:
                out.data[type_at] = c.MK_BSON_INT32
                mk_store_i32(out.data + out.size, <int32_t>number)
                out.size += 4
            else:
                out.data[type_at] = c.MK_BSON_INT64
                mk_store_i64(out.data + out.size, number)
                out.size += 8
            return 0
    elif isinstance(value, float):
        out.data[type_at] = c.MK_BSON_DOUBLE
        reserve(out, 8)
        mk_store_f64(out.data + out.size, py.PyFloat_AS_DOUBLE(pointer))
        out.size += 8
        return 0
    elif isinstance(value, tuple):
        out.data[type_at] = c.MK_BSON_ARRAY
        return _write_sequence(w, pointer, False)
    elif isinstance(value, dict):
        out.data[type_at] = c.MK_BSON_DOCUMENT
        return _write_any_document(w, value, False)
    elif isinstance(value, list):
        out.data[type_at] = c.MK_BSON_ARRAY
        return _write_sequence(w, pointer, True)
    elif isinstance(value, bytes):
        out.data[type_at] = c.MK_BSON_BINARY
        return put_binary(w, 0, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    elif isinstance(value, str):
        out.data[type_at] = c.MK_BSON_STRING
        return _put_string(w, pointer)
    elif isinstance(value, datetime):
        out.data[type_at] = c.MK_BSON_DATETIME
        return put_datetime(w, value)
    elif _is_pattern(value):
        out.data[type_at] = c.MK_BSON_REGEX
        return put_regex(w, value)
    elif isinstance(value, _Mapping):
        out.data[type_at] = c.MK_BSON_DOCUMENT
        return _write_any_document(w, value, False)
    else:
        # Whoever has a UUID has loaded its module.
        uuid = _modules.get("uuid")
        if uuid is not None and isinstance(value, uuid.UUID):
            return _write_uuid(w, type_at, value)
    return _write_custom(w, type_at, value, tried)


cdef int _write_custom(Writer *w, size_t type_at, object value, int tried) except -1:
    cdef CodecContext context = <CodecContext>w.context
    cdef object transform = None
    if context.encoders is not None and not tried & CUSTOM_TRIED:
        transform = context.encoders.get(type(value))
        if transform is not None:
            tried |= CUSTOM_TRIED
    if transform is None and context.fallback is not None and not tried & FALLBACK_TRIED:
        transform = context.fallback
        # What it returns may be of a type that has an encoder.
        tried = FALLBACK_TRIED
    if transform is None:
        if isinstance(value, int):
            raise OverflowError("MongoDB can only handle up to 8-byte ints")
        return fail_value(w, value)
    value = transform(value)
    reserve(w.out, SLACK)
    if type(value) in _exact_types:
        return _write_value(w, type_at, <PyObject *>value)
    return _write_other(w, type_at, <PyObject *>value, tried)


# The types for which _write_value never goes on to _write_other.
cdef frozenset _exact_types = frozenset((str, float, type(None), bool, bytes, ObjectId))


cdef int _write_uuid(Writer *w, size_t type_at, object value) except -1:
    cdef CodecContext context = <CodecContext>w.context
    binary = _Binary.from_uuid(value, context.uuid_representation)
    # A subclass of UUID may give other bytes.
    if not isinstance(binary, bytes) or PyBytes_GET_SIZE(binary) != 16:
        return fail_value(w, value)
    w.out.data[type_at] = c.MK_BSON_BINARY
    return put_binary(
        w,
        <int>integer_within(w, binary.subtype, 0, 255),
        PyBytes_AS_STRING(binary),
        PyBytes_GET_SIZE(binary),
    )


# Writes a value whose class has a `_type_marker`; 0 if the marker is not of BSON. Any class may
# have one, and the fields of our own may have been set to anything: all that is read is checked.
cdef int _write_marked(Writer *w, size_t type_at, object value, int marker) except -1:
    cdef mk_buffer *out = w.out
    cdef bint check_keys = w.check_keys
    cdef int64_t increment, seconds
    cdef int subtype
    if marker == 18:                        # Int64
        out.data[type_at] = c.MK_BSON_INT64
        put_int64(w, value, value)
    elif marker == 7:                       # ObjectId
        out.data[type_at] = c.MK_BSON_OBJECTID
        if isinstance(value, ObjectId):
            put_bytes(w, (<ObjectId>value).data, 12)
        else:
            put_sized(w, attribute(w, value, _binary_name), 12)
    elif marker == 9:                       # DatetimeMS
        out.data[type_at] = c.MK_BSON_DATETIME
        try:
            number = int(value)
        except (TypeError, ValueError):
            if type(value) is not DatetimeMS and isinstance(value, DatetimeMS):
                raise                       # by the __int__ of a derived class
            fail_value(w, value)
        put_int64(w, value, number)
    elif marker == 5:                       # Binary
        subtype = <int>integer_within(
            w,
            attribute(w, value, _binary_subtype if type(value) is _Binary else _subtype_name),
            0,
            255,
        )
        if not isinstance(value, bytes):
            fail_value(w, value)
        out.data[type_at] = c.MK_BSON_BINARY
        put_binary(w, subtype, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    elif marker == 11:                      # Regex
        out.data[type_at] = c.MK_BSON_REGEX
        put_regex(w, value)
    elif marker == 13:                      # Code
        _write_code(w, type_at, value)
    elif marker == 17:                      # Timestamp
        out.data[type_at] = c.MK_BSON_TIMESTAMP
        if type(value) is _Timestamp:
            increment = integer_within(w, attribute(w, value, _timestamp_inc), 0, UINT32_MAX)
            seconds = integer_within(w, attribute(w, value, _timestamp_time), 0, UINT32_MAX)
        else:
            increment = integer_within(w, attribute(w, value, _inc_name), 0, UINT32_MAX)
            seconds = integer_within(w, attribute(w, value, _time_name), 0, UINT32_MAX)
        reserve(out, 8)
        mk_store_u32(out.data + out.size, <uint32_t>increment)
        mk_store_u32(out.data + out.size + 4, <uint32_t>seconds)
        out.size += 8
    elif marker == 19:                      # Decimal128
        out.data[type_at] = c.MK_BSON_DECIMAL128
        put_sized(w, attribute(w, value, _bid_name), 16)
    elif marker == 100:                     # DBRef
        out.data[type_at] = c.MK_BSON_DOCUMENT
        document = attribute(w, value, _as_doc_name)()
        # Its keys start with "$" by right.
        w.check_keys = False
        _write_any_document(w, document, False)
        w.check_keys = check_keys
    elif marker == 101:                     # RawBSONDocument
        out.data[type_at] = c.MK_BSON_DOCUMENT
        _write_raw(w, attribute(w, value, _raw_name))
    elif marker == 255:
        out.data[type_at] = c.MK_BSON_MINKEY
    elif marker == 127:
        out.data[type_at] = c.MK_BSON_MAXKEY
    else:
        return 0
    return 1


cdef int _write_code(Writer *w, size_t type_at, object code) except -1:
    cdef mk_buffer *out = w.out
    cdef size_t start = out.size
    cdef bint check_keys = w.check_keys
    scope = attribute(w, code, _code_scope if type(code) is _Code else _scope_name)
    if not isinstance(code, str):
        return fail_value(w, code)
    if scope is None:
        out.data[type_at] = c.MK_BSON_CODE
        return _put_string(w, <PyObject *>code)
    out.data[type_at] = c.MK_BSON_CODE_W_SCOPE
    reserve(out, 4)
    out.size += 4
    _put_string(w, <PyObject *>code)
    w.check_keys = False
    _write_any_document(w, scope, False)
    w.check_keys = check_keys
    mk_store_u32(out.data + start, <uint32_t>(out.size - start))
    return 0


# ---- What other modules call ----

cdef inline void _start(Writer *w, mk_buffer *out, CodecContext context) noexcept:
    w.out = out
    w.frame = NULL
    w.context = <PyObject *>context
    w.document = NULL
    w.depth = 0
    w.check_keys = False


# What is reserved but not written must not count against the buffer's limit.
cdef inline size_t _lift_limit(mk_buffer *out) noexcept:
    cdef size_t limit = out.limit
    if limit:
        out.limit = limit + SLACK + 24
    return limit


cdef inline int _restore_limit(mk_buffer *out, size_t limit) except -1:
    out.limit = limit
    if limit and out.size > limit:
        raise_buffer_error(MK_TOO_LARGE)
    return 0


cdef int write_document(
    mk_buffer *out, object document, CodecContext context, bint check_keys, bint top_level
) except -1:
    cdef Writer w
    cdef size_t size = out.size
    cdef size_t limit = _lift_limit(out)
    cdef bint done = False
    _start(&w, out, context)
    w.document = <PyObject *>document
    w.check_keys = check_keys
    try:
        if py.Py_TYPE(w.document) == &py.PyDict_Type:
            _write_dict(&w, w.document, top_level)
        else:
            _write_any_document(&w, document, top_level)
        _restore_limit(out, limit)
        done = True
    finally:
        if not done:
            out.size = size
            out.limit = limit
    return 0


cdef int write_element(mk_buffer *out, object key, object value, CodecContext context) except -1:
    cdef Writer w
    cdef Frame frame
    cdef size_t size = out.size
    cdef size_t limit = _lift_limit(out)
    cdef bint done = False
    _start(&w, out, context)
    frame.up = NULL
    frame.key = <PyObject *>key
    frame.index = -1
    w.frame = &frame
    try:
        _put_key(&w, frame.key)
        _write_value(&w, size, <PyObject *>value)
        _restore_limit(out, limit)
        done = True
    finally:
        if not done:
            out.size = size
            out.limit = limit
    return 0

# cython: boundscheck=False, wraparound=False, cdivision=True, nonecheck=False
"""The decoder: BSON bytes to Python values, in one pass, checking each length before its use.

The bytes must not change while they are read: callers own them. Field names are kept in a small
table, since a batch of documents has the same ones again and
again; strings that are ASCII are copied straight into new objects. The chain of `Frame`s on the
C stack says where we are, for errors, and bounds how deep documents nest.

Python's garbage collector is kept from running over what is being made, which cannot be garbage
yet. That switch belongs to the whole process, so it is never off while Python code runs, which
may let another thread run, fork, or ask for the switch itself: `_resume` comes before any such
call, `_pause` behind it.
"""
import sys

from mongokey.bson.binary import Binary
from mongokey.bson.code import Code
from mongokey.bson.datetime_ms import (
    _MAX_UTC_MS,
    _MIN_UTC_MS,
    DatetimeMS,
    _millis_to_datetime,
)
from mongokey.bson.errors import InvalidBSON
from mongokey.bson.int64 import Int64
from mongokey.bson.max_key import MaxKey
from mongokey.bson.min_key import MinKey
from mongokey.bson.timestamp import Timestamp
from mongokey.bson.tz_util import utc

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.datetime cimport datetime_new, import_datetime
from cpython.dict cimport PyDict_Copy, PyDict_SetItem
from cpython.float cimport PyFloat_FromDouble
from cpython.long cimport PyLong_FromLong, PyLong_FromLongLong, PyLong_FromUnsignedLongLong
from cpython.object cimport PyObject, PyObject_SetAttr, PyTypeObject
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_New
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from mongokey._support.cdefs cimport mk_load_f64, mk_load_i32, mk_load_i64, mk_load_u32, mk_load_u64
from mongokey.bson cimport bson_c as c
from mongokey.bson cimport python as py
from mongokey.bson.context cimport CodecContext
from mongokey.bson.shape cimport Name, Shape, compact, is_next, shape_of, without_rest
from mongokey.bson.objectid cimport objectid_from_bytes

import_datetime()

cdef extern from *:
    """
    /* A new instance of a bytes subclass; its content is still to be written. */
    static PyObject *mk_new_bytes_subclass(PyTypeObject *type, Py_ssize_t n, char **data) {
        PyObject *o = type->tp_alloc(type, n);
        if (o == NULL) return NULL;
    #if PY_VERSION_HEX >= 0x030b0000
        _Py_COMP_DIAG_PUSH
        _Py_COMP_DIAG_IGNORE_DEPR_DECLS
        ((PyBytesObject *)o)->ob_shash = -1;
        _Py_COMP_DIAG_POP
    #else
        ((PyBytesObject *)o)->ob_shash = -1;
    #endif
        *data = PyBytes_AS_STRING(o);
        return o;
    }
    static PyObject *mk_new_object(PyTypeObject *type, PyObject *args) {
        return type->tp_new(type, args, NULL);
    }
    #define mk_new_dict(n) __Pyx_PyDict_NewPresized(n)
    """
    object mk_new_bytes_subclass(PyTypeObject *type, Py_ssize_t n, char **data)
    object mk_new_object(PyTypeObject *type, object args)
    dict mk_new_dict(Py_ssize_t n)


cdef extern from "Python.h":
    int PyGC_Disable()
    int PyGC_Enable()


cdef enum:
    KEY_SLOTS = 1024                        # a power of two
    KEY_SLOT_SHIFT = 64 - 10
    KEY_MAX = 64                            # longer names are not kept
    # Of one document, so many names are looked for among those kept: more would only push out
    # what other documents have in common.
    KEYS_LOOKED_UP = 1024

cdef enum:
    # From so many fields on those still to come are counted, to make room for them.
    FIELDS_COUNTED = 170
    FIELD_SIZE = 8                          # what a field takes at least, in any usual document
    # Smaller ones give the garbage collector little to do.
    PAUSE_FROM = 16 * 1024
    VIEW_FROM = 4096                        # raw documents are copied below this size

cdef enum:
    SCORE_MOST = 15
    # A document that has not the shape it was read by costs more than one that has it saves.
    SCORE_OF_MISS = 4
    SHAPE_WAIT = 256

cdef enum:
    DATETIME = 1                            # DatetimeConversion's numbers
    DATETIME_CLAMP = 2
    DATETIME_MS = 3
    DATETIME_AUTO = 4

cdef object _Binary = Binary, _Code = Code, _DatetimeMS = DatetimeMS
cdef object _Int64 = Int64, _Timestamp = Timestamp
# Loaded by the first such value: their modules bring more with them than all the others.
cdef object _DBRef = None, _Decimal128 = None, _Regex = None
cdef object _min_key = MinKey(), _max_key = MaxKey(), _utc = utc
cdef tuple _no_args = ()
# The fields of our own classes, set without a constructor.
cdef object _binary_subtype = sys.intern("_Binary__subtype")
cdef object _code_scope = sys.intern("_Code__scope")
cdef object _datetime_ms_value = sys.intern("_value")
cdef object _decimal_high = sys.intern("_Decimal128__high")
cdef object _decimal_low = sys.intern("_Decimal128__low")
cdef object _regex_pattern = sys.intern("pattern")
cdef object _regex_flags = sys.intern("flags")
cdef object _timestamp_time = sys.intern("_Timestamp__time")
cdef object _timestamp_inc = sys.intern("_Timestamp__inc")
cdef int64_t _min_ms = _MIN_UTC_MS, _max_ms = _MAX_UTC_MS


# One container on the way from the outermost document to the value being read.
cdef struct Frame:
    Frame *up
    const uint8_t *key                      # of the current element; NULL before the first
    size_t key_len
    bint array


cdef struct Reader:
    const uint8_t *base                     # the outermost document
    const uint8_t *limit                    # behind its last byte
    Frame *frame
    PyObject *context                       # a CodecContext, borrowed
    PyObject *document_class                # NULL: dict
    PyObject *decoders                      # a dict, or NULL
    PyObject *owner                         # the bytes object that all lies in, borrowed; or NULL
    Py_ssize_t room                         # for how many fields dicts may still be presized
    int depth
    bint raw                                # embedded documents become raw ones
    bint may_pause                          # the collector, while no Python code runs
    bint paused                             # it is off, by this reader


cdef struct Key:
    PyObject *text                          # owned
    PyObject *shape                         # owned, of documents that begin with it; or NULL
    uint64_t start                          # its first eight bytes, zeros behind its end
    uint32_t size
    uint32_t fields                         # of the last document that began with this name
    uint32_t wait                           # so many documents pass before a shape is tried again


cdef Key[KEY_SLOTS] _keys


# ---- The collector ----

cdef inline void _pause(Reader *r) noexcept:
    if r.may_pause and not r.paused:
        # Whether it was on: a program that has turned it off keeps it off.
        r.paused = PyGC_Disable()


cdef inline void _resume(Reader *r) noexcept:
    if r.paused:
        r.paused = False
        PyGC_Enable()


# ---- Errors ----

cdef str _path(Reader *r):
    cdef Frame *frame = r.frame
    cdef list parts = []
    while frame != NULL:
        if frame.key != NULL:
            parts.append((<const char *>frame.key)[:frame.key_len].decode("utf-8", "replace"))
        frame = frame.up
    return ".".join(reversed(parts))


cdef object _fail(Reader *r, const uint8_t *at, str what):
    _resume(r)
    cdef str path = _path(r)
    cdef Py_ssize_t offset = at - r.base
    cdef str shown = path if len(path) <= 120 else f"{path[:60]}...{path[len(path) - 57:]}"
    cdef str where = f", at byte {offset}" + (f", in field {shown!r}" if path else "")
    raise InvalidBSON(what + where, offset, path)


cdef object _fail_unknown_type(Reader *r, const uint8_t *at, uint8_t kind):
    cdef Frame *frame = r.frame
    cdef bytes name = b""
    while frame != NULL and frame.array:
        frame = frame.up
    if frame != NULL:
        name = (<const char *>frame.key)[:frame.key_len]
    return _fail(
        r,
        at,
        f"Detected unknown BSON type {bytes([kind])!r} for fieldname"
        f" '{name.decode('utf-8', 'replace')}'. Are you using the latest driver version?",
    )


# ---- Text ----

cdef object _text(Reader *r, const uint8_t *p, size_t n):
    cdef object text
    cdef CodecContext context
    if py.mk_is_ascii(p, n):
        if n > 1:
            text = PyUnicode_New(n, 127)
            py.mk_copy_short(py.mk_ascii_data(<PyObject *>text), p, n)
            return text
        if n == 0:
            return ""
    context = <CodecContext>r.context
    # An error handler may be anybody's code.
    _resume(r)
    try:
        text = PyUnicode_DecodeUTF8(<const char *>p, n, context.error_handler)
        _pause(r)
        return text
    except UnicodeDecodeError as err:
        _fail(r, p + <Py_ssize_t>err.start, str(err))
    except LookupError as err:
        _fail(r, p, str(err))


# Finds the NUL behind the key at p, before `end`; the key's length, or -1. `start` gets its
# first eight bytes and `hash` a mix of all.
cdef inline Py_ssize_t _scan_key(
    Reader *r, const uint8_t *p, const uint8_t *end, uint64_t *start, uint64_t *mix
) noexcept:
    cdef const uint8_t *q = p
    cdef uint64_t word, marks, first = 0
    cdef uint64_t h = <uint64_t>0x9E3779B97F4A7C15
    cdef Py_ssize_t n
    while True:
        if r.limit - q >= 8:
            word = mk_load_u64(q)
        else:
            word = 0
            for n in range(r.limit - q):
                word |= <uint64_t>q[n] << (8 * n)
        marks = py.MK_ZERO_BYTES(word)
        if marks:
            # All bytes below the first zero.
            word &= (marks & (0 - marks)) - 1
            n = q - p + py.mk_first_byte(marks)
            if p + n >= end:
                return -1
            if q == p:
                first = word
            start[0] = first
            h = (h ^ word) * <uint64_t>0xFF51AFD7ED558CCD
            mix[0] = h
            return n
        if q == p:
            first = word
        h = (h ^ word) * <uint64_t>0xFF51AFD7ED558CCD
        h ^= h >> 32
        q += 8
        if q >= end:
            return -1


cdef inline int _drop_shape(Key *slot) noexcept:
    cdef PyObject *shape = slot.shape
    if shape != NULL:
        slot.shape = NULL
        py.Py_DECREF(shape)
    return 0


cdef object _key(Reader *r, const uint8_t *p, size_t n, uint64_t start, uint64_t mix):
    cdef Key *slot = &_keys[mix >> KEY_SLOT_SHIFT]
    cdef object text
    if slot.size == n and slot.start == start and slot.text != NULL:
        if n <= 8 or memcmp(py.mk_ascii_data(slot.text) + 8, p + 8, n - 8) == 0:
            return <object>slot.text
    text = _text(r, p, n)
    # Only names that are read alike whatever the error handler.
    if n <= KEY_MAX and py.mk_is_ascii(p, n):
        py.Py_INCREF(<PyObject *>text)
        if slot.text != NULL:
            py.Py_DECREF(slot.text)
            _drop_shape(slot)
            slot.wait = 0
        slot.text = <PyObject *>text
        slot.start = start
        slot.size = <uint32_t>n
        slot.fields = 0
    return text


# ---- Containers ----

cdef inline int _enter(Reader *r, Frame *frame, bint array, const uint8_t *at) except -1:
    frame.up = r.frame
    frame.key = NULL
    frame.key_len = 0
    frame.array = array
    if r.depth >= c.MK_BSON_MAX_DEPTH:
        _fail(r, at, f"documents nest more than {c.MK_BSON_MAX_DEPTH} levels deep")
    r.depth += 1
    r.frame = frame
    return 0


cdef inline int _leave(Reader *r) noexcept:
    r.frame = r.frame.up
    r.depth -= 1
    return 0


# How many elements there are between p and `end`, as far as they are sound.
cdef Py_ssize_t _count_elements(const uint8_t *p, const uint8_t *end) noexcept nogil:
    cdef Py_ssize_t count = 0
    cdef const uint8_t *nul
    cdef int64_t size
    while p < end:
        nul = <const uint8_t *>memchr(p + 1, 0, end - p - 1)
        if nul == NULL:
            break
        size = c.mk_bson_value_size(p[0], nul + 1, end - nul - 1)
        if size < 0:
            break
        p = nul + 1 + size
        count += 1
    return count


# The same dict with room for `more` fields: growing step by step would place each one anew at
# every step.
cdef dict _with_room(Reader *r, dict document, Py_ssize_t more):
    cdef dict roomy
    cdef Py_ssize_t position = 0
    cdef PyObject *key
    cdef PyObject *value
    more += py.PyDict_GET_SIZE(<PyObject *>document)
    if more > r.room:
        return document
    r.room -= more
    roomy = mk_new_dict(more)
    while py.PyDict_Next(<PyObject *>document, &position, &key, &value):
        PyDict_SetItem(roomy, <object>key, <object>value)
    return roomy


# A dict for the document that begins with `name`: documents with the same first name tend to
# have as many fields, and room for them at once saves placing each one anew when it grows. What
# one document had is only a guess about others, so all the room given by guesses is bounded by
# the size of what is read.
cdef inline dict _new_dict(Reader *r, Key *slot, object name, Py_ssize_t size):
    cdef Py_ssize_t fields = 0
    if slot.text == <PyObject *>name:
        fields = slot.fields
        if fields > size // FIELD_SIZE:
            fields = size // FIELD_SIZE
        if fields > r.room:
            fields = r.room
        r.room -= fields
    return mk_new_dict(fields)


cdef int _replace_shape(Key *slot, Shape shape, Shape better) except -1:
    if better is not None and slot.shape == <PyObject *>shape:
        py.Py_INCREF(<PyObject *>better)
        slot.shape = <PyObject *>better
        py.Py_DECREF(<PyObject *>shape)
    return 0


# What a document that began with the name in `slot` says about the next one. `shape`: the one it
# was read by, if any, and `had_it`: whether that was right.
cdef int _learn(Key *slot, dict document, Py_ssize_t fields, Shape shape, bint had_it) except -1:
    cdef uint32_t size = <uint32_t>py.PyDict_GET_SIZE(<PyObject *>document)
    if shape is not None:
        if had_it:
            if shape.score < SCORE_MOST:
                shape.score += 1
            elif not shape.proven:
                shape.proven = True
                _replace_shape(slot, shape, compact(shape))
        else:
            shape.score -= SCORE_OF_MISS
            if shape.score < 0 and slot.shape == <PyObject *>shape:
                _drop_shape(slot)
                slot.wait = SHAPE_WAIT
    elif slot.fields == size == fields and slot.shape == NULL:
        # Two in a row with as many fields.
        if slot.wait:
            slot.wait -= 1
        else:
            shape = shape_of(document)
            if shape is None:
                slot.wait = SHAPE_WAIT
            else:
                py.Py_INCREF(<PyObject *>shape)
                slot.shape = <PyObject *>shape
    # Not `fields`: the same name may stand there many times.
    slot.fields = size
    return 0


# The elements between p and the terminator at `end`, into a dict.
cdef object _read_dict(Reader *r, const uint8_t *p, const uint8_t *end, bint embedded):
    cdef Frame frame
    cdef dict document = None
    cdef object key, value
    cdef Shape shape = None
    cdef const Name *name
    cdef char *table = NULL                 # of `document`, while it is a copy of a template
    cdef Py_ssize_t n, fields = 0, expected = 0
    cdef uint64_t start = 0, mix = 0
    cdef uint8_t kind
    cdef Key *first = NULL
    cdef PyObject *first_name = NULL
    cdef bint dollar = False, had_it
    _enter(r, &frame, False, p - 4)
    if p == end:
        _leave(r)
        return {}
    while p < end:
        kind = p[0]
        p += 1
        if fields < expected:
            name = &shape.names[fields]
            if is_next(name, p, end, r.limit):
                frame.key = p
                frame.key_len = name.size
                p += name.size + 1
                value = _read_value(r, kind, &p, end)
                # The table is another one if somebody has found the dict and changed it.
                if table == NULL or not py.mk_put_in_table(
                    <PyObject *>document, table, name.at, <PyObject *>value
                ):
                    PyDict_SetItem(document, <object>name.text, value)
                fields += 1
                continue
            document = without_rest(shape, document, fields)
            r.room += expected
            expected = 0
        n = _scan_key(r, p, end, &start, &mix)
        if n < 0:
            _fail(r, p, "a field name does not end")
        frame.key = p
        frame.key_len = n
        if p[0] == c'$':
            dollar = True
        if fields < KEYS_LOOKED_UP:
            key = _key(r, p, n, start, mix)
        else:
            key = _text(r, p, n)
        if fields == 0:
            first = &_keys[mix >> KEY_SLOT_SHIFT]
            first_name = <PyObject *>key
            if first.shape != NULL and first.text == first_name:
                shape = <Shape>first.shape
                if end - p >= shape.bytes - 1 and shape.count <= r.room:
                    document = PyDict_Copy(shape.template)
                    if shape.direct:
                        table = py.mk_dict_table(<PyObject *>document)
                    expected = shape.count
                    r.room -= expected
                else:
                    shape = None
            if shape is None:
                document = _new_dict(r, first, key, end - p)
        elif fields == FIELDS_COUNTED and first.fields <= FIELDS_COUNTED:
            document = _with_room(r, document, _count_elements(p - 1, end))
        fields += 1
        p += n + 1
        value = _read_value(r, kind, &p, end)
        # The first field of a document that has a shape, or one of which nothing is known.
        if table == NULL or fields > expected or not py.mk_put_in_table(
            <PyObject *>document, table, shape.names[fields - 1].at, <PyObject *>value
        ):
            PyDict_SetItem(document, key, value)
    if p != end:
        _fail(r, end, "an element reaches beyond its document")
    had_it = fields == expected
    if fields < expected:
        document = without_rest(shape, document, fields)
        r.room += expected
    # Only compared: the name may have given its place to another.
    if first.text == first_name:
        _learn(first, document, fields, shape, had_it)
    _leave(r)
    if dollar and embedded:
        _resume(r)
        value = _as_dbref(document)
        _pause(r)
        return value
    return document


# The elements between p and the terminator at `end`, into a document of the class asked for.
cdef object _read_elements(Reader *r, const uint8_t *p, const uint8_t *end, bint embedded):
    cdef Frame frame
    cdef object document, key, value
    cdef Py_ssize_t n, fields = 0
    cdef uint64_t start = 0, mix = 0
    cdef uint8_t kind
    cdef bint dollar = False
    if r.document_class == NULL:
        return _read_dict(r, p, end, embedded)
    _enter(r, &frame, False, p - 4)
    document = (<object>r.document_class)()
    while p < end:
        kind = p[0]
        p += 1
        n = _scan_key(r, p, end, &start, &mix)
        if n < 0:
            _fail(r, p, "a field name does not end")
        frame.key = p
        frame.key_len = n
        if p[0] == c'$':
            dollar = True
        if fields < KEYS_LOOKED_UP:
            key = _key(r, p, n, start, mix)
        else:
            key = _text(r, p, n)
        fields += 1
        p += n + 1
        value = _read_value(r, kind, &p, end)
        document[key] = value
    if p != end:
        _fail(r, end, "an element reaches beyond its document")
    _leave(r)
    return _as_dbref(document) if dollar and embedded else document


cdef object _as_dbref(object document):
    # A document that only looks like a reference stays a document.
    if "$ref" not in document or "$id" not in document:
        return document
    database = document["$db"] if "$db" in document else None
    if not isinstance(document["$ref"], str) or not isinstance(database, (str, type(None))):
        return document
    rest = dict(document)
    rest.pop("$db", None)
    return _dbref()(rest.pop("$ref"), rest.pop("$id"), database, rest)


cdef list _read_items(Reader *r, const uint8_t *p, const uint8_t *end):
    cdef Frame frame
    cdef list items = []
    cdef object value
    cdef uint8_t kind
    _enter(r, &frame, True, p - 4)
    while p < end:
        kind = p[0]
        p += 1
        # The keys are skipped: arrays are in order.
        frame.key = p
        while p < end and p[0]:
            p += 1
        if p == end:
            frame.key_len = 0
            _fail(r, frame.key, "a field name does not end")
        frame.key_len = p - frame.key
        p += 1
        value = _read_value(r, kind, &p, end)
        py.mk_list_append(items, value)
    if p != end:
        _fail(r, end, "an element reaches beyond its array")
    _leave(r)
    return items


# The documents of a cursor's batch: each stands for itself, as if it had been read alone. None
# if there is anything else among them.
cdef list _read_documents(Reader *r, const uint8_t *p, const uint8_t *end):
    cdef Frame frame
    cdef list documents = []
    cdef object document
    cdef size_t size
    _enter(r, &frame, True, p - 4)
    while p < end:
        if p[0] != c.MK_BSON_DOCUMENT:
            return None
        p += 1
        frame.key = p
        while p < end and p[0]:
            p += 1
        if p == end:
            frame.key_len = 0
            _fail(r, frame.key, "a field name does not end")
        frame.key_len = p - frame.key
        p += 1
        size = c.mk_bson_document_size(p, end - p)
        if size == 0:
            _fail(r, p, "invalid length or type code: a document's length or end is wrong")
        if r.raw:
            document = _raw_document(r, p, size)
        else:
            document = _read_elements(r, p + 4, p + size - 1, False)
        py.mk_list_append(documents, document)
        p += size
    _leave(r)
    return documents


# ---- Values ----

cdef inline int _need(Reader *r, const uint8_t *p, const uint8_t *end, Py_ssize_t n) except -1:
    if end - p < n:
        _fail(r, p, "invalid length or type code: a value reaches beyond its document")
    return 0


# The value at at[0], which must end by `end`; at[0] moves behind it.
cdef inline object _read_value(Reader *r, uint8_t kind, const uint8_t **at, const uint8_t *end):
    if r.decoders != NULL:
        return _transform(r, _read_plain(r, kind, at, end))
    return _read_plain(r, kind, at, end)


cdef object _transform(Reader *r, object value):
    transform = (<dict>r.decoders).get(type(value))
    return value if transform is None else transform(value)


cdef inline size_t _string_size(Reader *r, const uint8_t *p, const uint8_t *end) except 0:
    cdef size_t size = c.mk_bson_string_size(p, end - p)
    if size == 0:
        _fail(r, p, "invalid length or type code: a string's length or end is wrong")
    return size


cdef object _read_plain(Reader *r, uint8_t kind, const uint8_t **at, const uint8_t *end):
    cdef const uint8_t *p = at[0]
    cdef size_t size
    if kind == c.MK_BSON_STRING or kind == c.MK_BSON_SYMBOL:
        size = _string_size(r, p, end)
        at[0] = p + size
        return _text(r, p + 4, size - 5)
    elif kind == c.MK_BSON_INT32:
        _need(r, p, end, 4)
        at[0] = p + 4
        return PyLong_FromLong(mk_load_i32(p))
    elif kind == c.MK_BSON_DOUBLE:
        _need(r, p, end, 8)
        at[0] = p + 8
        return PyFloat_FromDouble(mk_load_f64(p))
    elif kind == c.MK_BSON_OBJECTID:
        _need(r, p, end, 12)
        at[0] = p + 12
        return objectid_from_bytes(p)
    elif kind == c.MK_BSON_DOCUMENT:
        size = c.mk_bson_document_size(p, end - p)
        if size == 0:
            _fail(r, p, "invalid length or type code: a document's length or end is wrong")
        at[0] = p + size
        if r.raw:
            return _raw_document(r, p, size)
        return _read_elements(r, p + 4, p + size - 1, True)
    elif kind == c.MK_BSON_ARRAY:
        size = c.mk_bson_document_size(p, end - p)
        if size == 0:
            _fail(r, p, "invalid length or type code: an array's length or end is wrong")
        at[0] = p + size
        return _read_items(r, p + 4, p + size - 1)
    elif kind == c.MK_BSON_BOOL:
        _need(r, p, end, 1)
        if p[0] > 1:
            _fail(r, p, f"invalid boolean value: {p[0]:x}")
        at[0] = p + 1
        return p[0] == 1
    elif kind == c.MK_BSON_NULL or kind == c.MK_BSON_UNDEFINED:
        return None
    elif kind == c.MK_BSON_DATETIME:
        _need(r, p, end, 8)
        at[0] = p + 8
        return _date(r, p, mk_load_i64(p))
    elif kind == c.MK_BSON_INT64:
        _need(r, p, end, 8)
        at[0] = p + 8
        return py.mk_new_int_subclass(<PyTypeObject *>_Int64, mk_load_i64(p))
    return _read_rare(r, kind, at, end)


# Classes written in Python make these values, or a late import.
cdef object _read_rare(Reader *r, uint8_t kind, const uint8_t **at, const uint8_t *end):
    cdef object value
    cdef bint may_pause = r.may_pause
    _resume(r)
    # Not by text or a scope within the value either.
    r.may_pause = False
    value = _read_slowly(r, kind, at, end)
    r.may_pause = may_pause
    _pause(r)
    return value


cdef object _read_slowly(Reader *r, uint8_t kind, const uint8_t **at, const uint8_t *end):
    cdef const uint8_t *p = at[0]
    cdef int64_t checked
    cdef size_t size
    cdef object value
    checked = c.mk_bson_value_size(kind, p, end - p)
    if checked < 0:
        if kind > c.MK_BSON_DECIMAL128 and kind != c.MK_BSON_MAXKEY or kind == 0:
            _fail_unknown_type(r, p, kind)
        _fail(r, p, "invalid length or type code")
    at[0] = p + checked
    if kind == c.MK_BSON_BINARY:
        return _binary(r, p, checked)
    elif kind == c.MK_BSON_TIMESTAMP:
        value = mk_new_object(<PyTypeObject *>_Timestamp, _no_args)
        PyObject_SetAttr(value, _timestamp_inc, PyLong_FromLongLong(mk_load_u32(p)))
        PyObject_SetAttr(value, _timestamp_time, PyLong_FromLongLong(mk_load_u32(p + 4)))
        return value
    elif kind == c.MK_BSON_DECIMAL128:
        kind_class = _decimal128()
        value = mk_new_object(<PyTypeObject *>kind_class, _no_args)
        PyObject_SetAttr(value, _decimal_low, PyLong_FromUnsignedLongLong(mk_load_u64(p)))
        PyObject_SetAttr(value, _decimal_high, PyLong_FromUnsignedLongLong(mk_load_u64(p + 8)))
        return value
    elif kind == c.MK_BSON_REGEX:
        return _regex(r, p, checked)
    elif kind == c.MK_BSON_CODE:
        return _new_code(_text(r, p + 4, checked - 5), None)
    elif kind == c.MK_BSON_CODE_W_SCOPE:
        size = c.mk_bson_string_size(p + 4, checked - 4)
        value = _text(r, p + 8, size - 5)
        p += 4 + size
        if r.raw:
            return _new_code(value, _raw_document(r, p, checked - 4 - size))
        return _new_code(value, _read_elements(r, p + 4, at[0] - 1, False))
    elif kind == c.MK_BSON_DBPOINTER:
        return _dbref()(_text(r, p + 4, checked - 17), objectid_from_bytes(p + checked - 12))
    elif kind == c.MK_BSON_MINKEY:
        return _min_key
    return _max_key


cdef object _dbref():
    global _DBRef
    if _DBRef is None:
        from mongokey.bson.dbref import DBRef

        _DBRef = DBRef
    return _DBRef


cdef object _decimal128():
    global _Decimal128
    if _Decimal128 is None:
        from mongokey.bson.decimal128 import Decimal128

        _Decimal128 = Decimal128
    return _Decimal128


cdef object _regex_class():
    global _Regex
    if _Regex is None:
        from mongokey.bson.regex import Regex

        _Regex = Regex
    return _Regex


cdef object _new_code(object text, object scope):
    cdef object code = mk_new_object(<PyTypeObject *>_Code, (text,))
    PyObject_SetAttr(code, _code_scope, scope)
    return code


cdef object _regex(Reader *r, const uint8_t *p, size_t size):
    cdef const uint8_t *nul = <const uint8_t *>memchr(p, 0, size)
    cdef const uint8_t *end = p + size - 1
    cdef const uint8_t *letter
    cdef long flags = 0
    cdef object kind = _regex_class()
    cdef object regex = mk_new_object(<PyTypeObject *>kind, _no_args)
    PyObject_SetAttr(regex, _regex_pattern, _text(r, p, nul - p))
    letter = nul + 1
    if not py.mk_is_ascii(letter, end - letter):
        # Letters that mean nothing are ignored, but they must be text.
        _text(r, letter, end - letter)
    while letter < end:
        if letter[0] == c"i":
            flags |= 2
        elif letter[0] == c"l":
            flags |= 4
        elif letter[0] == c"m":
            flags |= 8
        elif letter[0] == c"s":
            flags |= 16
        elif letter[0] == c"u":
            flags |= 32
        elif letter[0] == c"x":
            flags |= 64
        letter += 1
    PyObject_SetAttr(regex, _regex_flags, PyLong_FromLong(flags))
    return regex


cdef object _binary(Reader *r, const uint8_t *p, size_t size):
    cdef CodecContext context = <CodecContext>r.context
    cdef int subtype = p[4]
    cdef size_t header = 9 if subtype == 2 else 5
    cdef char *data
    cdef object value
    if subtype == 0:
        return PyBytes_FromStringAndSize(<const char *>p + 5, size - 5)
    value = mk_new_bytes_subclass(<PyTypeObject *>_Binary, size - header, &data)
    memcpy(data, p + header, size - header)
    PyObject_SetAttr(value, _binary_subtype, PyLong_FromLong(subtype))
    if subtype not in (3, 4) or context.uuid_representation == 0:
        return value
    # UuidRepresentation.STANDARD goes with subtype 4 and the others with subtype 3.
    if (subtype == 4) != (context.uuid_representation == 4):
        return value
    try:
        return value.as_uuid(context.uuid_representation)
    except ValueError as err:
        return _fail(r, p, str(err))


cdef object _date(Reader *r, const uint8_t *p, int64_t ms):
    cdef CodecContext context = <CodecContext>r.context
    cdef object value
    cdef int year, month, day, rest
    cdef int64_t days
    if context.conversion == DATETIME_MS:
        _resume(r)
        value = mk_new_object(<PyTypeObject *>_DatetimeMS, _no_args)
        PyObject_SetAttr(value, _datetime_ms_value, PyLong_FromLongLong(ms))
        _pause(r)
        return value
    # A time zone may bring a date that UTC can say out of range, or back: not done here.
    if context.tzinfo is None and _min_ms <= ms <= _max_ms and 1 <= context.conversion <= 4:
        days = py.mk_floor_div(ms, 86400000)
        rest = <int>(ms - days * 86400000)
        py.mk_civil_from_days(<int>days, &year, &month, &day)
        return datetime_new(
            year,
            month,
            day,
            rest // 3600000,
            rest // 60000 % 60,
            rest // 1000 % 60,
            rest % 1000 * 1000,
            _utc if context.tz_aware else None,
        )
    _resume(r)
    try:
        value = _millis_to_datetime(ms, context.options)
        _pause(r)
        return value
    except (InvalidBSON, ArithmeticError, ValueError) as err:
        return _fail(r, p, str(err))


cdef object _raw_document(Reader *r, const uint8_t *p, size_t size):
    cdef CodecContext context = <CodecContext>r.context
    cdef Py_ssize_t start
    cdef object raw
    if r.owner is NULL:
        raw = PyBytes_FromStringAndSize(<const char *>p, size)
    else:
        start = <const char *>p - PyBytes_AS_STRING(<object>r.owner)
        if start == 0 and <Py_ssize_t>size == PyBytes_GET_SIZE(<object>r.owner):
            raw = <object>r.owner
        elif size < VIEW_FROM:
            raw = PyBytes_FromStringAndSize(<const char *>p, size)
        else:
            raw = memoryview(<object>r.owner)[start:start + <Py_ssize_t>size]
    return context.document_class(raw, context.options)


# ---- What other modules call ----

# `total`: the bytes of the whole batch that is read.
cdef inline void _start(
    Reader *r, CodecContext context, size_t total, bytes owner=None
) noexcept:
    r.owner = NULL if owner is None else <PyObject *>owner
    r.context = <PyObject *>context
    # The fields of a raw document stand in a dict.
    r.document_class = (
        NULL if context.plain_dict or context.raw else <PyObject *>context.document_class
    )
    r.decoders = NULL if context.decoders is None else <PyObject *>context.decoders
    r.raw = context.raw
    # Where each document or value goes through code of others, switching costs more than it saves.
    r.may_pause = total >= PAUSE_FROM and context.plain_dict and context.decoders is None
    r.paused = False


# The outermost document is this one now.
cdef inline int _begin(Reader *r, const uint8_t *data, size_t size) except -1:
    r.base = data
    r.limit = data + size
    r.frame = NULL
    r.room = size // FIELD_SIZE
    r.depth = 0
    if size < c.MK_BSON_MIN_SIZE:
        _fail(r, data, "not enough data for a BSON document")
    if mk_load_i32(data) < <int32_t>c.MK_BSON_MIN_SIZE:
        _fail(r, data, "invalid message size")
    if <size_t>mk_load_i32(data) != size:
        _fail(r, data, f"objsize too large: it says {mk_load_i32(data)} bytes, there are {size}")
    if data[size - 1]:
        _fail(r, data + size - 1, "bad eoo: a document must end in a NUL byte")
    _pause(r)
    return 0


cdef object read_document(
    const uint8_t *data, size_t size, CodecContext context, bytes owner=None
):
    cdef Reader r
    _start(&r, context, size, owner)
    _begin(&r, data, size)
    if context.raw:
        return _raw_document(&r, data, size)
    try:
        return _read_elements(&r, data + 4, data + size - 1, False)
    finally:
        _resume(&r)


cdef list read_sequence(
    const uint8_t *data, size_t size, CodecContext context, bytes owner=None
):
    cdef Reader r
    cdef list documents = []
    cdef size_t position = 0, length
    _start(&r, context, size, owner)
    try:
        while position < size:
            if not _holds_document(data, position, size):
                _resume(&r)                 # raising is Python code
            length = document_size(data, position, size)
            _begin(&r, data + position, length)
            if context.raw:
                document = _raw_document(&r, data + position, length)
            else:
                document = _read_elements(
                    &r, data + position + 4, data + position + length - 1, False
                )
            py.mk_list_append(documents, document)
            position += length
    finally:
        _resume(&r)
    return documents


cdef inline bint _holds_document(
    const uint8_t *data, Py_ssize_t position, Py_ssize_t size
) noexcept:
    return size - position >= <Py_ssize_t>c.MK_BSON_MIN_SIZE and (
        <Py_ssize_t>c.MK_BSON_MIN_SIZE <= mk_load_i32(data + position) <= size - position
    )


cdef Py_ssize_t document_size(
    const uint8_t *data, Py_ssize_t position, Py_ssize_t size
) except -1:
    cdef Py_ssize_t length
    if size - position < <Py_ssize_t>c.MK_BSON_MIN_SIZE:
        raise InvalidBSON(
            f"not enough data for a BSON document, at byte {position}", position
        )
    length = mk_load_i32(data + position)
    if length < <Py_ssize_t>c.MK_BSON_MIN_SIZE:
        raise InvalidBSON(f"invalid message size, at byte {position}", position)
    if length > size - position:
        raise InvalidBSON(f"objsize too large, at byte {position}", position)
    return length


cdef list read_array(const uint8_t *data, size_t size, CodecContext context):
    cdef Reader r
    _start(&r, context, size)
    _begin(&r, data, size)
    try:
        return _read_items(&r, data + 4, data + size - 1)
    finally:
        _resume(&r)


cdef list read_documents(const uint8_t *data, size_t size, CodecContext context):
    cdef Reader r
    _start(&r, context, size)
    _begin(&r, data, size)
    try:
        return _read_documents(&r, data + 4, data + size - 1)
    finally:
        _resume(&r)


cdef dict read_fields(
    const uint8_t *data, size_t size, CodecContext context, bytes owner=None
):
    cdef Reader r
    _start(&r, context, size, owner)
    _begin(&r, data, size)
    try:
        return _read_elements(&r, data + 4, data + size - 1, False)
    finally:
        _resume(&r)

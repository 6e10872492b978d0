# cython: boundscheck=False, wraparound=False, binding=True
"""The functions of `mongokey.bson` that encode and decode.

It owns the buffer that encoding reuses and turns any bytes-like object into memory that stays as
it is while code of others (document classes, type decoders) runs; the work is done by `encoder`
and `decoder`, which other extension modules reach through this module's .pxd.
"""
from mongokey.bson.codec_options import DEFAULT_CODEC_OPTIONS
from mongokey.bson.errors import InvalidBSON

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from mongokey._support.cdefs cimport (
    mk_buffer,
    mk_buffer_free,
    mk_buffer_init,
    mk_buffer_shrink,
)
from mongokey.bson.context cimport CodecContext, context_of
from mongokey.bson.decoder cimport document_size, read_document, read_fields, read_sequence
from mongokey.bson.encoder cimport write_document

cdef enum:
    TRIMMED_SIZE = 1 << 20                  # bytes that the reused buffer may hold on to

cdef mk_buffer _scratch
cdef bint _scratch_taken = False
mk_buffer_init(&_scratch)


def encode(document, bint check_keys=False, codec_options=DEFAULT_CODEC_OPTIONS):
    """Encode `document`, a mapping with string keys, to BSON.

    `check_keys` refuses keys that start with "$" or contain "."; `codec_options` is a
    CodecOptions. Raises `TypeError` when it is not a mapping, `InvalidDocument` (naming the
    field) when a key or value cannot be encoded, and `OverflowError` for an int of more than
    64 bits.
    """
    global _scratch_taken
    cdef CodecContext context = context_of(codec_options)
    cdef mk_buffer own
    cdef mk_buffer *out = &_scratch
    # Code run by encoding may encode too, and other threads may while it runs.
    cdef bint shared = not _scratch_taken
    if shared:
        _scratch_taken = True
    else:
        mk_buffer_init(&own)
        out = &own
    try:
        write_document(out, document, context, check_keys, True)
        return PyBytes_FromStringAndSize(<const char *>out.data, out.size)
    finally:
        if shared:
            _scratch.size = 0
            mk_buffer_shrink(&_scratch, TRIMMED_SIZE)
            _scratch_taken = False
        else:
            mk_buffer_free(&own)


cdef class _View:
    # A bytes-like object's memory, held so that it is neither let go nor resized. Its content
    # may change whenever Python code runs.
    cdef Py_buffer buffer
    cdef bint held

    def __cinit__(self, data):
        PyObject_GetBuffer(data, &self.buffer, PyBUF_SIMPLE)
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)

    # The document at `position`, copied: nothing that runs while it is decoded can change it.
    cdef bytes document(self, Py_ssize_t position):
        cdef const uint8_t *data = <const uint8_t *>self.buffer.buf
        cdef Py_ssize_t length = document_size(data, position, self.buffer.len)
        return PyBytes_FromStringAndSize(<const char *>data + position, length)


# `data` itself if it is bytes, otherwise a copy of its memory.
cdef bytes _constant(object data):
    cdef _View view
    if type(data) is bytes:
        return data
    view = _View(data)
    return PyBytes_FromStringAndSize(<const char *>view.buffer.buf, view.buffer.len)


def decode(data, codec_options=None):
    """Decode one BSON document, of a bytes-like object, to a dict.

    `codec_options`, a CodecOptions, may choose another class and how values are decoded.
    Raises `InvalidBSON`, with the byte offset and the field, when `data` is not one document.
    """
    cdef CodecContext context = context_of(codec_options)
    cdef bytes held = _constant(data)
    return read_document(
        <const uint8_t *>PyBytes_AS_STRING(held), PyBytes_GET_SIZE(held), context, held
    )


def decode_all(data, codec_options=None):
    """Decode the BSON documents that stand one after another in `data` to a list.

    As `decode` otherwise.
    """
    cdef CodecContext context = context_of(codec_options)
    cdef list documents
    cdef bytes document
    cdef _View view
    cdef Py_ssize_t position = 0
    if type(data) is bytes:
        return read_sequence(
            <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), context, data
        )
    # One at a time: a mapped file need not fit into memory twice.
    view = _View(data)
    documents = []
    while position < view.buffer.len:
        document = view.document(position)
        documents.append(
            read_document(
                <const uint8_t *>PyBytes_AS_STRING(document),
                PyBytes_GET_SIZE(document),
                context,
                document,
            )
        )
        position += PyBytes_GET_SIZE(document)
    return documents


def decode_iter(data, codec_options=None):
    """Decode the BSON documents that stand one after another in `data`, one at a time."""
    # Options are checked by the call, not by the first step.
    return _decode_iter(data, context_of(codec_options))


def _decode_iter(data, CodecContext context):
    cdef _View view = _View(data)
    cdef bytes document
    cdef Py_ssize_t position = 0
    while position < view.buffer.len:
        document = view.document(position)
        position += PyBytes_GET_SIZE(document)
        yield read_document(
            <const uint8_t *>PyBytes_AS_STRING(document),
            PyBytes_GET_SIZE(document),
            context,
            document,
        )


def check_size(data):
    """Raise `InvalidBSON` unless the length and the terminator of the document are right."""
    cdef _View view = _View(data)
    cdef const uint8_t *p = <const uint8_t *>view.buffer.buf
    cdef Py_ssize_t size = view.buffer.len
    cdef Py_ssize_t length = document_size(p, 0, size)
    if length != size:
        raise InvalidBSON(f"invalid object length: it says {length} bytes, there are {size}", 0)
    if p[size - 1]:
        raise InvalidBSON(f"bad eoo, at byte {size - 1}", size - 1)


def inflate(data, codec_options):
    """The fields of a raw document as a dict, embedded documents still raw."""
    cdef CodecContext context = context_of(codec_options)
    cdef bytes held
    cdef _View view
    if type(data) is memoryview and type(data.obj) is bytes:
        # A view of what nobody changes: its parts are views of the same.
        view = _View(data)
        held = data.obj
        return read_fields(<const uint8_t *>view.buffer.buf, view.buffer.len, context, held)
    held = _constant(data)
    return read_fields(
        <const uint8_t *>PyBytes_AS_STRING(held), PyBytes_GET_SIZE(held), context, held
    )

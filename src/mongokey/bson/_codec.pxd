# The codec's front door for other extension modules.
from libc.stdint cimport uint8_t

from mongokey._cdefs cimport mk_buffer


cdef class CodecContext:
    # CodecOptions, compiled once into typed fields; immutable afterwards.
    cdef readonly object options            # the CodecOptions it was made from


# The context of `options` (None: the default options); cached, cheap to call again.
cdef CodecContext context_of(object options)

# Appends `document` (dict, any Mapping, RawBSONDocument) to `out` as one BSON document.
# `top_level`: write `_id` first if present, as PyMongo does. Raises InvalidDocument and kin;
# `out` keeps its former size when it raises.
cdef int write_document(
    mk_buffer *out, object document, CodecContext context, bint check_keys, bint top_level
) except -1

# Appends one element (type, key, value) to a document under construction in `out`.
cdef int write_element(mk_buffer *out, object key, object value, CodecContext context) except -1

# Decodes the document that fills data[0:size] exactly. Raises InvalidBSON.
cdef object read_document(const uint8_t *data, size_t size, CodecContext context)

# Encoding of Python values into an mk_buffer.
from mongokey._support.cdefs cimport mk_buffer
from mongokey.bson.context cimport CodecContext


# Appends `document` (dict, any Mapping, RawBSONDocument) to `out` as one BSON document.
# `top_level`: write `_id` first if present, as PyMongo does. Raises InvalidDocument and kin;
# `out` keeps its former size when it raises.
cdef int write_document(
    mk_buffer *out, object document, CodecContext context, bint check_keys, bint top_level
) except -1

# Appends one element (type, key, value) to a document under construction in `out`.
cdef int write_element(mk_buffer *out, object key, object value, CodecContext context) except -1

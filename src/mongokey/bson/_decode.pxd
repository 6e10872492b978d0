# Decoding of BSON bytes into Python values.
from libc.stdint cimport uint8_t

from mongokey.bson._context cimport CodecContext


# Decodes the document that fills data[0:size] exactly. Raises InvalidBSON.
cdef object read_document(const uint8_t *data, size_t size, CodecContext context)

# Decodes the array that fills data[0:size] exactly, as a list.
cdef list read_array(const uint8_t *data, size_t size, CodecContext context)

# Decodes an array of documents, a cursor's batch, each as `read_document` reads it: one with
# `$ref` and `$id` stays a document, and no type decoder sees it. None if anything else is there.
cdef list read_documents(const uint8_t *data, size_t size, CodecContext context)

# The top level of a document as a dict, embedded documents as `context`'s document class.
cdef dict read_fields(const uint8_t *data, size_t size, CodecContext context)

# Keeps Python's garbage collector from running while `size` bytes are decoded, where that is
# safe and worth it; what it returns is for resume_collector.
cdef bint pause_collector(size_t size, CodecContext context) noexcept
cdef int resume_collector(bint paused) except -1

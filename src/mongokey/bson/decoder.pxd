# Decoding of BSON bytes into Python values. Document classes and type decoders run meanwhile, so
# `data` has to be memory that nobody else changes or gives back before the call returns.
from libc.stdint cimport uint8_t

from mongokey.bson.context cimport CodecContext


# Decodes the document that fills data[0:size] exactly. Raises InvalidBSON. `owner` is the bytes
# object that `data` lies in, where there is one: large raw documents are then views of it.
cdef object read_document(
    const uint8_t *data, size_t size, CodecContext context, bytes owner=*
)

# Decodes the array that fills data[0:size] exactly, as a list.
cdef list read_array(const uint8_t *data, size_t size, CodecContext context)

# Decodes an array of documents, a cursor's batch, each as `read_document` reads it: one with
# `$ref` and `$id` stays a document, and no type decoder sees it. None if anything else is there.
cdef list read_documents(const uint8_t *data, size_t size, CodecContext context)

# The top level of a document as a dict, embedded documents as `context`'s document class.
cdef dict read_fields(
    const uint8_t *data, size_t size, CodecContext context, bytes owner=*
)

# Decodes the documents that stand one after another in data[0:size].
cdef list read_sequence(
    const uint8_t *data, size_t size, CodecContext context, bytes owner=*
)

# The size of the document at data[position:size]; raises InvalidBSON if it is not whole.
cdef Py_ssize_t document_size(
    const uint8_t *data, Py_ssize_t position, Py_ssize_t size
) except -1

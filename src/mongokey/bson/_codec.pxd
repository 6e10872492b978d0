# The codec's front door for other extension modules.
from libc.stdint cimport uint8_t

from mongokey._cdefs cimport mk_buffer
from mongokey.bson._context cimport CodecContext, context_of
from mongokey.bson._decode cimport read_array, read_document, read_documents
from mongokey.bson._encode cimport write_document, write_element

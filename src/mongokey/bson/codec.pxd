# What other extension modules reach of the codec.
from libc.stdint cimport uint8_t

from mongokey._support.cdefs cimport mk_buffer
from mongokey.bson.context cimport CodecContext, context_of
from mongokey.bson.decoder cimport read_array, read_document, read_documents
from mongokey.bson.encoder cimport write_document, write_element

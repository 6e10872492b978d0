# include/mongokey/bson.h as Cython sees it: BSON without Python objects. No logic here.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from mongokey._support.cdefs cimport mk_buffer


cdef extern from "mongokey/bson.h" nogil:
    int MK_BSON_BAD_KEY, MK_BSON_INVALID, MK_BSON_NOT_FOUND
    size_t MK_BSON_MIN_SIZE
    int MK_BSON_MAX_DEPTH

    cdef enum:
        MK_BSON_DOUBLE, MK_BSON_STRING, MK_BSON_DOCUMENT, MK_BSON_ARRAY, MK_BSON_BINARY
        MK_BSON_UNDEFINED, MK_BSON_OBJECTID, MK_BSON_BOOL, MK_BSON_DATETIME, MK_BSON_NULL
        MK_BSON_REGEX, MK_BSON_DBPOINTER, MK_BSON_CODE, MK_BSON_SYMBOL, MK_BSON_CODE_W_SCOPE
        MK_BSON_INT32, MK_BSON_TIMESTAMP, MK_BSON_INT64, MK_BSON_DECIMAL128
        MK_BSON_MAXKEY, MK_BSON_MINKEY

    # Writers: MK_OK or a negative code.
    int mk_bson_begin(mk_buffer *b, size_t *start)
    int mk_bson_end(mk_buffer *b, size_t start)
    int mk_bson_element(mk_buffer *b, uint8_t type, const char *key, size_t key_len,
                        const void *value, size_t value_size)
    int mk_bson_document_begin(mk_buffer *b, const char *key, size_t key_len, size_t *start)
    int mk_bson_array_begin(mk_buffer *b, const char *key, size_t key_len, size_t *start)
    int mk_bson_int32(mk_buffer *b, const char *key, size_t key_len, int32_t value)
    int mk_bson_int64(mk_buffer *b, const char *key, size_t key_len, int64_t value)
    int mk_bson_double(mk_buffer *b, const char *key, size_t key_len, double value)
    int mk_bson_bool(mk_buffer *b, const char *key, size_t key_len, int value)
    int mk_bson_null(mk_buffer *b, const char *key, size_t key_len)
    int mk_bson_utf8(mk_buffer *b, const char *key, size_t key_len, const char *text,
                     size_t text_len)
    int mk_bson_binary(mk_buffer *b, const char *key, size_t key_len, uint8_t subtype,
                       const void *bytes, size_t size)
    int mk_bson_timestamp(mk_buffer *b, const char *key, size_t key_len, uint32_t seconds,
                          uint32_t increment)

    # Reader.
    ctypedef struct mk_bson_iter:
        const char *key
        size_t key_len
        const uint8_t *value
        size_t value_size
        uint8_t type

    size_t mk_bson_document_size(const uint8_t *data, size_t available)
    size_t mk_bson_string_size(const uint8_t *p, size_t available)
    int64_t mk_bson_value_size(uint8_t type, const uint8_t *p, size_t available)
    int mk_bson_iter_init(mk_bson_iter *it, const uint8_t *data, size_t size)
    int mk_bson_iter_next(mk_bson_iter *it)
    bint mk_bson_iter_is(const mk_bson_iter *it, const char *key, size_t key_len)
    int mk_bson_find(const uint8_t *data, size_t size, const char *key, size_t key_len,
                     mk_bson_iter *it)
    bint mk_bson_as_double(const mk_bson_iter *it, double *value)
    bint mk_bson_as_int64(const mk_bson_iter *it, int64_t *value)
    bint mk_bson_as_bool(const mk_bson_iter *it, int *value)
    bint mk_bson_as_utf8(const mk_bson_iter *it, const char **text, size_t *size)
    bint mk_bson_as_document(const mk_bson_iter *it, const uint8_t **data, size_t *size)
    bint mk_bson_as_timestamp(const mk_bson_iter *it, uint32_t *seconds, uint32_t *increment)
    bint mk_bson_as_binary(const mk_bson_iter *it, uint8_t *subtype, const uint8_t **bytes,
                           size_t *size)

/* BSON (bsonspec.org, version 1.1) without Python: type tags, writers and a reader.
 *
 * The writers append to an mk_buffer, so that a command's own fields cost no Python objects;
 * the reader walks a document in place, checks every length before it uses it, and allocates
 * nothing. Keys are given with their length and need not end in NUL. Nothing here knows what
 * the fields mean.
 */
#ifndef MONGOKEY_BSON_H
#define MONGOKEY_BSON_H

#include "mongokey/buffer.h"
#include "mongokey/endian.h"

/* What the functions below return besides the codes of buffer.h. */
#define MK_BSON_BAD_KEY (-3)  /* a key has a NUL byte in it */
#define MK_BSON_INVALID (-4)  /* the bytes are not BSON */
#define MK_BSON_NOT_FOUND (-5)

/* An empty document: its length and its terminator. */
#define MK_BSON_MIN_SIZE ((size_t)5)
/* How deep documents may nest in the codec, both ways; the server stops at 200 as well. */
#define MK_BSON_MAX_DEPTH 200

enum {
    MK_BSON_DOUBLE = 0x01,
    MK_BSON_STRING = 0x02,
    MK_BSON_DOCUMENT = 0x03,
    MK_BSON_ARRAY = 0x04,
    MK_BSON_BINARY = 0x05,
    MK_BSON_UNDEFINED = 0x06,
    MK_BSON_OBJECTID = 0x07,
    MK_BSON_BOOL = 0x08,
    MK_BSON_DATETIME = 0x09,
    MK_BSON_NULL = 0x0a,
    MK_BSON_REGEX = 0x0b,
    MK_BSON_DBPOINTER = 0x0c,
    MK_BSON_CODE = 0x0d,
    MK_BSON_SYMBOL = 0x0e,
    MK_BSON_CODE_W_SCOPE = 0x0f,
    MK_BSON_INT32 = 0x10,
    MK_BSON_TIMESTAMP = 0x11,
    MK_BSON_INT64 = 0x12,
    MK_BSON_DECIMAL128 = 0x13,
    MK_BSON_MAXKEY = 0x7f,
    MK_BSON_MINKEY = 0xff
};

/* ---- Writers: each returns MK_OK or a negative code with the buffer's size unchanged. ---- */

/* Starts a document; *start is what mk_bson_end wants back. */
static inline int mk_bson_begin(mk_buffer *b, size_t *start) {
    int rc = mk_buffer_reserve(b, 4);
    if (rc != MK_OK) return rc;
    *start = b->size;
    memset(b->data + b->size, 0, 4);
    b->size += 4;
    return MK_OK;
}

/* Ends the document (or array) begun at `start`: writes its terminator and its length. */
static inline int mk_bson_end(mk_buffer *b, size_t start) {
    int rc = mk_buffer_byte(b, 0);
    if (rc != MK_OK) return rc;
    mk_store_u32(b->data + start, (uint32_t)(b->size - start));
    return MK_OK;
}

/* Writes type and key and makes room for `value_size` bytes, which the caller fills in at *at. */
static inline int mk_bson_element_begin(mk_buffer *b, uint8_t type, const char *key,
                                        size_t key_len, size_t value_size, uint8_t **at) {
    uint8_t *p;
    int rc;
    if (key_len && memchr(key, 0, key_len) != NULL) return MK_BSON_BAD_KEY;
    if (key_len > MK_BUFFER_MAX - 2 || value_size > MK_BUFFER_MAX - 2 - key_len) return MK_TOO_LARGE;
    rc = mk_buffer_reserve(b, key_len + 2 + value_size);
    if (rc != MK_OK) return rc;
    p = b->data + b->size;
    *p++ = type;
    if (key_len) memcpy(p, key, key_len);
    p += key_len;
    *p++ = 0;
    *at = p;
    b->size += key_len + 2 + value_size;
    return MK_OK;
}

/* An element whose value is BSON already, such as one copied from another document. */
static inline int mk_bson_element(mk_buffer *b, uint8_t type, const char *key, size_t key_len,
                                  const void *value, size_t value_size) {
    uint8_t *p;
    int rc = mk_bson_element_begin(b, type, key, key_len, value_size, &p);
    if (rc == MK_OK && value_size) memcpy(p, value, value_size);
    return rc;
}

/* Starts an embedded document or array; ended by mk_bson_end. */
static inline int mk_bson_container_begin(mk_buffer *b, uint8_t type, const char *key,
                                          size_t key_len, size_t *start) {
    uint8_t *p;
    int rc = mk_bson_element_begin(b, type, key, key_len, 4, &p);
    if (rc != MK_OK) return rc;
    memset(p, 0, 4);
    *start = b->size - 4;
    return MK_OK;
}

static inline int mk_bson_document_begin(mk_buffer *b, const char *key, size_t key_len,
                                         size_t *start) {
    return mk_bson_container_begin(b, MK_BSON_DOCUMENT, key, key_len, start);
}

static inline int mk_bson_array_begin(mk_buffer *b, const char *key, size_t key_len,
                                      size_t *start) {
    return mk_bson_container_begin(b, MK_BSON_ARRAY, key, key_len, start);
}

static inline int mk_bson_int32(mk_buffer *b, const char *key, size_t key_len, int32_t value) {
    uint8_t *p;
    int rc = mk_bson_element_begin(b, MK_BSON_INT32, key, key_len, 4, &p);
    if (rc == MK_OK) mk_store_i32(p, value);
    return rc;
}

static inline int mk_bson_int64(mk_buffer *b, const char *key, size_t key_len, int64_t value) {
    uint8_t *p;
    int rc = mk_bson_element_begin(b, MK_BSON_INT64, key, key_len, 8, &p);
    if (rc == MK_OK) mk_store_i64(p, value);
    return rc;
}

static inline int mk_bson_double(mk_buffer *b, const char *key, size_t key_len, double value) {
    uint8_t *p;
    int rc = mk_bson_element_begin(b, MK_BSON_DOUBLE, key, key_len, 8, &p);
    if (rc == MK_OK) mk_store_f64(p, value);
    return rc;
}

static inline int mk_bson_bool(mk_buffer *b, const char *key, size_t key_len, int value) {
    uint8_t *p;
    int rc = mk_bson_element_begin(b, MK_BSON_BOOL, key, key_len, 1, &p);
    if (rc == MK_OK) *p = value ? 1 : 0;
    return rc;
}

static inline int mk_bson_null(mk_buffer *b, const char *key, size_t key_len) {
    uint8_t *p;
    return mk_bson_element_begin(b, MK_BSON_NULL, key, key_len, 0, &p);
}

/* A string; the caller vouches that `text` is UTF-8. */
static inline int mk_bson_utf8(mk_buffer *b, const char *key, size_t key_len, const char *text,
                               size_t text_len) {
    uint8_t *p;
    int rc;
    if (text_len > MK_BUFFER_MAX - 5) return MK_TOO_LARGE;
    rc = mk_bson_element_begin(b, MK_BSON_STRING, key, key_len, text_len + 5, &p);
    if (rc != MK_OK) return rc;
    mk_store_u32(p, (uint32_t)text_len + 1);
    if (text_len) memcpy(p + 4, text, text_len);
    p[4 + text_len] = 0;
    return MK_OK;
}

/* Binary data. Subtype 2 (deprecated) repeats its length inside, as the specification asks. */
static inline int mk_bson_binary(mk_buffer *b, const char *key, size_t key_len, uint8_t subtype,
                                 const void *bytes, size_t size) {
    size_t inner = subtype == 2 ? 4 : 0;
    uint8_t *p;
    int rc;
    if (size > MK_BUFFER_MAX - 9) return MK_TOO_LARGE;
    rc = mk_bson_element_begin(b, MK_BSON_BINARY, key, key_len, size + 5 + inner, &p);
    if (rc != MK_OK) return rc;
    mk_store_u32(p, (uint32_t)(size + inner));
    p[4] = subtype;
    if (inner) mk_store_u32(p + 5, (uint32_t)size);
    if (size) memcpy(p + 5 + inner, bytes, size);
    return MK_OK;
}

/* A timestamp: seconds since the epoch, and the ordinal within that second. */
static inline int mk_bson_timestamp(mk_buffer *b, const char *key, size_t key_len,
                                    uint32_t seconds, uint32_t increment) {
    uint8_t *p;
    int rc = mk_bson_element_begin(b, MK_BSON_TIMESTAMP, key, key_len, 8, &p);
    if (rc != MK_OK) return rc;
    mk_store_u32(p, increment);
    mk_store_u32(p + 4, seconds);
    return MK_OK;
}

/* ---- Reader ---- */

/* The size of the document at `data`, if it is whole within `available` bytes and ends in NUL;
 * otherwise 0. */
static inline size_t mk_bson_document_size(const uint8_t *data, size_t available) {
    int32_t size;
    if (available < MK_BSON_MIN_SIZE) return 0;
    size = mk_load_i32(data);
    if (size < (int32_t)MK_BSON_MIN_SIZE || (size_t)size > available) return 0;
    return data[size - 1] == 0 ? (size_t)size : 0;
}

/* The size of the BSON string (length, bytes, NUL) at `p`, or 0. */
static inline size_t mk_bson_string_size(const uint8_t *p, size_t available) {
    int32_t length;
    if (available < 5) return 0;
    length = mk_load_i32(p);
    if (length < 1 || (size_t)length > available - 4) return 0;
    return p[4 + (size_t)length - 1] == 0 ? (size_t)length + 4 : 0;
}

/* The size of a value of `type` at `p` within `available` bytes, or MK_BSON_INVALID. Contents
 * of documents are not looked into. */
static int64_t mk_bson_value_size(uint8_t type, const uint8_t *p, size_t available) {
    size_t size = 0, more;
    const uint8_t *nul;
    int32_t length;
    switch (type) {
    case MK_BSON_NULL:
    case MK_BSON_UNDEFINED:
    case MK_BSON_MINKEY:
    case MK_BSON_MAXKEY: return 0;
    case MK_BSON_BOOL: return available >= 1 && p[0] <= 1 ? 1 : MK_BSON_INVALID;
    case MK_BSON_INT32: return available >= 4 ? 4 : MK_BSON_INVALID;
    case MK_BSON_DOUBLE:
    case MK_BSON_DATETIME:
    case MK_BSON_TIMESTAMP:
    case MK_BSON_INT64: return available >= 8 ? 8 : MK_BSON_INVALID;
    case MK_BSON_OBJECTID: return available >= 12 ? 12 : MK_BSON_INVALID;
    case MK_BSON_DECIMAL128: return available >= 16 ? 16 : MK_BSON_INVALID;
    case MK_BSON_DOCUMENT:
    case MK_BSON_ARRAY:
        size = mk_bson_document_size(p, available);
        return size ? (int64_t)size : MK_BSON_INVALID;
    case MK_BSON_STRING:
    case MK_BSON_CODE:
    case MK_BSON_SYMBOL:
        size = mk_bson_string_size(p, available);
        return size ? (int64_t)size : MK_BSON_INVALID;
    case MK_BSON_BINARY:
        if (available < 5) return MK_BSON_INVALID;
        length = mk_load_i32(p);
        if (length < 0 || (size_t)length > available - 5) return MK_BSON_INVALID;
        if (p[4] == 2 && (length < 4 || mk_load_i32(p + 5) != length - 4)) return MK_BSON_INVALID;
        return (int64_t)length + 5;
    case MK_BSON_DBPOINTER:
        size = mk_bson_string_size(p, available);
        return size && available - size >= 12 ? (int64_t)size + 12 : MK_BSON_INVALID;
    case MK_BSON_REGEX:
        nul = (const uint8_t *)memchr(p, 0, available);
        if (nul == NULL) return MK_BSON_INVALID;
        size = (size_t)(nul - p) + 1;
        nul = (const uint8_t *)memchr(p + size, 0, available - size);
        return nul ? (int64_t)(nul - p) + 1 : MK_BSON_INVALID;
    case MK_BSON_CODE_W_SCOPE:
        if (available < 4) return MK_BSON_INVALID;
        length = mk_load_i32(p);
        if (length < 14 || (size_t)length > available) return MK_BSON_INVALID;
        size = mk_bson_string_size(p + 4, (size_t)length - 4);
        if (size == 0) return MK_BSON_INVALID;
        more = mk_bson_document_size(p + 4 + size, (size_t)length - 4 - size);
        return more && 4 + size + more == (size_t)length ? (int64_t)length : MK_BSON_INVALID;
    default: return MK_BSON_INVALID;
    }
}

typedef struct {
    const uint8_t *at;    /* the next element, or where the error is */
    const uint8_t *end;   /* the document's terminator */
    const char *key;      /* of the current element; ends in NUL, not checked for UTF-8 */
    size_t key_len;
    const uint8_t *value; /* its value, checked to be whole */
    size_t value_size;
    uint8_t type;
} mk_bson_iter;

/* Begins at the document that fills data[0:size] exactly. */
static inline int mk_bson_iter_init(mk_bson_iter *it, const uint8_t *data, size_t size) {
    memset(it, 0, sizeof *it);
    if (data == NULL || size == 0 || mk_bson_document_size(data, size) != size)
        return MK_BSON_INVALID;
    it->at = data + 4;
    it->end = data + size - 1;
    return MK_OK;
}

/* Moves to the next element: 1, or 0 at the end, or MK_BSON_INVALID. */
static inline int mk_bson_iter_next(mk_bson_iter *it) {
    const uint8_t *nul;
    int64_t size;
    if (it->at >= it->end) return 0;
    it->type = it->at[0];
    nul = (const uint8_t *)memchr(it->at + 1, 0, (size_t)(it->end - it->at - 1));
    if (nul == NULL) return MK_BSON_INVALID;
    it->key = (const char *)it->at + 1;
    it->key_len = (size_t)(nul - it->at) - 1;
    it->value = nul + 1;
    size = mk_bson_value_size(it->type, it->value, (size_t)(it->end - it->value));
    if (size < 0) return MK_BSON_INVALID;
    it->value_size = (size_t)size;
    it->at = it->value + size;
    return 1;
}

static inline int mk_bson_iter_is(const mk_bson_iter *it, const char *key, size_t key_len) {
    return it->key_len == key_len && memcmp(it->key, key, key_len) == 0;
}

/* Looks for `key` at the top level of the document data[0:size]; the first one wins. Returns
 * MK_OK with `it` on it, MK_BSON_NOT_FOUND, or MK_BSON_INVALID if the bytes before it are bad. */
static inline int mk_bson_find(const uint8_t *data, size_t size, const char *key, size_t key_len,
                               mk_bson_iter *it) {
    int rc = mk_bson_iter_init(it, data, size);
    if (rc != MK_OK) return rc;
    while ((rc = mk_bson_iter_next(it)) == 1)
        if (mk_bson_iter_is(it, key, key_len)) return MK_OK;
    return rc == 0 ? MK_BSON_NOT_FOUND : rc;
}

/* Typed looks at the current element: 1 and the value, or 0 when it is of another type. */

/* Any number, or bool, as a double: what `ok` may be. */
static inline int mk_bson_as_double(const mk_bson_iter *it, double *value) {
    switch (it->type) {
    case MK_BSON_DOUBLE: *value = mk_load_f64(it->value); return 1;
    case MK_BSON_INT32: *value = (double)mk_load_i32(it->value); return 1;
    case MK_BSON_INT64: *value = (double)mk_load_i64(it->value); return 1;
    case MK_BSON_BOOL: *value = it->value[0] ? 1.0 : 0.0; return 1;
    default: return 0;
    }
}

/* Any number that is whole and fits, or bool, as an int64: counts and cursor ids. */
static inline int mk_bson_as_int64(const mk_bson_iter *it, int64_t *value) {
    double d;
    switch (it->type) {
    case MK_BSON_INT32: *value = mk_load_i32(it->value); return 1;
    case MK_BSON_INT64: *value = mk_load_i64(it->value); return 1;
    case MK_BSON_BOOL: *value = it->value[0] ? 1 : 0; return 1;
    case MK_BSON_DOUBLE:
        d = mk_load_f64(it->value);
        /* 2^63 is a double, 2^63 - 1 is not; NaN fails both comparisons. */
        if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0)) return 0;
        *value = (int64_t)d;
        return (double)*value == d;
    default: return 0;
    }
}

/* Truth as the server has it: a bool, or a number other than zero. */
static inline int mk_bson_as_bool(const mk_bson_iter *it, int *value) {
    double d;
    if (!mk_bson_as_double(it, &d)) return 0;
    *value = d != 0.0;
    return 1;
}

/* A string's bytes (UTF-8 not checked), without its terminator. */
static inline int mk_bson_as_utf8(const mk_bson_iter *it, const char **text, size_t *size) {
    if (it->type != MK_BSON_STRING) return 0;
    *text = (const char *)it->value + 4;
    *size = it->value_size - 5;
    return 1;
}

/* An embedded document or array, whole. */
static inline int mk_bson_as_document(const mk_bson_iter *it, const uint8_t **data, size_t *size) {
    if (it->type != MK_BSON_DOCUMENT && it->type != MK_BSON_ARRAY) return 0;
    *data = it->value;
    *size = it->value_size;
    return 1;
}

static inline int mk_bson_as_timestamp(const mk_bson_iter *it, uint32_t *seconds,
                                       uint32_t *increment) {
    if (it->type != MK_BSON_TIMESTAMP) return 0;
    *increment = mk_load_u32(it->value);
    *seconds = mk_load_u32(it->value + 4);
    return 1;
}

/* Binary data's bytes and subtype (subtype 2 without its inner length). */
static inline int mk_bson_as_binary(const mk_bson_iter *it, uint8_t *subtype,
                                    const uint8_t **bytes, size_t *size) {
    size_t header = 5;
    if (it->type != MK_BSON_BINARY) return 0;
    *subtype = it->value[4];
    if (*subtype == 2) header = 9;
    *bytes = it->value + header;
    *size = it->value_size - header;
    return 1;
}

#endif

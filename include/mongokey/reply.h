/* What the driver looks at in every command reply, found in one pass without Python objects.
 *
 * The document may be anything a server can send: the iterator of bson.h checks every length.
 */
#ifndef MONGOKEY_REPLY_H
#define MONGOKEY_REPLY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mongokey/bson.h"

typedef struct {
    int ok;                         /* `ok` is there and is not zero */
    int has_write_errors;           /* `writeErrors` or `writeConcernError` is there */
    int has_error_labels;
    int64_t n;                      /* `n`, 0 if missing */
    const uint8_t *cursor;          /* the `cursor` document, or NULL */
    size_t cursor_size;
    const uint8_t *cluster_time;    /* the `$clusterTime` document if it is well formed, or NULL */
    size_t cluster_time_size;
    uint64_t cluster_timestamp;     /* its `clusterTime`; 0 if missing */
} mk_command_reply;

typedef struct {
    int64_t id;
    const uint8_t *ns;              /* UTF-8, not terminated by its size; NULL if missing */
    size_t ns_size;
    const uint8_t *batch;           /* `firstBatch` or `nextBatch`: the array document, or NULL */
    size_t batch_size;
} mk_cursor_reply;

#define MK_KEY_IS(it, literal) \
    ((it).key_len == sizeof(literal) - 1 && memcmp((it).key, literal, sizeof(literal) - 1) == 0)

/* A `$clusterTime` has about 80 bytes; one that is larger is ignored, whatever is in it. */
#define MK_CLUSTER_TIME_MAX ((size_t)1024)

/* Whether the signature {hash: binary, keyId: int64} is what it should be; other fields may be
 * there. */
static inline int mk_is_signature(const mk_bson_iter *signature, mk_bson_iter *hash,
                                  mk_bson_iter *key_id) {
    return signature->type == MK_BSON_DOCUMENT &&
           mk_bson_find(signature->value, signature->value_size, "hash", 4, hash) == MK_OK &&
           hash->type == MK_BSON_BINARY &&
           mk_bson_find(signature->value, signature->value_size, "keyId", 5, key_id) == MK_OK &&
           key_id->type == MK_BSON_INT64;
}

/* driver-sessions, "Receiving the current cluster time": a timestamp, and a signature where logins
 * are required. What is not formatted so is ignored: no command depends on it. */
static inline void mk_read_cluster_time(const uint8_t *doc, size_t size, mk_command_reply *out) {
    mk_bson_iter time, signature, hash, key_id;
    int rc;
    if (size > MK_CLUSTER_TIME_MAX) return;
    if (mk_bson_find(doc, size, "clusterTime", 11, &time) != MK_OK ||
        time.type != MK_BSON_TIMESTAMP)
        return;
    rc = mk_bson_find(doc, size, "signature", 9, &signature);
    if (rc != MK_BSON_NOT_FOUND && (rc != MK_OK || !mk_is_signature(&signature, &hash, &key_id)))
        return;
    out->cluster_time = doc;
    out->cluster_time_size = size;
    out->cluster_timestamp = mk_load_u64(time.value);
}

/* Appends the known fields of a `$clusterTime` that mk_read_cluster_time accepted, as a document. */
static inline int mk_write_cluster_time(mk_buffer *out, const uint8_t *doc, size_t size) {
    mk_bson_iter time, signature, hash, key_id;
    size_t start, inner;
    int rc = mk_bson_find(doc, size, "clusterTime", 11, &time);
    if (rc != MK_OK || (rc = mk_bson_begin(out, &start)) != MK_OK) return rc;
    rc = mk_bson_element(out, time.type, "clusterTime", 11, time.value, time.value_size);
    if (rc != MK_OK) return rc;
    if (mk_bson_find(doc, size, "signature", 9, &signature) == MK_OK &&
        mk_is_signature(&signature, &hash, &key_id)) {
        if ((rc = mk_bson_document_begin(out, "signature", 9, &inner)) != MK_OK ||
            (rc = mk_bson_element(out, hash.type, "hash", 4, hash.value, hash.value_size)) !=
                MK_OK ||
            (rc = mk_bson_element(out, key_id.type, "keyId", 5, key_id.value,
                                  key_id.value_size)) != MK_OK ||
            (rc = mk_bson_end(out, inner)) != MK_OK)
            return rc;
    }
    return mk_bson_end(out, start);
}

/* Returns MK_OK or an error of bson.h's iterator. */
static inline int mk_read_command_reply(const uint8_t *doc, size_t size, mk_command_reply *out) {
    mk_bson_iter it;
    int rc;
    memset(out, 0, sizeof *out);
    rc = mk_bson_iter_init(&it, doc, size);
    if (rc != MK_OK) return rc;
    while ((rc = mk_bson_iter_next(&it)) == 1) {
        switch (it.key[0]) {
        case 'o':
            if (MK_KEY_IS(it, "ok") && !mk_bson_as_bool(&it, &out->ok)) out->ok = 0;
            break;
        case 'n':
            if (MK_KEY_IS(it, "n") && !mk_bson_as_int64(&it, &out->n)) out->n = 0;
            break;
        case 'w':
            if (MK_KEY_IS(it, "writeErrors") || MK_KEY_IS(it, "writeConcernError"))
                out->has_write_errors = 1;
            break;
        case 'e':
            if (MK_KEY_IS(it, "errorLabels")) out->has_error_labels = 1;
            break;
        case 'c':
            if (MK_KEY_IS(it, "cursor") && it.type == MK_BSON_DOCUMENT) {
                out->cursor = it.value;
                out->cursor_size = it.value_size;
            }
            break;
        case '$':
            if (MK_KEY_IS(it, "$clusterTime") && it.type == MK_BSON_DOCUMENT)
                mk_read_cluster_time(it.value, it.value_size, out);
            break;
        default:
            break;
        }
    }
    return rc;
}

/* Returns MK_OK, an error of bson.h's iterator, or this where `id` is no number: valid BSON, and yet
 * no cursor. */
#define MK_CURSOR_ID_INVALID (-64)

static inline int mk_read_cursor_reply(const uint8_t *doc, size_t size, mk_cursor_reply *out) {
    mk_bson_iter it;
    int rc;
    memset(out, 0, sizeof *out);
    rc = mk_bson_iter_init(&it, doc, size);
    if (rc != MK_OK) return rc;
    while ((rc = mk_bson_iter_next(&it)) == 1) {
        if (MK_KEY_IS(it, "id")) {
            if (!mk_bson_as_int64(&it, &out->id)) return MK_CURSOR_ID_INVALID;
        } else if ((MK_KEY_IS(it, "firstBatch") || MK_KEY_IS(it, "nextBatch")) &&
                   it.type == MK_BSON_ARRAY) {
            out->batch = it.value;
            out->batch_size = it.value_size;
        } else if (MK_KEY_IS(it, "ns") && it.type == MK_BSON_STRING) {
            out->ns = it.value + 4;
            out->ns_size = it.value_size - 5;
        }
    }
    return rc;
}

#endif

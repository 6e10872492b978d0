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
    const uint8_t *cluster_time;    /* the `$clusterTime` document, or NULL */
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
            if (MK_KEY_IS(it, "$clusterTime") && it.type == MK_BSON_DOCUMENT) {
                mk_bson_iter time;
                out->cluster_time = it.value;
                out->cluster_time_size = it.value_size;
                if (mk_bson_find(it.value, it.value_size, "clusterTime", 11, &time) == MK_OK &&
                    time.type == MK_BSON_TIMESTAMP)
                    out->cluster_timestamp = mk_load_u64(time.value);
            }
            break;
        default:
            break;
        }
    }
    return rc;
}

static inline int mk_read_cursor_reply(const uint8_t *doc, size_t size, mk_cursor_reply *out) {
    mk_bson_iter it;
    int rc;
    memset(out, 0, sizeof *out);
    rc = mk_bson_iter_init(&it, doc, size);
    if (rc != MK_OK) return rc;
    while ((rc = mk_bson_iter_next(&it)) == 1) {
        if (MK_KEY_IS(it, "id")) {
            if (!mk_bson_as_int64(&it, &out->id)) return MK_BSON_INVALID;
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

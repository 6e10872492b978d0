/* The server's messages of SCRAM (RFC 5802, section 7), read strictly.
 *
 * Plain C, static inline, free of CPython, so that it can be tested from C. What is found points
 * into the message. A message that says anything the grammar has not is refused as a whole.
 */
#ifndef MONGOKEY_SCRAM_H
#define MONGOKEY_SCRAM_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *at;
    size_t size;
} mk_scram_value;

typedef struct {
    mk_scram_value nonce;
    mk_scram_value salt; /* in base64 */
    uint64_t iterations;
} mk_scram_first;

typedef struct {
    mk_scram_value signature; /* in base64; at is NULL where there is an error instead */
    mk_scram_value error;
} mk_scram_final;

static inline int mk_scram_is_letter(uint8_t c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static inline int mk_scram_is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* `name=` in front; moves behind it. */
static inline int mk_scram_name(const uint8_t **p, const uint8_t *end, uint8_t name) {
    if (end - *p < 2 || (*p)[0] != name || (*p)[1] != '=') return 0;
    *p += 2;
    return 1;
}

static inline int mk_scram_comma(const uint8_t **p, const uint8_t *end) {
    if (*p == end || **p != ',') return 0;
    *p += 1;
    return 1;
}

/* Letters of base64, at least one, and at most two "=" behind them. */
static inline int mk_scram_base64(const uint8_t **p, const uint8_t *end, mk_scram_value *out) {
    const uint8_t *q = *p;
    int padding = 0;
    while (q < end && (mk_scram_is_letter(*q) || mk_scram_is_digit(*q) || *q == '+' || *q == '/'))
        q++;
    if (q == *p) return 0;
    while (q < end && *q == '=' && padding < 2) {
        q++;
        padding++;
    }
    out->at = *p;
    out->size = (size_t)(q - *p);
    *p = q;
    return 1;
}

/* A value: at least one byte, neither a comma nor a zero. */
static inline int mk_scram_text(const uint8_t **p, const uint8_t *end, mk_scram_value *out) {
    const uint8_t *q = *p;
    while (q < end && *q != ',' && *q != 0) q++;
    if (q == *p) return 0;
    out->at = *p;
    out->size = (size_t)(q - *p);
    *p = q;
    return 1;
}

/* The rest of a message: extensions, `,x=value` each, which are ignored. */
static inline int mk_scram_extensions(const uint8_t *p, const uint8_t *end) {
    mk_scram_value ignored;
    while (p < end) {
        if (!mk_scram_comma(&p, end)) return 0;
        if (end - p < 2 || !mk_scram_is_letter(p[0]) || p[1] != '=') return 0;
        p += 2;
        if (!mk_scram_text(&p, end, &ignored)) return 0;
    }
    return 1;
}

/* server-first-message without reserved-mext: `r=nonce,s=salt,i=count`. The nonce is printable
 * ASCII without the comma; a count has 19 digits at most and no zero in front. 1: understood. */
static inline int mk_scram_read_first(const uint8_t *p, size_t size, mk_scram_first *out) {
    const uint8_t *end = p + size;
    const uint8_t *begin;
    if (!mk_scram_name(&p, end, 'r')) return 0;
    begin = p;
    while (p < end && *p >= 0x21 && *p <= 0x7e && *p != ',') p++;
    if (p == begin) return 0;
    out->nonce.at = begin;
    out->nonce.size = (size_t)(p - begin);
    if (!mk_scram_comma(&p, end) || !mk_scram_name(&p, end, 's')) return 0;
    if (!mk_scram_base64(&p, end, &out->salt)) return 0;
    if (!mk_scram_comma(&p, end) || !mk_scram_name(&p, end, 'i')) return 0;
    begin = p;
    out->iterations = 0;
    while (p < end && mk_scram_is_digit(*p)) {
        if (p - begin == 19) return 0; /* 10^19 - 1 fits into 64 bits */
        out->iterations = out->iterations * 10 + (uint64_t)(*p++ - '0');
    }
    if (p == begin || *begin == '0') return 0;
    return mk_scram_extensions(p, end);
}

/* server-final-message: `v=signature` or `e=error`. 1: understood. */
static inline int mk_scram_read_final(const uint8_t *p, size_t size, mk_scram_final *out) {
    const uint8_t *end = p + size;
    out->signature.at = out->error.at = NULL;
    out->signature.size = out->error.size = 0;
    if (mk_scram_name(&p, end, 'v')) {
        if (!mk_scram_base64(&p, end, &out->signature)) return 0;
    } else if (!mk_scram_name(&p, end, 'e') || !mk_scram_text(&p, end, &out->error)) {
        return 0;
    }
    return mk_scram_extensions(p, end);
}

#endif

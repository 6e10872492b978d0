/* Little-endian loads and stores at any alignment; compilers make each one instruction. */
#ifndef MONGOKEY_ENDIAN_H
#define MONGOKEY_ENDIAN_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define MK_LE32(x) __builtin_bswap32(x)
#define MK_LE64(x) __builtin_bswap64(x)
#else
#define MK_LE32(x) (x)
#define MK_LE64(x) (x)
#endif

static inline uint32_t mk_load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return MK_LE32(v);
}

static inline uint64_t mk_load_u64(const void *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return MK_LE64(v);
}

static inline int32_t mk_load_i32(const void *p) { return (int32_t)mk_load_u32(p); }
static inline int64_t mk_load_i64(const void *p) { return (int64_t)mk_load_u64(p); }

static inline double mk_load_f64(const void *p) {
    uint64_t v = mk_load_u64(p);
    double d;
    memcpy(&d, &v, 8);
    return d;
}

static inline void mk_store_u32(void *p, uint32_t v) {
    v = MK_LE32(v);
    memcpy(p, &v, 4);
}

static inline void mk_store_u64(void *p, uint64_t v) {
    v = MK_LE64(v);
    memcpy(p, &v, 8);
}

static inline void mk_store_i32(void *p, int32_t v) { mk_store_u32(p, (uint32_t)v); }
static inline void mk_store_i64(void *p, int64_t v) { mk_store_u64(p, (uint64_t)v); }

static inline void mk_store_f64(void *p, double d) {
    uint64_t v;
    memcpy(&v, &d, 8);
    mk_store_u64(p, v);
}

#endif

/* A growable byte buffer: where outgoing messages are built and incoming ones are read.
 *
 * Plain C, static inline, free of CPython, so that it can be tested from C. A buffer holds
 * `size` bytes of its `capacity`; it never holds more than `limit` bytes (0: MK_BUFFER_MAX).
 * Every function that can grow the buffer returns 0, or one of the negative codes below with
 * the buffer unchanged.
 */
#ifndef MONGOKEY_BUFFER_H
#define MONGOKEY_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "wipe.h"

#define MK_OK 0
#define MK_NO_MEMORY (-1)
#define MK_TOO_LARGE (-2)

/* BSON and wire lengths are signed 32-bit integers. */
#define MK_BUFFER_MAX ((size_t)0x7fffffff)
#define MK_BUFFER_START ((size_t)1024)

typedef struct {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit;
} mk_buffer;

static inline void mk_buffer_init(mk_buffer *b) {
    b->data = NULL;
    b->size = b->capacity = b->limit = 0;
}

static inline void mk_buffer_free(mk_buffer *b) {
    free(b->data);
    b->data = NULL;
    b->size = b->capacity = 0;
}

/* Overwrites what the buffer held, in a way the compiler may not remove. */
static inline void mk_buffer_wipe(mk_buffer *b) {
    mk_wipe(b->data, b->capacity);
    b->size = 0;
}

/* The same where no more than the first `written` bytes were ever used. */
static inline void mk_buffer_wipe_front(mk_buffer *b, size_t written) {
    mk_wipe(b->data, written < b->capacity ? written : b->capacity);
    b->size = 0;
}

#define MK_LARGE_PAGE ((uintptr_t)2 << 20)

/* Asks for large pages under memory of several of them, where Linux leaves that to programs: it
 * comes fresh from the system, and each small page of it would cost a page fault at its first use.
 * Memory is taken as it is used all the same, and where there are no large pages it works as it is. */
static inline void mk_use_large_pages(const void *data, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uintptr_t start = ((uintptr_t)data + MK_LARGE_PAGE - 1) & ~(MK_LARGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)data + size) & ~(MK_LARGE_PAGE - 1);
    if (size >= 2 * MK_LARGE_PAGE && end > start)
        (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
#else
    (void)data;
    (void)size;
#endif
}

static int mk_buffer_grow(mk_buffer *b, size_t extra) {
    size_t limit = b->limit ? b->limit : MK_BUFFER_MAX;
    size_t wanted, capacity;
    uint8_t *data;
    if (extra > limit || b->size > limit - extra) return MK_TOO_LARGE;
    wanted = b->size + extra;
    capacity = b->capacity ? b->capacity : MK_BUFFER_START;
    while (capacity < wanted) capacity *= 2; /* wanted <= 2^31: no overflow of size_t >= 32 bits */
    data = (uint8_t *)realloc(b->data, capacity);
    if (data == NULL) return MK_NO_MEMORY;
    b->data = data;
    b->capacity = capacity;
    mk_use_large_pages(data, capacity);
    return MK_OK;
}

/* Makes room for `extra` more bytes; does not change the size. */
static inline int mk_buffer_reserve(mk_buffer *b, size_t extra) {
    if (b->capacity - b->size >= extra && (b->limit == 0 || b->limit - b->size >= extra)) return MK_OK;
    return mk_buffer_grow(b, extra);
}

/* Gives memory back when the buffer has grown past `keep` and is empty again. */
static inline void mk_buffer_shrink(mk_buffer *b, size_t keep) {
    if (b->capacity > keep && b->size == 0) mk_buffer_free(b);
}

static inline int mk_buffer_append(mk_buffer *b, const void *bytes, size_t n) {
    int rc = mk_buffer_reserve(b, n);
    if (rc != MK_OK) return rc;
    if (n) memcpy(b->data + b->size, bytes, n);
    b->size += n;
    return MK_OK;
}

static inline int mk_buffer_byte(mk_buffer *b, uint8_t value) {
    int rc = mk_buffer_reserve(b, 1);
    if (rc != MK_OK) return rc;
    b->data[b->size++] = value;
    return MK_OK;
}

#endif

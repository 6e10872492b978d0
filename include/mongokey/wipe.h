/* Overwriting secrets in memory.
 *
 * Plain C, static inline, free of CPython, so that it can be tested from C.
 */
#ifndef MONGOKEY_WIPE_H
#define MONGOKEY_WIPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Overwrites a secret in a way that the compiler may not remove. */
static inline void mk_wipe(void *p, size_t size) {
#if defined(__GNUC__)
    if (size > 0) memset(p, 0, size);
    __asm__ __volatile__("" : : "r"(p) : "memory");
#else
    volatile uint8_t *byte = (volatile uint8_t *)p;
    while (size-- > 0) *byte++ = 0;
#endif
}

#endif

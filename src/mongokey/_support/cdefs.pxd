# The C headers of include/mongokey, as Cython sees them. No logic here.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "mongokey/buffer.h" nogil:
    ctypedef struct mk_buffer:
        uint8_t *data
        size_t size
        size_t capacity
        size_t limit

    int MK_OK, MK_NO_MEMORY, MK_TOO_LARGE
    void mk_buffer_init(mk_buffer *b)
    void mk_buffer_free(mk_buffer *b)
    void mk_buffer_wipe(mk_buffer *b)
    int mk_buffer_reserve(mk_buffer *b, size_t extra)
    void mk_buffer_shrink(mk_buffer *b, size_t keep)
    int mk_buffer_append(mk_buffer *b, const void *data, size_t n)
    int mk_buffer_byte(mk_buffer *b, uint8_t value)


cdef extern from "mongokey/endian.h" nogil:
    uint32_t mk_load_u32(const void *p)
    uint64_t mk_load_u64(const void *p)
    int32_t mk_load_i32(const void *p)
    int64_t mk_load_i64(const void *p)
    double mk_load_f64(const void *p)
    void mk_store_u32(void *p, uint32_t v)
    void mk_store_u64(void *p, uint64_t v)
    void mk_store_i32(void *p, int32_t v)
    void mk_store_i64(void *p, int64_t v)
    void mk_store_f64(void *p, double v)

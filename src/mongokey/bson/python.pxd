# CPython's C API with untyped pointers, for code that counts references itself. No logic here.
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "Python.h":
    PyTypeObject PyUnicode_Type, PyLong_Type, PyFloat_Type, PyBool_Type, PyDict_Type
    PyTypeObject PyList_Type, PyTuple_Type, PyBytes_Type, PyODict_Type
    PyObject *Py_None
    PyObject *Py_True

    PyTypeObject *Py_TYPE(PyObject *o)
    bint PyObject_IS_GC(PyObject *o)
    void Py_INCREF(PyObject *o)
    void Py_DECREF(PyObject *o)
    Py_ssize_t Py_SIZE(PyObject *o)
    bint PyType_IsSubtype(PyTypeObject *a, PyTypeObject *b)

    bint PyDict_Next(PyObject *d, Py_ssize_t *pos, PyObject **key, PyObject **value)
    PyObject *PyDict_GetItemWithError(PyObject *d, PyObject *key)
    Py_ssize_t PyDict_GET_SIZE(PyObject *d)
    PyObject *PyList_GET_ITEM(PyObject *o, Py_ssize_t i)
    PyObject *PyTuple_GET_ITEM(PyObject *o, Py_ssize_t i)
    Py_ssize_t PyBytes_GET_SIZE(PyObject *o)
    char *PyBytes_AS_STRING(PyObject *o)
    double PyFloat_AS_DOUBLE(PyObject *o)

    bint PyUnicode_Check(PyObject *o)
    int PyUnicode_CompareWithASCIIString(PyObject *o, const char *text)
    object PyUnicode_FromObject(PyObject *o)
    bint PyLong_Check(PyObject *o)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *o)
    int PyUnicode_KIND(PyObject *o)
    void *PyUnicode_DATA(PyObject *o)


cdef extern from *:
    int __Pyx_PyUnicode_READY(PyObject *o) except -1


cdef extern from "mongokey/python.h":
    bint mk_long_as_int64(PyObject *o, int64_t *value)
    object mk_new_int_subclass(PyTypeObject *type, int64_t value)
    PyObject *mk_type_attribute(PyTypeObject *type, PyObject *name)
    int mk_list_append(list o, object item) except -1
    bint mk_is_compact_ascii(PyObject *o)
    uint8_t *mk_ascii_data(PyObject *o)
    char *mk_dict_table(PyObject *d)
    size_t mk_dict_table_reach(PyObject *d, size_t size)
    uint32_t mk_find_in_table(const char *table, size_t size, PyObject *value)
    bint mk_put_in_table(PyObject *dict, char *table, uint32_t at, PyObject *value)


cdef extern from "mongokey/utf8.h" nogil:
    size_t MK_UTF8_SURROGATE
    bint mk_is_ascii(const uint8_t *p, size_t n)
    bint mk_has_nul(const uint8_t *p, size_t n)
    bint mk_copy_key(uint8_t *to, const uint8_t *source, size_t n)
    void mk_copy_short(uint8_t *to, const uint8_t *source, size_t n)
    uint64_t MK_ZERO_BYTES(uint64_t w)
    unsigned mk_first_byte(uint64_t marks)
    size_t mk_utf8_size_ucs1(const uint8_t *s, size_t n)
    size_t mk_utf8_size_ucs2(const uint16_t *s, size_t n)
    size_t mk_utf8_size_ucs4(const uint32_t *s, size_t n)
    void mk_utf8_from_ucs1(uint8_t *to, const uint8_t *s, size_t n)
    void mk_utf8_from_ucs2(uint8_t *to, const uint16_t *s, size_t n)
    void mk_utf8_from_ucs4(uint8_t *to, const uint32_t *s, size_t n)


cdef extern from "mongokey/civil.h" nogil:
    int64_t mk_floor_div(int64_t a, int64_t b)
    int64_t mk_days_from_civil(int year, int month, int day)
    void mk_civil_from_days(int days, int *year, int *month, int *day)

/* The few places where the codec looks inside CPython's objects, for 3.10 to 3.14.
 *
 * Where a version is not known to have the layout used here, the public API does the work.
 */
#ifndef MONGOKEY_PYTHON_H
#define MONGOKEY_PYTHON_H

#include <Python.h>

#if PY_VERSION_HEX < 0x030b0000
#include <longintrepr.h>
#endif

/* The value of an int (or of a subclass): 1, or 0 when it needs more than 64 bits. */
static inline int mk_long_as_int64(PyObject *o, int64_t *value) {
#if PY_VERSION_HEX >= 0x030f0000
    int overflow;
    *value = PyLong_AsLongLongAndOverflow(o, &overflow);
    return overflow == 0;
#else
    const PyLongObject *n = (const PyLongObject *)o;
    const digit *digits;
    uint64_t magnitude = 0;
    Py_ssize_t count;
    int negative;
#if PY_VERSION_HEX >= 0x030c0000
    /* lv_tag: the number of digits above three bits, the lowest two being 0, 1 (zero), 2 (< 0). */
    count = (Py_ssize_t)(n->long_value.lv_tag >> 3);
    negative = (n->long_value.lv_tag & 3) == 2;
    digits = n->long_value.ob_digit;
#else
    count = Py_SIZE(n);
    negative = count < 0;
    if (negative) count = -count;
    digits = n->ob_digit;
#endif
    if (count == 1) {
        magnitude = digits[0];
    } else if (count) {
        Py_ssize_t room = 64 - (count - 1) * PyLong_SHIFT; /* for the bits of the top digit */
        if (room <= 0 || (room < PyLong_SHIFT && digits[count - 1] >> room)) return 0;
        while (count > 0) magnitude = magnitude << PyLong_SHIFT | digits[--count];
    }
    if (negative) {
        if (magnitude > (uint64_t)1 << 63) return 0;
        *value = (int64_t)(0 - magnitude);
    } else {
        if (magnitude >> 63) return 0;
        *value = (int64_t)magnitude;
    }
    return 1;
#endif
}

/* An instance of `type`, a subclass of int with no fields of its own that the garbage collector
 * does not track. */
static inline PyObject *mk_new_int_subclass(PyTypeObject *type, int64_t value) {
#if PY_VERSION_HEX < 0x030f0000
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t rest = magnitude;
    Py_ssize_t count = 0, i;
    PyLongObject *o;
    digit *digits;
    while (rest) {
        count++;
        rest >>= PyLong_SHIFT;
    }
    o = PyObject_NewVar(PyLongObject, type, count ? count : 1);
    if (o == NULL) return NULL;
#if PY_VERSION_HEX >= 0x030c0000
    o->long_value.lv_tag = (uintptr_t)count << 3 | (uintptr_t)(count == 0 ? 1 : value < 0 ? 2 : 0);
    digits = o->long_value.ob_digit;
#else
    Py_SET_SIZE(o, value < 0 ? -count : count);
    digits = o->ob_digit;
#endif
    digits[0] = 0;
    for (i = 0; i < count; i++) {
        digits[i] = (digit)(magnitude & PyLong_MASK);
        magnitude >>= PyLong_SHIFT;
    }
    return (PyObject *)o;
#else
    PyObject *plain = PyLong_FromLongLong(value), *o;
    if (plain == NULL) return NULL;
    o = PyObject_CallOneArg((PyObject *)type, plain);
    Py_DECREF(plain);
    return o;
#endif
}

/* The attribute `name` of the type (not of an instance or metaclass), borrowed; NULL without an
 * error when there is none. */
static inline PyObject *mk_type_attribute(PyTypeObject *type, PyObject *name) {
    return _PyType_Lookup(type, name);
}

/* ---- Values of a dict, put where they belong without a search ----
 *
 * A copy of a dict has its values at the same places of its table as the dict; the table is of
 * names and values, or, for dicts that share their names as instances of a class do, of values
 * alone. Where they are is found out by looking for known values, within the size that the dict
 * says its table has: no layout is assumed. A place is an offset from what `mk_dict_table` gives,
 * never 0. NULL where a version (or a build without the GIL) is not known to do so. */
static inline char *mk_dict_table(PyObject *dict) {
#if PY_VERSION_HEX < 0x030f0000 && !defined(Py_GIL_DISABLED)
    const PyDictObject *d = (const PyDictObject *)dict;
    /* The first value is the first thing there, before Python 3.13. */
    if (d->ma_values != NULL)
        return (char *)d->ma_values - (PY_VERSION_HEX < 0x030d0000 ? sizeof(PyObject *) : 0);
    return (char *)d->ma_keys;
#else
    (void)dict;
    return NULL;
#endif
}

/* How far behind `mk_dict_table` the table may reach that the dict says has `size` bytes. */
static inline size_t mk_dict_table_reach(PyObject *dict, size_t size) {
#if PY_VERSION_HEX < 0x030f0000 && !defined(Py_GIL_DISABLED)
    if (((const PyDictObject *)dict)->ma_values != NULL) return size + sizeof(PyObject *);
#else
    (void)dict;
#endif
    return size;
}

/* The place in the table, of `size` bytes, that holds `value`; 0 unless there is exactly one. */
static inline uint32_t mk_find_in_table(const char *table, size_t size, PyObject *value) {
    uint32_t found = 0;
    size_t at;
    for (at = sizeof(PyObject *); at + sizeof(PyObject *) <= size; at += sizeof(PyObject *)) {
        if (*(PyObject *const *)(table + at) != value) continue;
        if (found) return 0;
        found = (uint32_t)at;
    }
    return found;
}

/* Replaces the None at that place of `dict`, whose table it is; 0 if something else is there. The
 * garbage collector hears of a dict once it holds what may hold other objects. */
static inline int mk_put_in_table(PyObject *dict, char *table, uint32_t at, PyObject *value) {
    PyObject **place = (PyObject **)(table + at);
    if (mk_dict_table(dict) != table || *place != Py_None) return 0;
    if (PyType_IS_GC(Py_TYPE(value)) && !PyObject_GC_IsTracked(dict)) PyObject_GC_Track(dict);
    Py_INCREF(value);
    *place = value;
    Py_DECREF(Py_None);
    return 1;
}

/* Appends to a list that nobody else changes meanwhile; -1 with MemoryError set. */
static inline int mk_list_append(PyObject *list, PyObject *item) {
#ifndef Py_GIL_DISABLED
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (size < ((PyListObject *)list)->allocated) {
        Py_INCREF(item);
        PyList_SET_ITEM(list, size, item);
        ((PyVarObject *)list)->ob_size = size + 1;
        return 0;
    }
#endif
    return PyList_Append(list, item);
}

static inline int mk_is_compact_ascii(PyObject *o) { return PyUnicode_IS_COMPACT_ASCII(o); }

/* The characters of a compact ASCII string. */
static inline uint8_t *mk_ascii_data(PyObject *o) {
    return (uint8_t *)((PyASCIIObject *)o + 1);
}

#endif

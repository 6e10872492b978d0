# cython: language_level=3, nonecheck=True, binding=True
"""Objects whose unknown attributes are their children: `client.name` is a database, and
`database.name` a collection.

It knows how Python looks attributes up. What children are, the classes on top of it know.
"""

from types import GenericAlias

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF


cdef extern from *:
    """
    /* An error is set: have Cython pass it on as it is. */
    static int mk_pass_on(void) { return -1; }

    static PyObject *mk_class_attribute(PyObject *self, PyObject *name) {
        return _PyType_Lookup(Py_TYPE(self), name);
    }

    /* Into the dict, past type.__setattr__, which would replace the C look-up by Python's. */
    static int mk_put_into_type(PyTypeObject *type, PyObject *name, PyObject *value) {
        int rc = PyDict_SetItem(type->tp_dict, name, value);
        PyType_Modified(type);
        return rc;
    }

    /* Python gives each subclass of a class with a __getattr__ a slower look-up. Both are classes,
       of whatever metaclass: Cython's `type` takes those of `type` itself only. */
    static void mk_look_up_as(PyObject *type, PyObject *base) {
        ((PyTypeObject *)type)->tp_getattro = ((PyTypeObject *)base)->tp_getattro;
        PyType_Modified((PyTypeObject *)type);
    }
    """
    PyObject *mk_class_attribute(object self, str name)
    int mk_pass_on() except -1
    int mk_put_into_type(type cls, str name, object value) except -1
    void mk_look_up_as(object cls, object base)


cdef extern from "Python.h":
    PyObject *PyObject_GenericGetAttr(object, object)
    PyObject *PyExc_AttributeError
    int PyErr_ExceptionMatches(PyObject *)
    void PyErr_Fetch(PyObject **, PyObject **, PyObject **)
    void PyErr_Restore(PyObject *, PyObject *, PyObject *)
    void Py_XDECREF(PyObject *)


cdef class ParentOfNames:
    """Base of clients, databases and collections."""

    cdef object child(self, name):
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    cdef tuple words_for(self, str name):
        return "child", name, f"[{name!r}]"

    def __getattribute__(self, name):
        cdef PyObject *found = PyObject_GenericGetAttr(self, name)
        cdef PyObject *kind
        cdef PyObject *error
        cdef PyObject *traceback
        cdef PyObject *own
        if found != NULL:
            value = <object>found
            Py_DECREF(value)
            return value
        if not PyErr_ExceptionMatches(PyExc_AttributeError):
            mk_pass_on()
        PyErr_Fetch(&kind, &error, &traceback)
        own = mk_class_attribute(self, "__getattr__")
        if mk_class_attribute(self, name) != NULL or (
            own != NULL and <object>own is not child_attribute
        ):
            # An attribute that there is failed by itself; or a subclass has a __getattr__ of its
            # own, which Python asks next.
            PyErr_Restore(kind, error, traceback)
            mk_pass_on()
        Py_XDECREF(kind)
        Py_XDECREF(error)
        Py_XDECREF(traceback)
        return child_attribute(self, name)

    def __getitem__(self, name):
        return self.child(name)

    @classmethod
    def __class_getitem__(cls, document_class):
        return GenericAlias(cls, document_class)

    def __reduce_ex__(self, protocol):
        # A copy would share, or lack, the connections.
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __next__(self):
        raise TypeError(f"{type(self).__name__!r} object is not iterable")

    def next(self):
        """Always a TypeError: this is nothing to iterate over."""
        return self.__next__()


def child_attribute(ParentOfNames self not None, str name not None):
    """The child `name`, unless the name begins with an underscore: then an AttributeError."""
    if mk_class_attribute(self, name) != NULL:
        # A property that has failed, and whose error Python did not keep: it fails once more.
        found = PyObject_GenericGetAttr(self, name)
        if found == NULL:
            mk_pass_on()
        value = <object>found
        Py_DECREF(value)
        return value
    if name.startswith("_"):
        kind, whole, how = self.words_for(name)
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}. To access the {whole} {kind}, "
            f"use {how}."
        )
    return self.child(name)


def keep_look_up(cls, **kwargs):
    """A subclass that has no look-up of its own keeps the one in C."""
    super(ParentOfNames, cls).__init_subclass__(**kwargs)
    if (
        cls.__getattr__ is child_attribute
        and cls.__getattribute__ is ParentOfNames.__getattribute__
    ):
        mk_look_up_as(cls, ParentOfNames)


# Cython knows no __init_subclass__; __getattr__ is for those who ask it by super().
mk_put_into_type(ParentOfNames, "__getattr__", child_attribute)
mk_put_into_type(ParentOfNames, "__init_subclass__", classmethod(keep_look_up))

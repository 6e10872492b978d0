# cython: language_level=3
"""Whether the process has environment variables, asked in C.

`os.environ` encodes each name and raises and catches an error for each variable that is not there,
which is most of what a client's start would cost. It knows names only: values are `os.environ`'s.
"""

cdef extern from "stdlib.h":
    char *getenv(const char *name)


def any_is_set(tuple names not None):
    """Whether one of the variables `names`, a tuple of bytes, is set, be it to nothing."""
    for name in names:
        if getenv(<bytes?>name) != NULL:
            return True
    return False

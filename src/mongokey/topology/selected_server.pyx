# cython: language_level=3
"""The server that operations go to, as the topology has selected it.

The topology alone sets and clears it; executions read it on the path of every command.
"""

cimport cython


@cython.final
cdef class SelectedServer:
    """`pool` is the selected server's, or None while one must be found."""

# cython: language_level=3
"""A small cache of derived keys in which each key is derived by one thread only.

Knows how many keys are kept. Must not know what a key is or how it is derived, nor how threads wait
for one another (`mongokey._support.single_flight`).
"""

from functools import partial

# One credential sees one salt per mechanism and deployment, and a new one after each change of
# the password; more than this is a server making salts up.
MAX_ENTRIES = 8


cdef class KeyCache:
    """Maps what identifies a derivation to what it gave; at most `limit` entries, oldest out.

    Of threads that ask for one missing key one computes, the others wait for it; if it fails, the
    next one tries. A forked child may use it at once.
    """

    def __cinit__(self):
        self._entries = {}
        self._flights = SingleFlight()

    def __init__(self, Py_ssize_t limit=MAX_ENTRIES):
        self._limit = limit

    cpdef object get(self, object key):
        """The cached value, or None."""
        return self._entries.get(key)

    cpdef object derive(
        self, object key, object compute, Deadline deadline=None, object cancelled=None
    ):
        """The cached value, or what `compute` gives; waits while another thread computes it.

        Raises TimeoutError when `deadline` passes while it waits, `Cancelled` soon after
        `cancelled()` has become true, and whatever `compute` raises; then nothing is kept. A thread
        that computes the key and is interrupted by a handler which needs it too does not wait for
        itself.
        """
        value = self._entries.get(key)
        if value is not None:
            return value
        make = partial(self._make, key, compute)
        return self._flights.run(key, make, deadline, cancelled)

    def _make(self, key, compute):
        value = self._entries.get(key)
        if value is None:
            value = compute()
            while len(self._entries) >= self._limit:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = value
        return value

    def __repr__(self):
        return f"<KeyCache of {len(self._entries)}>"

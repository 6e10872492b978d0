# cython: language_level=3
"""Which event loop a client of the asyncio face belongs to: the one of its first operation.

Knows when a loop is over, so that another may take its place, and says where a client was first
used when two loops want it at once. What belongs to a loop, and how it is dropped, it must not
know.
"""

import os
import sys

from mongokey._support.fork import call_after_fork
from mongokey._support.lazy import late_imports
from mongokey._support.loop_end import LoopEnd
from mongokey._support.weakly import weakly

# Frames in here are no place of the application's.
cdef str OWN_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


cdef class LoopBinding:
    """The loop of one client."""

    def __init__(self, on_new_loop not None, on_loop_end=None):
        self.on_new_loop = on_new_loop
        self.on_loop_end = on_loop_end
        call_after_fork(self)

    def reset_after_fork(self):
        """In a forked child: the loop is the parent's, and must not be touched: the two share what
        it waits by. All that belonged to it is reset by itself."""
        self.loop = self.entered_at = self.ended = None
        self.has_remains = False
        self._forget_end()

    def _forget_end(self):
        end, self.loop_end = self.loop_end, None
        if end is not None:
            end.forget()

    def _loop_ends(self):
        """The loop is about to be closed; it is used no more, unless by what ends there too."""
        self.ended = self.loop
        self.on_loop_end()

    cpdef int enter(self, object running) except -1:
        """Bind the client to `running`, if no other loop has it."""
        cdef object bound
        while True:
            bound = self.loop
            if bound is running:
                return 0
            if bound is None and not self.has_remains:
                # Nothing of Python's comes between the look and this: the first thread gets it.
                self.loop = running
                self._entered(running)
                return 0
            if bound is not None and bound.is_running() and not bound.is_closed():
                if self.loop is bound:
                    raise self._taken()
                continue
            if self.loop is not bound:
                continue  # another thread was faster
            # It is this loop's from here on: another thread's is refused.
            self.loop = running
            self.has_remains = True
            try:
                self._entered(running)
                self.on_new_loop()
            except BaseException:
                # Such as a Ctrl-C: what is left is dropped by the next operation.
                self.loop = None
                raise
            self.has_remains = False
            return 0

    cdef int _entered(self, object running) except -1:
        self.entered_at = place_of_caller()
        self._forget_end()
        # A loop that has begun to end would complain of a generator that begins there.
        if self.on_loop_end is not None and self.ended is not running:
            self.ended = None
            self.loop_end = LoopEnd(weakly(self._loop_ends))
        return 0

    def _taken(self):
        with late_imports:
            from mongokey.execution.loop_causes import used_in_two_loops

        return used_in_two_loops(self.entered_at)


cdef str place_of_caller():
    """The place in the application that is being executed, for errors."""
    cdef str name
    cdef str loops = os.sep + "asyncio" + os.sep
    frame = sys._getframe(0)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(OWN_FILES) and loops not in name:
            return f"{name}, line {frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return "a place that is not known"

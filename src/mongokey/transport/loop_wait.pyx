# cython: language_level=3
"""What a task of an asyncio loop waits for: like a Future, but used again, and without a turn of
the loop between what comes and the task that goes on.

Knows how asyncio's tasks wait (`_asyncio_future_blocking`, `add_done_callback`, `result`,
`cancel`). Must not know what is waited for.

A Future is made for each wait, and its callbacks are called in the next turn of the loop: one more
poll of all sockets. A callback that the loop itself calls (a socket can be read) may go on with the
task at once, as no other task is running then; `wake` does that.
"""

from asyncio import CancelledError, InvalidStateError
from contextvars import copy_context

from cpython.contextvars cimport PyContext_Enter, PyContext_Exit


cdef class LoopWait:
    """A wait of one task at a time on `loop`; a subclass says what for."""

    def __init__(self, loop not None):
        self.loop = loop

    cdef int expect(self) noexcept:
        self.came = self._waiting = self._cancelled = False
        return 0

    cdef int taken(self) except -1:
        return 0

    cdef int abandoned(self) except -1:
        return 0

    # -- what comes -----------------------------------------------------------------------------

    cdef int wake(self) except -1:
        if self._wakeup is None or self._cancelled:
            # A task that is cancelled was told already.
            self.came = True
            return 0
        self.came = True
        wakeup, self._wakeup = self._wakeup, None
        context, self._context = self._context, None
        try:
            PyContext_Enter(context)
            try:
                wakeup(self)
            finally:
                PyContext_Exit(context)
        except RuntimeError:
            # Something runs the loop inside of a task of it: then it must be the next turn.
            if not self._waiting:
                raise
            self.loop.call_soon(wakeup, self, context=context)
        return 0

    cdef int wake_soon(self) except -1:
        self.came = True
        if self._wakeup is not None:
            wakeup, self._wakeup = self._wakeup, None
            context, self._context = self._context, None
            if not self.loop.is_closed():
                self.loop.call_soon(wakeup, self, context=context)
        return 0

    # -- what a coroutine does --------------------------------------------------------------------

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.came:
            self._waiting = False
            self.taken()
            raise StopIteration
        if self._waiting:
            raise RuntimeError("a connection is waited for by one task at a time")
        self._waiting = self._asyncio_future_blocking = True
        return self

    def send(self, _):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self._give_up()
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        elif not isinstance(value, BaseException):
            value = kind(value)
        raise value if traceback is None else value.with_traceback(traceback)

    def close(self):
        self._give_up()

    def _give_up(self):
        self._waiting = False
        self._wakeup = self._context = None
        # Its own wake-up may be on its way still, to a task that goes on with something else.
        self.abandoned()

    # -- what a task does -------------------------------------------------------------------------

    def get_loop(self):
        return self.loop

    def done(self):
        return self.came or self._cancelled

    def cancelled(self):
        return self._cancelled

    def add_done_callback(self, callback, *, context=None):
        if context is None:
            context = copy_context()
        if self.came or self._cancelled:
            self.loop.call_soon(callback, self, context=context)
        else:
            self._wakeup, self._context = callback, context

    def remove_done_callback(self, callback):
        if self._wakeup is None or self._wakeup != callback:
            return 0
        self._wakeup = self._context = None
        return 1

    def cancel(self, msg=None):
        """Have the task that waits go on with `CancelledError`; False where it goes on already."""
        if self.came or self._cancelled or self.loop is None:
            return False
        self._cancelled, self._message = True, msg
        if self._wakeup is not None:
            wakeup, self._wakeup = self._wakeup, None
            context, self._context = self._context, None
            self.loop.call_soon(wakeup, self, context=context)
        return True

    def result(self):
        """What the wait came to is told where the coroutine goes on; here only a cancellation."""
        if self._cancelled:
            message, self._message = self._message, None
            raise CancelledError() if message is None else CancelledError(message)
        if not self.came:
            raise InvalidStateError("what is waited for has not come")

    def exception(self):
        self.result()

    def __repr__(self):
        state = "cancelled" if self._cancelled else "over" if self.came else "pending"
        return f"<{type(self).__name__}, {state}>"

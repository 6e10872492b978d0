# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""Cursors that are open on servers, and those that are still to be killed there.

It knows where a cursor lives and in which session. It must not know how a cursor is read
(`commands.cursor_state`), nor how one is killed (`commands.housekeeping`).
"""

from _thread import RLock

cimport cython
from libc.stdint cimport int64_t

from mongokey.connection.connection cimport Connection
from mongokey.execution.operation cimport Namespace
from mongokey.pool.pool cimport Pool
from mongokey.sessions.server_session cimport ServerSession, ServerSessionPool

from mongokey.errors import InvalidOperation


@cython.final
cdef class ServerCursor:
    """The cursor `cursor_id` of `namespace`, open on the server behind `server`."""

    def __init__(
        self,
        Namespace namespace not None,
        int64_t cursor_id,
        ServerSession session,
        Pool server not None,
    ):
        self.namespace = namespace
        self.id = cursor_id
        self.session = session
        self.server = server

    cdef int pin(self, Connection connection) except -1:
        self.connection = connection
        self.pinned = True
        return self.server.pin(connection)

    cdef int unpin(self) except -1:
        cdef Connection connection = self.connection
        if connection is not None:
            self.connection = None
            self.pinned = False
            self.server.unpin(connection)
        return 0

    def stop_stream(self):
        """Where the server would go on sending batches, what ends that is the connection's end."""
        if self.connection is not None and self.connection.awaiting:
            self.connection.close()

    def release_connection(self):
        """Give back the connection that it is pinned to, if it is."""
        self.unpin()

    def give_back(self, ServerSessionPool sessions not None):
        """Give back its session, and the connection that it is pinned to."""
        session, self.session = self.session, None
        if session is not None:
            sessions.give_back(session)
        self.unpin()

    cdef Connection take_connection(self):
        cdef Connection connection = self.connection
        if connection is None:
            raise InvalidOperation(
                "the connection that this cursor is pinned to is in use at this moment: a cursor "
                "is for one user at a time"
            )
        self.connection = None
        return connection


@cython.final
cdef class CursorBatch:
    """What a command that opens a cursor returns: its first batch, and where the next one is."""


@cython.final
cdef class PendingCursors:
    """The cursors of one client that are to be killed on their servers, soon.

    `make_maintenance()` makes what has that done beside the program: its `wake()` is called for
    each cursor. None: they are killed when the client is closed.
    """

    def __init__(self, make_maintenance=None):
        self.make_maintenance = make_maintenance
        self.reset_after_fork()

    def reset_after_fork(self):
        """In a forked child: the cursors are the parent's."""
        self.deferred = []
        self.postponed = []
        self.lock = RLock()

    cdef int prepare(self) except -1:
        # Made now, since a destructor is no place for imports.
        if self.maintenance is None and self.make_maintenance is not None and not self.closed:
            self.maintenance = self.make_maintenance()
        return 0

    cdef int defer(self, ServerCursor cursor) except -1:
        # Its session is for one user at a time, who is not the one that has it killed.
        cursor.explicit = None
        if self.closed:
            cursor.unpin()
        else:
            self.deferred.append(cursor)
            if self.maintenance is not None:
                self.maintenance.wake()
        return 0

    def kill_later(self, ServerCursor cursor not None):
        """Have a cursor killed beside the program, soon."""
        self.defer(cursor)

    def __len__(self):
        return len(self.deferred) + len(self.postponed)

    def close(self):
        """Drop all cursors, without a word to their servers, and those that are deferred later."""
        cdef ServerCursor cursor
        self.closed = True
        dropped, self.deferred, self.postponed = self.deferred + self.postponed, [], []
        for cursor in dropped:
            cursor.unpin()

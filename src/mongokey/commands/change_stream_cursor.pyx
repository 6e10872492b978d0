# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""The commands of a change stream, and its cursor on a server.

Events stay as they came, each beside its resume token, until they are handed out: so a token goes
back to the server in its own bytes, and one event that cannot be decoded costs no other. When a
stream is resumed, and from where, it must not know: that is `commands.change_stream_state`'s.
"""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from mongokey.bson.bson_c cimport (
    MK_BSON_DOCUMENT,
    MK_BSON_NOT_FOUND,
    MK_BSON_NULL,
    MK_BSON_TIMESTAMP,
    mk_bson_find,
    mk_bson_iter,
    mk_bson_iter_init,
    mk_bson_iter_next,
)
from mongokey.commands.command cimport CursorCommand
from mongokey.commands.crud cimport GetMore
from mongokey.commands.cursor_state cimport CursorState
from mongokey.execution.cursors cimport CursorBatch, ServerCursor
from mongokey.execution.execution cimport Executor
from mongokey.execution.operation cimport AS_GIVEN, CommandReply, check, mk_read_cursor_reply
from mongokey.sessions.server_session cimport ServerSession

from mongokey.bson.timestamp import Timestamp
from mongokey.errors import InvalidOperation, ProtocolError

cdef extern from "mongokey/endian.h" nogil:
    uint64_t mk_load_u64(const void *p)


cdef int read_cursor_of(CommandReply *reply) except -1:
    if reply.fields.cursor == NULL:
        raise ProtocolError("the server's reply to a change stream has no cursor")
    check(mk_read_cursor_reply(reply.fields.cursor, reply.fields.cursor_size, &reply.cursor))
    if reply.cursor.batch == NULL:
        raise ProtocolError("the server's change stream has no batch of events")
    return 0


cdef list events_of(CommandReply *reply):
    """The events of a batch, each as ``(document, token)``, in BSON. An event without a document
    as its `_id` has None for its token."""
    cdef mk_bson_iter event, identifier
    cdef list events = []
    cdef int found
    check(mk_bson_iter_init(&event, reply.cursor.batch, reply.cursor.batch_size))
    while check(mk_bson_iter_next(&event)):
        if event.type != MK_BSON_DOCUMENT:
            raise ProtocolError("the server's batch holds something that is not a document")
        token = None
        found = mk_bson_find(event.value, event.value_size, "_id", 3, &identifier)
        if found != MK_BSON_NOT_FOUND:
            check(found)
            if identifier.type == MK_BSON_DOCUMENT:
                token = (<const char *>identifier.value)[:identifier.value_size]
        events.append(((<const char *>event.value)[:event.value_size], token))
    return events


cdef bytes token_of(CommandReply *reply):
    """The cursor's `postBatchResumeToken` in BSON, or None."""
    cdef mk_bson_iter token
    cdef int found = mk_bson_find(
        reply.fields.cursor, reply.fields.cursor_size, "postBatchResumeToken", 20, &token
    )
    if found == MK_BSON_NOT_FOUND:
        return None
    check(found)
    if token.type == MK_BSON_NULL:
        return None
    if token.type != MK_BSON_DOCUMENT:
        raise ProtocolError("the server's postBatchResumeToken is not a document")
    return (<const char *>token.value)[:token.value_size]


@cython.final
cdef class WatchCommand(CursorCommand):
    """The aggregation that opens a change stream; afterwards it has what its reply says of where
    the stream begins: a resume token in BSON, and a time; each None if the reply has none."""

    cdef readonly bytes post_batch_resume_token
    cdef readonly object operation_time

    cdef object read(self, CommandReply *reply):
        cdef CursorBatch result = CursorBatch.__new__(CursorBatch)
        cdef mk_bson_iter time
        cdef uint64_t value
        read_cursor_of(reply)
        if reply.cursor.id != 0:
            self._collection_of(reply)
        reply.has_cursor = True
        self.post_batch_resume_token = token_of(reply)
        self.operation_time = None
        if (
            mk_bson_find(reply.body, reply.size, "operationTime", 13, &time) >= 0
            and time.type == MK_BSON_TIMESTAMP
        ):
            value = mk_load_u64(time.value)
            self.operation_time = Timestamp(value >> 32, value & 0xFFFFFFFF)
        result.documents = events_of(reply)
        return result


@cython.final
cdef class WatchGetMore(GetMore):
    """A `getMore` of a change stream: the result is a list of events; afterwards it has the
    batch's resume token, or None."""

    cdef readonly bytes post_batch_resume_token

    cdef object read(self, CommandReply *reply):
        read_cursor_of(reply)
        # From here on it is the execution's to look after.
        reply.has_cursor = True
        self.post_batch_resume_token = token_of(reply)
        return events_of(reply)


@cython.final
cdef class ChangeStreamCursor(CursorState):
    """The cursor that `command` has opened, with its first `batch`."""

    def __init__(
        self, Executor executor not None, WatchCommand command not None, CursorBatch batch not None
    ):
        self.executor = executor
        self.context = command.context
        self.namespace = command.namespace
        self.batch_limit = command.batch_size
        self.get_more_extras = command.get_more_extras
        self.started = True
        self.closed = False
        self.opened(batch)
        if self.server_cursor is not None:
            self.server_cursor.replaceable = True

    def __reduce_ex__(self, protocol):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    @property
    def server_cursor(self):
        """The `ServerCursor`, or None where the server has none any more."""
        return self.server_cursor

    @property
    def has_event(self):
        """Whether an event is at hand."""
        return self.index < self.size

    @property
    def is_alive(self):
        """Whether there is, or may be, a further event."""
        return self.index < self.size or self.server_cursor is not None

    @property
    def is_foreign(self):
        """Whether it is a parent process's, which goes on reading it."""
        return (
            self.server_cursor is not None
            and self.server_cursor.forks != self.executor.sessions.forks
        )

    @property
    def address(self):
        """(host, port) of its server."""
        return self.server.address

    def take_event(self):
        """The next event at hand, ``(document, token)``."""
        if self.index >= self.size:
            raise InvalidOperation("there is no event at hand")
        event = self.documents[self.index]
        self.documents[self.index] = None
        self.index += 1
        return event

    def next_operation(self):
        """The `WatchGetMore` for the next batch."""
        cdef WatchGetMore operation = WatchGetMore.__new__(WatchGetMore)
        if self.server_cursor is None:
            raise InvalidOperation("the server has no such change stream any more")
        operation.namespace = self.namespace
        operation.context = self.context
        operation.cursor_id = self.server_cursor.id
        operation.extras = self.get_more_extras
        operation.max_time = AS_GIVEN
        operation.batch_size = self.batch_limit
        return operation

    def take_in(self, list events not None):
        """Make what a `WatchGetMore` has brought the batch at hand."""
        self.received(events)

    def keep_session(self):
        """Its implicit session, for the cursor that replaces it, or None. It is killed under the
        same name; but that gives no session back."""
        cdef ServerCursor cursor = self.server_cursor
        cdef ServerSession session, double
        if cursor is None or cursor.session is None or self.is_foreign:
            return None
        session = cursor.session
        double = ServerSession.__new__(ServerSession)
        memcpy(double.id, session.id, 16)
        double.last_used_ns = session.last_used_ns
        double.forks = session.forks
        double.dirty = True
        cursor.session = double
        return session

    def take_error(self, error):
        """A `WatchGetMore` has failed. What is to be killed on its server now, or None: where the
        server may not answer, that is left to others."""
        self.failed(error)
        if self.broken is not None and not self.broken.pinned:
            self.defer_kill()
        return self.let_go()

    def let_go(self):
        """What is open on its server, which is no longer this cursor's; None for nothing."""
        self.drop_batch()
        return self.release()

    def drop(self):
        """Have it killed beside the program; does no I/O."""
        self.drop_batch()
        self.defer_kill()

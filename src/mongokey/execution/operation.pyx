# cython: language_level=3, boundscheck=False, wraparound=False
"""Operations and the executor that carries them out, blocking.

It knows how a command message is put together, sessions, `$clusterTime`, and when a failed
operation is tried again (retryable-reads, retryable-writes and driver-sessions
specifications). It must not know single commands (`_crud`, `_commands`), nor how servers are
found or connections made.
"""

import os
from _thread import RLock

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove

from mongokey._support.cdefs cimport (
    MK_NO_MEMORY,
    MK_TOO_LARGE,
    mk_buffer,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
)
from mongokey.bson.bson_c cimport mk_bson_begin, mk_bson_end, mk_bson_int64
from mongokey.bson.codec cimport CodecContext, context_of, read_document, write_document
from mongokey.connection.connection cimport Connection
from mongokey.pool.pool cimport Pool
from mongokey.transport.stream cimport monotonic_ns
from mongokey.wire.framing cimport MK_MORE_TO_COME

from mongokey._support.fork import call_after_fork
from mongokey._support.server_errors import (
    NODE_SHUTTING_DOWN_CODES,
    REAUTHENTICATION_REQUIRED,
    RETRYABLE_CODES,
    raise_command_error,
)
from mongokey.connection.connection import LENIENT
from mongokey.errors import (
    AutoReconnect,
    ConnectionFailure,
    DocumentTooLarge,
    InvalidBSON,
    InvalidOperation,
    MongoError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

# driver-sessions: an idle session is not used again in its last minute.
cdef int64_t MINUTE_NS = 60 * 1_000_000_000

# The element `lsid: {id: <UUID>}` up to the 16 bytes of the UUID, and what follows them.
cdef bytes LSID_HEAD = (
    b"\x03lsid\0" + (4 + 4 + 4 + 1 + 16 + 1).to_bytes(4, "little")
    + b"\x05id\0" + (16).to_bytes(4, "little") + b"\x04"
)

# server-selection, "Topology type: Single": without it a secondary refuses to be read.
cdef bytes PRIMARY_PREFERRED = (
    b"\x03$readPreference\0" + (4 + 6 + 4 + 17 + 1).to_bytes(4, "little")
    + b"\x02mode\0" + (17).to_bytes(4, "little") + b"primaryPreferred\0\0"
)

cdef CodecContext _lenient = context_of(LENIENT)
cdef CodecContext _default = context_of(None)

# `commands.housekeeping.end`, which is above, once it was asked for.
cdef object _end = None


cdef object end_on_server():
    global _end
    if _end is None:
        from mongokey.commands.housekeeping import end

        _end = end
    return _end


cdef int check(int rc) except -1:
    """Raise what a code of buffer.h or bson.h means."""
    if rc >= 0:
        return rc
    if rc == MK_NO_MEMORY:
        raise MemoryError("no memory for a message")
    if rc == MK_TOO_LARGE:
        raise DocumentTooLarge("the message would be larger than 2 GiB")
    raise InvalidBSON("the server's reply is not a valid BSON document")


cdef int put(mk_buffer *out, bytes data) except -1:
    return check(mk_buffer_append(out, <const char *>data, len(data)))


cdef int write_document_elements(mk_buffer *out, object document, object context) except -1:
    """Append the elements of `document` to a document under construction."""
    cdef size_t start = out.size
    cdef size_t size
    write_document(out, document, <CodecContext>context, False, False)
    # Take off the length in front and the NUL behind.
    size = out.size - start - 5
    memmove(out.data + start, out.data + start + 4, size)
    out.size = start + size
    return 0


cdef object code_in(details):
    """The error code in a server's answer; None for none, or for what is no number."""
    code = details.get("code") if isinstance(details, dict) else None
    return code if isinstance(code, int) else None


cdef bint needs_retryable_write_label(error, Pool pool) except -1:
    """Whether the driver labels `error` RetryableWriteError, since the server behind `pool` cannot
    (retryable-writes, "RetryableWriteError Labels"): it is gone, or older than 4.4."""
    if isinstance(error, AutoReconnect) and not isinstance(error, NotPrimaryError):
        return True
    details = getattr(error, "details", None)
    return (
        code_in(details) in RETRYABLE_CODES
        and pool is not None
        and pool.description is not None
        and pool.description.max_wire_version < 9
    )


cdef CodecContext envelope_of(CodecContext context):
    """What reads the fields that the server puts around documents of `context`.

    The values in them, a duplicate key for one, are of the UUID representation and time zone that
    `context` has. Its document class, type decoders and error handler are for documents only.
    """
    if context is _default:
        return _lenient
    attributes = context.options.__dict__
    found = attributes.get("_envelope")
    if found is None:
        found = attributes["_envelope"] = context_of(
            context.options.with_options(
                document_class=dict,
                type_registry=None,
                unicode_decode_error_handler=LENIENT.unicode_decode_error_handler,
                datetime_conversion=LENIENT.datetime_conversion,
            )
        )
    return <CodecContext?>found


cdef dict decode_reply(Connection connection, CodecContext context):
    """The whole reply, read as the envelope of documents of `context`."""
    try:
        return <dict>read_document(
            connection.reply.body, connection.reply.body_size, envelope_of(context)
        )
    except InvalidBSON:
        if context is _default:
            raise
        # A value that the user's options cannot read, such as a UUID of 3 bytes.
        return decode_reply(connection, _default)


cdef class Namespace:
    """The database `database`, or the collection `collection` in it."""

    def __init__(self, str database not None, str collection=None):
        self.database = database
        self.collection = collection
        encoded = database.encode()
        self.db_element = (
            b"\x02$db\0" + (len(encoded) + 1).to_bytes(4, "little") + encoded + b"\0"
        )
        if collection is not None:
            encoded = collection.encode()
            self.collection_value = (
                (len(encoded) + 1).to_bytes(4, "little") + encoded + b"\0"
            )


cdef class ServerSession:

    def __cinit__(self):
        cdef bytes random = os.urandom(16)
        memcpy(self.id, <const unsigned char *>random, 16)
        # RFC 9562: version 4, variant 1.
        self.id[6] = (self.id[6] & 0x0F) | 0x40
        self.id[8] = (self.id[8] & 0x3F) | 0x80


cdef class Operation:
    """Base of all operations."""

    cdef int write(self, mk_buffer *out, Connection connection) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int write_sections(self, mk_buffer *out, Connection connection) except -1:
        return 0

    cdef object read(self, Connection connection, mk_command_reply *reply):
        raise NotImplementedError(type(self).__name__)

    cdef bint tolerates(self, dict answer) except -1:
        return False

    cdef object tolerated_reply(self, Connection connection, dict answer):
        return answer

    cdef object unacknowledged_result(self):
        return None

    cdef object finish(self, object result):
        return result


cdef class ReauthenticationRequired:

    def __init__(self, dict answer):
        self.answer = answer


cdef class PendingCursor:

    def __init__(
        self,
        Namespace namespace not None,
        int64_t cursor_id,
        ServerSession session,
        Pool pool not None,
    ):
        self.namespace = namespace
        self.id = cursor_id
        self.session = session
        self.pool = pool
        self.since_ns = monotonic_ns()


cdef class Executor:
    """Carries out operations on the server that `topology` selects."""

    def __cinit__(self):
        mk_buffer_init(&self.cluster_time)

    def __dealloc__(self):
        mk_buffer_free(&self.cluster_time)

    def __init__(
        self,
        topology,
        *,
        bint retry_reads,
        bint retry_writes,
        bint direct=False,
        bytes server_api=None,
        explain=None,
        make_maintenance=None,
    ):
        self.topology = topology
        self.direct = direct
        self.retry_reads = retry_reads
        self.retry_writes = retry_writes
        self.server_api = server_api
        self.explain = explain
        self.make_maintenance = make_maintenance
        self._forget()
        call_after_fork(self)

    cdef int _forget(self) except -1:
        """Let go of sessions and cursors, without a word to the server."""
        self.latest = None
        self.sessions = []
        self.abandoned = []
        self.postponed = []
        self.housekeeping = RLock()
        return 0

    def reset_after_fork(self):
        """In a forked child: the parent's server sessions and cursors are not ours to use."""
        self.forks += 1
        self._forget()
        self.pool = None
        self.topology.reset_after_fork()

    # -- running ---------------------------------------------------------------------------

    cdef object execute(self, Operation operation):
        """Carry `operation` out, trying each of its messages once more where that is allowed."""
        cdef object first_error = None
        cdef bint done = False
        try:
            while True:
                try:
                    result = self._once(operation)
                except MongoError as error:
                    if operation.opened:
                        self._abandon_opened(operation)
                    if self._give_up(operation, error, first_error):
                        raise
                    first_error = error
                    operation.retried = True
                    continue
                if not operation.more:
                    result = operation.finish(result)
                    done = True
                    return result
                operation.txn_number = 0
                operation.retried = False
                first_error = None
        finally:
            if not done and operation.opened:
                # It is open on the server, and the caller will not learn of it.
                self._abandon_opened(operation)
            if operation.session is not None and not operation.keeps_session:
                self.give_session(operation.session)
                operation.session = None

    cdef object _once(self, Operation operation):
        """Send the operation's next message and take in the reply."""
        cdef Connection connection
        cdef Pool pool = operation.pool if operation.pinned else self.pool
        operation.sent = False
        if pool is None:
            pool = self._select()
        operation.pool = pool
        operation.generation = pool.generation
        connection = pool.checkout()
        operation.generation = connection.generation
        try:
            self.encode(operation, connection)
            if operation.nothing_to_send:
                return operation.unacknowledged_result()
            operation.sent = True
            connection.send(operation.deadline_ns)
            if operation.unacknowledged:
                return operation.unacknowledged_result()
            connection.receive(operation.deadline_ns)
            result = self.decode(operation, connection)
            if type(result) is ReauthenticationRequired:
                result = self._reauthenticate(operation, connection, result)
            return result
        finally:
            if connection.stream.closed and operation.session is not None:
                operation.session.dirty = True
            pool.checkin(connection)

    cdef object _reauthenticate(self, Operation operation, Connection connection, object asked):
        """Log in on the connection again, as the server `asked`, and send the message once more
        (auth.md, "Reauthentication"): whatever the operation, as it was not carried out."""
        from mongokey.connection.establish import log_in_again

        log_in_again(connection, operation.deadline_ns)
        self.encode(operation, connection)
        if operation.nothing_to_send:
            return operation.unacknowledged_result()
        connection.send(operation.deadline_ns)
        connection.receive(operation.deadline_ns)
        result = self.decode(operation, connection)
        if type(result) is ReauthenticationRequired:
            answer = (<ReauthenticationRequired>result).answer
            raise_command_error(answer, connection.max_wire_version)
        return result

    cdef Pool _select(self):
        if self.closed:
            raise InvalidOperation("Cannot use MongoClient after close")
        self.pool = <Pool>self.topology.select()
        return self.pool

    # -- messages: no I/O below, shared by the blocking and the asyncio runner ------------------

    cdef int encode(self, Operation operation, Connection connection) except -1:
        """Write the operation's next message into the connection's buffer."""
        cdef mk_buffer *out = &connection.out
        cdef size_t body = 0
        cdef ServerSession session
        connection.begin(MK_MORE_TO_COME if operation.unacknowledged else 0)
        check(mk_bson_begin(out, &body))
        operation.write(out, connection)
        # An unacknowledged command may not carry an implicit session.
        if connection.supports_sessions and not (
            operation.sessionless or operation.unacknowledged
        ):
            session = operation.session
            if session is None:
                session = operation.session = self.take_session(connection.session_timeout_ns)
            self._write_session(out, operation, session, connection)
        if connection.supports_cluster_time and self.cluster_time.size:
            check(mk_buffer_append(out, b"\x03$clusterTime\0", 14))
            check(mk_buffer_append(out, self.cluster_time.data, self.cluster_time.size))
        if operation.read_concern is not None:
            put(out, operation.read_concern)
        if operation.write_concern is not None:
            put(out, operation.write_concern)
        if operation.read_preference is not None:
            put(out, operation.read_preference)
        elif self.direct and connection.is_member and not operation.writes:
            put(out, PRIMARY_PREFERRED)
        if self.server_api is not None and not operation.own_api:
            put(out, self.server_api)
        put(out, operation.namespace.db_element)
        check(mk_bson_end(out, body))
        if out.size - body > <size_t>connection.max_bson_size + COMMAND_RESERVE:
            raise DocumentTooLarge(
                f"the command has {out.size - body} bytes; the server takes at most "
                f"{connection.max_bson_size + COMMAND_RESERVE}"
            )
        operation.write_sections(out, connection)
        if not operation.nothing_to_send:
            connection.finish()
        return 0

    cdef int _write_session(
        self, mk_buffer *out, Operation operation, ServerSession session, Connection connection
    ) except -1:
        put(out, LSID_HEAD)
        check(mk_buffer_append(out, session.id, 16))
        check(mk_buffer_append(out, b"\0", 1))
        if operation.retryable_write and self.retry_writes and connection.supports_retryable_writes:
            if operation.txn_number == 0:
                session.txn_number += 1
                operation.txn_number = session.txn_number
            check(mk_bson_int64(out, "txnNumber", 9, operation.txn_number))
        return 0

    cdef object decode(self, Operation operation, Connection connection):
        """What the reply in the connection's buffer means for the operation."""
        cdef mk_command_reply reply
        check(mk_read_command_reply(connection.reply.body, connection.reply.body_size, &reply))
        if reply.cluster_timestamp > self.cluster_timestamp:
            # Written anew, of its known fields: what else a server put in is not passed on.
            self.cluster_time.size = 0
            self.cluster_timestamp = reply.cluster_timestamp
            check(mk_write_cluster_time(
                &self.cluster_time, reply.cluster_time, reply.cluster_time_size
            ))
        if not reply.ok:
            answer = decode_reply(connection, _default)
            if (
                answer.get("code") == REAUTHENTICATION_REQUIRED
                and connection.login is not None
                and not operation.sessionless  # endSessions: not worth a login
            ):
                return ReauthenticationRequired(answer)
            if operation.tolerates_errors and operation.tolerates(answer):
                return operation.tolerated_reply(connection, answer)
            hint = None
            if self.explain is not None:
                hint = self.explain(answer, connection.address, operation.namespace.database)
            raise_command_error(answer, connection.max_wire_version, hint)
        return operation.read(connection, &reply)

    # -- failures -------------------------------------------------------------------------------

    cdef bint _give_up(self, Operation operation, error, first_error) except -1:
        """Note what `error` says of the server; True if it ends the operation.

        With `first_error` set this is the second failure: where the specifications want the
        first to be seen, it is raised here.
        """
        cdef bint network = isinstance(error, ConnectionFailure)
        cdef bint retryable
        if isinstance(error, (WaitQueueTimeoutError, ServerSelectionTimeoutError)):
            if first_error is not None and (
                operation.retryable_write or isinstance(error, ServerSelectionTimeoutError)
            ):
                raise first_error from error
            return True
        if network and operation.pool is not None:
            self.handle_application_error(operation, error)
        if operation.txn_number and needs_retryable_write_label(error, operation.pool):
            error._add_error_label("RetryableWriteError")
        if first_error is not None:
            # retryable-writes, "Determining Which Error to Return": what did not even begin to
            # write may not hide what perhaps wrote.
            if error.has_error_label("NoWritesPerformed") or (
                operation.retryable_write and not operation.sent
            ):
                raise first_error from error
            return True
        if self.closed or operation.unacknowledged or operation.pinned:
            return True
        if operation.retryable_read and self.retry_reads:
            retryable = network or (
                isinstance(error, OperationFailure) and error.code in RETRYABLE_CODES
            )
        elif operation.retryable_write and self.retry_writes:
            # What was never sent cannot have been written.
            retryable = error.has_error_label("RetryableWriteError") or (
                network and not operation.sent
            )
        else:
            retryable = False
        return not retryable

    cdef int handle_application_error(self, Operation operation, object error) except -1:
        """server-discovery-and-monitoring, "Error handling": what a failure means for a pool."""
        cdef Pool pool = operation.pool
        if operation.generation != pool.generation:
            return 0  # another failure was noted since; the pool is a new one
        if isinstance(error, NotPrimaryError):
            if code_in(error.details) in NODE_SHUTTING_DOWN_CODES:
                pool.clear()
        elif isinstance(error, NetworkTimeout) and operation.sent:
            return 0  # slow is not gone; but who cannot be reached in time is
        else:
            pool.clear()
        self.topology.forget(pool)
        if self.pool is pool:
            self.pool = None
        return 0

    # -- sessions and cursors -------------------------------------------------------------------

    cdef ServerSession take_session(self, int64_t timeout_ns):
        """An idle server session, or a new one (driver-sessions, "Server Session Pool")."""
        cdef ServerSession session = self.latest
        self.latest = None
        while session is not None or self.sessions:
            if session is None:
                session = <ServerSession>self.sessions.pop()
            if monotonic_ns() - session.last_used_ns < timeout_ns - MINUTE_NS:
                return session
            session = None
        session = ServerSession()
        session.forks = self.forks
        return session

    cdef list idle_sessions(self):
        if self.latest is not None:
            self.sessions.append(self.latest)
            self.latest = None
        return self.sessions

    cdef int give_session(self, ServerSession session) except -1:
        # What a cursor brought along from before a fork is the parent's to use again.
        if not session.dirty and not self.closed and session.forks == self.forks:
            session.last_used_ns = monotonic_ns()
            # A list that goes from empty to one and back is allocated each time.
            if self.latest is not None:
                self.sessions.append(self.latest)
            self.latest = session
        return 0

    cdef int expect_cursor(self) except -1:
        # Made now, since a destructor is no place for imports.
        if self.maintenance is None and self.make_maintenance is not None and not self.closed:
            self.maintenance = self.make_maintenance()
        return 0

    cdef int abandon(self, PendingCursor cursor) except -1:
        """Have a cursor killed beside the program, soon; safe in a destructor: no I/O here."""
        if not self.closed:
            self.abandoned.append(cursor)
            if self.maintenance is not None:
                self.maintenance.wake()
        return 0

    cdef int _abandon_opened(self, Operation operation) except -1:
        """The reply opened a cursor, and then the operation failed."""
        cdef Namespace namespace = operation.namespace
        cdef int64_t id = operation.opened
        session, operation.session = operation.session, None
        operation.keeps_session = False
        operation.opened = 0
        if operation.opened_collection is not None:
            namespace = Namespace(namespace.database, operation.opened_collection)
        self.expect_cursor()
        return self.abandon(PendingCursor(namespace, id, session, operation.pool))

    def close(self):
        """End the server sessions, as far as the server still answers, and close the pools."""
        if self.closed:
            return
        try:
            # With a keeper, a cursor may be on its way to be killed, its session with it.
            if self.idle_sessions() or self.maintenance is not None:
                end_on_server()(self, self.pool)
        finally:
            self.closed = True
            self._forget()
            self.pool = None
            self.topology.close()

    @property
    def has_abandoned(self):
        """Whether there are cursors on servers that are still to be killed."""
        return bool(self.abandoned or self.postponed)

# cython: language_level=3, boundscheck=False, wraparound=False
"""What one call of an operation goes through: server, connection, session, attempts, result.

It knows how a command message is put together, sessions, `$clusterTime`, reauthentication, and the
order in which the rules of `execution.rules` are asked. It does no I/O and has no clock: a runner
does what it says. It must not know single commands, nor how servers are found or connections made.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from mongokey._support.cdefs cimport MK_OK, mk_buffer, mk_buffer_reserve
from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.bson.bson_c cimport (
    MK_BSON_DOCUMENT,
    MK_BSON_TIMESTAMP,
    mk_bson_as_int64,
    mk_bson_begin,
    mk_bson_end,
    mk_bson_find,
    mk_bson_int32,
    mk_bson_int64,
    mk_bson_iter,
    mk_bson_value_size,
)
from mongokey.connection.connection cimport Connection
from mongokey.events.flags cimport PublisherFlags
from mongokey.execution.cursors cimport CursorBatch, PendingCursors, ServerCursor
from mongokey.execution.operation cimport (
    AS_GIVEN,
    AS_LEFT,
    COMMAND_RESERVE,
    IN_PART,
    NOTHING,
    WHOLE,
    CommandReply,
    Limits,
    MaxTime,
    Namespace,
    Operation,
    ServerCriteria,
    check,
    decode_reply,
    mk_command_reply,
    mk_cursor_reply,
    mk_read_command_reply,
    mk_read_cursor_reply,
    put,
)
from mongokey.pool.pool cimport Pool
from mongokey.sessions.server_session cimport ClusterTime, ServerSession, ServerSessionPool
from mongokey.wire.framing cimport MK_EXHAUST_ALLOWED, MK_MORE_TO_COME, next_request_id

from os import urandom
from sys import exc_info, is_finalizing

from mongokey._support.fork import call_after_fork
from mongokey._support.lazy import late_imports
from mongokey._support.server_errors import raise_command_error
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    DocumentTooLarge,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
)
from mongokey.execution.rules import (
    backoff_ns,
    error_to_raise,
    found_no_connection,
    is_overload,
    needs_reauthentication,
    needs_retryable_write_label,
    nothing_left,
    should_retry,
    should_retry_overload,
    timed_out,
    without_wtimeout,
)
from mongokey.execution.time_limits import be_asked, when_used

# The element `lsid: {id: <UUID>}` up to the 16 bytes of the UUID, and what follows them.
cdef bytes LSID_HEAD = (
    b"\x03lsid\0" + (4 + 4 + 4 + 1 + 16 + 1).to_bytes(4, "little")
    + b"\x05id\0" + (16).to_bytes(4, "little") + b"\x04"
)

cdef enum:
    LSID_SIZE = 36                          # of the whole element
    # A message of so many bytes is compressed while others who share the thread wait.
    COMPRESSED_AT_ONCE = 65536

assert len(LSID_HEAD) + 16 + 1 == LSID_SIZE

# server-selection, "Topology type: Single": without it a secondary refuses to be read.
cdef bytes PRIMARY_PREFERRED = (
    b"\x03$readPreference\0" + (4 + 6 + 4 + 17 + 1).to_bytes(4, "little")
    + b"\x02mode\0" + (17).to_bytes(4, "little") + b"primaryPreferred\0\0"
)

# server-selection.md, "$out and $merge": from MongoDB 5.0 on, secondaries take such aggregations.
cdef int SECONDARIES_WRITE_OUTPUT = 13

# From MongoDB 7.1 on a mongos sends one batch after the other.
cdef int MONGOS_STREAMS = 22


cdef extern from "mongokey/endian.h" nogil:
    uint64_t mk_load_u64(const void *p)


cdef int64_t take_out_number(
    mk_buffer *out, size_t body, const char *key, size_t key_len
) except -2:
    """Take the element `key` out of the document under construction at `body`: its value, -1 where
    there is none or it is no whole number."""
    cdef mk_bson_iter it
    cdef size_t at = body + 4, value
    cdef const uint8_t *end
    cdef int64_t size, number = -1
    while at < out.size:
        end = <const uint8_t *>memchr(out.data + at + 1, 0, out.size - at - 1)
        if end == NULL:
            break
        value = <size_t>(end - out.data) + 1
        size = mk_bson_value_size(out.data[at], out.data + value, out.size - value)
        if size < 0 or <size_t>size > out.size - value:
            break
        if value - at - 2 == key_len and memcmp(out.data + at + 1, key, key_len) == 0:
            it.type = out.data[at]
            it.key, it.key_len = key, key_len
            it.value, it.value_size = out.data + value, <size_t>size
            if not mk_bson_as_int64(&it, &number):
                number = -1
            value += <size_t>size
            memmove(out.data + at, out.data + value, out.size - value)
            out.size -= value - at
            return number
        at = value + <size_t>size
    return -1


def count_bound_sessions(int change):
    """One more session (1), or one less (-1), is bound to some context of this process."""
    global bound_sessions
    bound_sessions += change


def find_deadlines_by(function):
    """Have operations ask for their deadlines from now on."""
    global find_deadline
    find_deadline = function


when_used(find_deadlines_by)


cdef object out_of_turn(str event):
    return InvalidOperation(f"{event}() does not belong to the step that this execution is at")


def random_jitter():
    """A number from 0 to 1, without 1, for each backoff another one."""
    return int.from_bytes(urandom(4), "little") / 4294967296


# A count of retries that no call comes to.
MOST_RETRIES = 1_000_000

# The steps by name, for runners and tests in Python: `STEPS[execution.advance()]`.
STEPS = (
    "select server",
    "check out",
    "exchange",
    "send only",
    "authenticate",
    "sleep",
    "take pinned",
    "give way",
    "compress",
    "encrypt",
    "decrypt",
    "done",
)

# What an execution on idle connections results in when there was none.
NO_IDLE_CONNECTION = object()

cdef int bound_sessions = 0

# (timeoutMS, whether it is given, a cursor's lifetime) -> the deadline of what begins now, or None.
# None: no timeout of operations was ever asked for, which then cost nothing.
cdef object find_deadline = None

cdef enum:
    # States of an execution: what it has, or waits for.
    ENDED = 0                               # no operation: not begun, or over
    NEEDS_SERVER
    HAS_SERVER
    HAS_CONNECTION
    WRITES                                  # a part of the message is written
    AWAITS_REPLY
    AWAITS_OBSERVED_REPLY                   # the same, and somebody is to be told
    AWAITS_LOGIN
    BACKS_OFF
    ENCRYPTS
    IS_ENCRYPTED
    DECRYPTS
    IS_DECRYPTED
    FINISHED

    # client-side-encryption.md, "Size limits for Write Commands": what is written becomes longer.
    MOST_PLAIN = 2097152


cdef object begin_trace(Execution execution):
    """An operation begins whose client tells of commands: perhaps it traces, too."""
    cdef Operation operation = execution.operation
    tracing = execution.executor.publisher.tracing
    if tracing is not None:
        execution.under_way = tracing.begin(
            operation.command_name(),
            operation.namespace.database,
            operation.namespace.collection,
            operation.generic,
        )


cdef object told_of(Execution execution):
    """What is told of the command's end: it is over with that, unless it traces all of the
    operation."""
    under_way = execution.under_way
    if not under_way.lasts:
        execution.under_way = None
    return under_way


cdef object tell_end(Execution execution):
    """The execution is over, and somebody was to be told of a command, or of all of it."""
    cdef int state = execution.state
    under_way, execution.under_way = execution.under_way, None
    # First, as what is told may raise.
    execution.state = ENDED
    if under_way.lasts:
        error = None if state == FINISHED else exc_info()[1]
        under_way.over(error, execution.background)
    else:
        under_way.failed(exc_info()[1] or InvalidOperation("the operation was given up"))


cdef dict traced_of(Connection connection):
    """What a span says of the connection that its command goes on."""
    host, port = connection.address
    made = {
        "network.transport": "unix" if port is None else "tcp",
        "server.address": host,
        "db.mongodb.driver_connection_id": connection.id,
    }
    if port is not None:
        made["server.port"] = port
    if connection.hello is not None and connection.hello.connection_id is not None:
        made["db.mongodb.server_connection_id"] = connection.hello.connection_id
    return made


cdef class Executor:
    """What all executions of one client share. Carries out operations on the server that
    `topology` selects; how it waits is a subclass's matter."""

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
        PublisherFlags publisher=None,
        max_adaptive_retries=2,
        timeout=None,
    ):
        self.topology = topology
        if timeout is not None:
            self.timed = True
            self.timeout = Timeout.from_seconds(timeout, "timeoutMS")
            be_asked()
        self.selected = topology.selected
        self.direct = direct
        self.retry_reads = retry_reads
        self.retry_writes = retry_writes
        self.server_api = server_api
        self.max_adaptive_retries = min(max_adaptive_retries, MOST_RETRIES)
        self.jitter = random_jitter
        self.explain = explain
        self.publisher = PublisherFlags() if publisher is None else publisher
        self.sessions = ServerSessionPool()
        self.cluster_time = ClusterTime()
        self.pending = PendingCursors(make_maintenance)
        call_after_fork(self)

    def reset_after_fork(self):
        """In a forked child: the parent's sessions, cursors and connections are not ours to use."""
        self.sessions.reset_after_fork()
        self.pending.reset_after_fork()
        self.topology.reset_after_fork()

    cpdef object execute(self, Operation operation):
        """Carry out `operation`, trying each of its messages once more where that is allowed, and
        return its result. Raises `MongoError`s."""
        raise NotImplementedError(type(self).__name__)

    cpdef object execute_for_cursor(self, Operation operation, ServerCursor cursor):
        """Carry out `operation` on the server of `cursor`, in its session, and return the result.
        Raises `MongoError`s."""
        raise NotImplementedError(type(self).__name__)

    cpdef object execute_in(self, Operation operation, object session):
        """Carry out `operation` in an `ExplicitSession` of this client and return its result.
        Raises `MongoError`s."""
        raise NotImplementedError(type(self).__name__)

    cpdef object execute_with(self, Operation operation, ServerSession session):
        """Carry out `operation` with an implicit session that another one has left, and return its
        result. Raises `MongoError`s; the session is given back then."""
        raise NotImplementedError(type(self).__name__)

    def set_crypt(self, crypt, bint encrypts):
        """Have replies decrypted from now on, and with `encrypts` commands encrypted.

        `crypt` has ``encrypt(execution)`` and ``decrypt(execution)``, which end with
        `Execution.encrypted` and `Execution.decrypted`; on asyncio they return awaitables.
        """
        self.crypt = crypt
        self.encrypts = encrypts

    def unpin(self, transaction not None):
        """Free a transaction from the server, or the connection, that it is pinned to."""
        cdef Connection connection = transaction.connection
        cdef Pool server = transaction.server
        transaction.forget_pin()
        if connection is not None:
            server.transaction_count -= 1
            server.unpin(connection)

    def let_session_go(self, session not None):
        """A session was dropped without an end; does no I/O."""
        cdef ServerSession server_session = session._server_session
        cdef Connection connection = session._transaction.connection
        cdef ServerCursor pinned
        if connection is not None:
            # As a cursor that is pinned and no longer there.
            pinned = ServerCursor(Namespace("admin"), 0, None, session._transaction.server)
            pinned.connection = connection
            pinned.pinned = True
            session._transaction.connection = None
            pinned.server.transaction_count -= 1
            self.pending.defer(pinned)
        # The server still has a transaction that was not ended: its session is not used again.
        if server_session is not None and not session.in_transaction:
            self.sessions.give_back(server_session)

    cpdef object carry_out(self, object plan):
        """Carry out a plan, a generator of `OnIdle` and `Turn` steps, and return its result. What a
        step raises is thrown into the plan; so is what ends the wait, such as a Ctrl-C."""
        raise NotImplementedError(type(self).__name__)

    @property
    def has_pending_cursors(self):
        """Whether there are cursors on servers that are still to be killed."""
        return len(self.pending) > 0

    def limited_to(self, Timeout timeout, *, bint of_call=False):
        """The same executor with another timeoutMS: `timeout`, or (None) no limit. What it carries
        out shares servers, sessions and cursors with all others of the client.

        `of_call`: it was given to a single call, and not to a database, collection or session.
        """
        cdef Executor made
        cls = type(self)
        made = cls.__new__(cls)
        made.origin = self if self.origin is None else self.origin
        made.timed = True
        made.timeout = timeout
        made.of_call = of_call
        made.topology = self.topology
        made.selected = self.selected
        made.direct = self.direct
        made.retry_reads = self.retry_reads
        made.retry_writes = self.retry_writes
        made.server_api = self.server_api
        made.max_adaptive_retries = self.max_adaptive_retries
        made.jitter = self.jitter
        made.explain = self.explain
        made.publisher = self.publisher
        made.sessions = self.sessions
        made.cluster_time = self.cluster_time
        made.pending = self.pending
        made.crypt = self.crypt
        made.encrypts = self.encrypts
        be_asked()
        return made

    @property
    def has_own_limit(self):
        """Whether its timeoutMS was given by an argument, and not by the client's options."""
        return self.origin is not None

    cdef bint has_closed(self) noexcept:
        return self.is_closed if self.origin is None else self.origin.is_closed

    @property
    def closed(self):
        """Whether the client is closed."""
        return self.has_closed()

    def close(self):
        """Close every pool. Sessions and cursors are dropped without a word to their servers: that
        is `commands.housekeeping`'s to say before."""
        if self.origin is not None:
            self.origin.close()
        elif not self.is_closed:
            self.is_closed = True
            self.sessions.close()
            self.pending.close()
            self.topology.close()


@cython.final
cdef class Execution:
    """One call of `operation`; about `cursor`, it stays on that cursor's server; in the explicit
    `session`, that has a say."""

    def __init__(
        self,
        Executor executor not None,
        Operation operation not None,
        ServerCursor cursor=None,
        *,
        session=None,
        bint background=False,
    ):
        if self.state != ENDED:
            raise InvalidOperation("this execution has not ended")
        self.begin(executor, operation, cursor)
        if session is not None:
            self.join(session)
        self.background = background

    cdef int begin(self, Executor executor, Operation operation, ServerCursor cursor) except -1:
        if operation is None or operation.namespace is None:
            raise TypeError("an operation with a namespace is needed")
        if executor.selected is None or (cursor is not None and cursor.server is None):
            raise TypeError("the executor or the cursor was never initialized")
        self.executor = executor
        self.operation = operation
        self.background = self.in_parts = self.sent = self.reauthenticated = False
        self.deadline = None
        self.deprioritized = None
        self.txn_number = 0
        self.attempt = self.most_retries = 1
        if find_deadline is not None:
            # Before anything is taken that would have to be given back. Tracing has it set, too.
            self._take_deadline(executor, cursor)
            if executor.publisher.commands:
                begin_trace(self)
        self.state = NEEDS_SERVER
        self.reply.has_cursor = False
        if cursor is not None:
            self.cursor = cursor
            self.session, cursor.session = cursor.session, None
            self.server = cursor.server
            self.generation = self.server.generation
            self.state = HAS_SERVER
            if cursor.explicit is not None:
                cursor.sent = False
                self.join(cursor.explicit)
        return 0

    cdef int _take_deadline(self, Executor executor, ServerCursor cursor) except -1:
        cdef Deadline lifetime = None if cursor is None else cursor.lifetime
        self.deadline = find_deadline(executor.timeout, executor.timed, lifetime)
        if self.deadline is not None:
            # client-side-operations-timeout, "Retryability": as often as there is time for.
            self.most_retries = MOST_RETRIES
        return 0

    cdef int _note_round_trip(self) except -1:
        self.round_trip_ns = self.executor.topology.min_round_trip_ns(self.server.address)
        return 0

    cdef int join(self, object session) except -1:
        cdef Operation operation = self.operation
        session._begin_command(self.executor)
        if operation.unacknowledged:
            raise ConfigurationError(
                "an unacknowledged write (w=0) cannot be in a session: leave out session, or "
                "acknowledge it"
            )
        if operation.criteria is not None and session.in_transaction:
            raise InvalidOperation(
                "read preference in a transaction must be primary, not: "
                f"{operation.criteria.preference!r}"
            )
        operation.set_read_concern_apart()
        if self.under_way is not None:
            self.under_way.join(session._transaction)
        self.explicit = session
        if self.cursor is None:
            self._begin_attempt()
        return 0

    # -- what is to be done next ----------------------------------------------------------------

    cpdef int advance(self) except -1:
        """The next step, an index into `STEPS`. Raises what the operation's own rules are against,
        such as `DocumentTooLarge`."""
        cdef Pool server
        cdef int written
        if self.state == NEEDS_SERVER:
            # One that has failed is avoided, which the topology knows how to.
            if self.deprioritized is not None:
                return SELECT_SERVER
            server = self.executor.selected.pick(self.operation.criteria)
            if server is None:
                return SELECT_SERVER
            self.selected(server)
            return CHECK_OUT
        if self.state == HAS_CONNECTION or self.state == WRITES or self.state == IS_ENCRYPTED:
            if self.state != IS_ENCRYPTED:
                written = self._write_message()
                if written == IN_PART:
                    self.state = WRITES
                    return GIVE_WAY
                if written == NOTHING:
                    if self.explicit is not None:
                        self.explicit._transaction.not_looked_at()
                    self._finish(self.operation.unacknowledged_result())
                    return self.advance()
                if self.executor.encrypts and not (
                    self.operation.sessionless or self.background or self.connection.awaiting
                ):
                    self.state = ENCRYPTS
                    return ENCRYPT
            if self.deadline is not None:
                # "Command Execution": once more, as writing it may have taken long.
                self._time_left()
            self.state = AWAITS_REPLY
            self.sent = True
            if self.executor.publisher.commands:
                self._tell_started()
            if self.connection.awaiting:
                # It is on its way, unasked for: the message was for who listens.
                self.connection.request_id = self.streamed_id
                self.connection.out.size = 0
            elif self.connection.compresses and self._is_to_be_compressed():
                if self.in_parts and self.connection.out.size > COMPRESSED_AT_ONCE:
                    return COMPRESS
                self.connection.compress()
            return SEND_ONLY if self.operation.unacknowledged else EXCHANGE
        if self.state == FINISHED:
            return DONE
        if self.state == HAS_SERVER:
            if self._is_pinned():
                return TAKE_PINNED
            return CHECK_OUT
        if self.state == AWAITS_LOGIN:
            return AUTHENTICATE
        if self.state == BACKS_OFF:
            return SLEEP
        if self.state == ENCRYPTS:
            return ENCRYPT
        if self.state == DECRYPTS:
            return DECRYPT
        if self.state == ENDED:
            raise out_of_turn("advance")
        return SEND_ONLY if self.operation.unacknowledged else EXCHANGE

    # -- what was done --------------------------------------------------------------------------

    cpdef int selected(self, Pool server) except -1:
        """The topology has selected `server`."""
        if self.state != NEEDS_SERVER or server is None:
            raise out_of_turn("selected")
        self.server = server
        # Until there is a connection, a failure belongs to those that the pool makes now.
        self.generation = server.generation
        self.state = HAS_SERVER
        if self.deadline is not None:
            self._note_round_trip()
        return 0

    cpdef int checked_out(self, Connection connection, int64_t now_ns) except -1:
        """`connection` is for this execution alone; None in the background: none was idle."""
        if self.state != HAS_SERVER or (connection is None and not self.background):
            raise out_of_turn("checked_out")
        if connection is None:
            self.state = FINISHED
            self.result = NO_IDLE_CONNECTION if self.first_error is None else self.first_error
            return 0
        self.connection = connection
        self.generation = connection.generation
        self.now_ns = now_ns
        self.state = HAS_CONNECTION
        return 0

    cdef bint awaits_server(self) noexcept:
        # No other server has the cursor; but another one may give one that goes on.
        return self.cursor is not None and not self.cursor.replaceable

    cdef Connection pinned_connection(self):
        cdef object transaction
        cdef Connection connection
        if self.state != HAS_SERVER or not self._is_pinned():
            raise out_of_turn("pinned_connection")
        if self.cursor is not None and self.cursor.pinned:
            if self.cursor.forks != self.executor.sessions.forks:
                with late_imports:
                    from mongokey.execution.fork_causes import cursor_of_parent

                raise cursor_of_parent()
            return self.cursor.take_connection()
        transaction = self.explicit._transaction
        connection = transaction.connection
        if connection is None:
            raise InvalidOperation(
                "the connection that this session's transaction is pinned to is in use at this "
                "moment: a session is for one user at a time"
            )
        transaction.connection = None
        return connection

    cdef bint _is_pinned(self):
        """Whether it is carried out on a connection that is there for it."""
        cdef object transaction
        if self.cursor is not None and self.cursor.pinned:
            return True
        if self.explicit is None:
            return False
        transaction = self.explicit._transaction
        return transaction.pins_connection and transaction.active

    cpdef int authenticated(self) except -1:
        """The connection is logged in once more: the message is to be sent once more, whatever the
        operation, as it was not carried out (auth.md, "Reauthentication")."""
        if self.state != AWAITS_LOGIN:
            raise out_of_turn("authenticated")
        self.state = HAS_CONNECTION
        return 0

    cpdef int slept(self) except -1:
        """So much time as `backoff_ns` has passed."""
        if self.state != BACKS_OFF:
            raise out_of_turn("slept")
        return self._begin_attempt()

    cpdef int sent_only(self) except -1:
        """The message was sent, and no reply will come."""
        if self.state != AWAITS_REPLY:
            self.reply.body = NULL
            self._tell_received("sent_only")
        return self._finish(self.operation.unacknowledged_result())

    def received_reply(self, bytes document not None):
        """The reply has come: its document, in BSON. For runners in Python."""
        self.received(<const uint8_t *><const char *>document, <size_t>len(document))

    cdef int received(self, const uint8_t *body, size_t size) except -1:
        """The reply has come. Raises the server's error, or what is wrong with the reply."""
        cdef CommandReply *reply = &self.reply
        cdef object result
        cdef bint decrypted = False
        reply.body = body
        reply.size = size
        if self.state != AWAITS_REPLY:
            decrypted = self.state == IS_DECRYPTED
            if decrypted:
                # From here on, an error is one of the reply's reading.
                self.state = AWAITS_REPLY
            else:
                self._tell_received("received")
        check(mk_read_command_reply(body, size, &reply.fields))
        if reply.fields.cluster_timestamp > self.executor.cluster_time.timestamp:
            self.executor.cluster_time.advance(
                reply.fields.cluster_time,
                reply.fields.cluster_time_size,
                reply.fields.cluster_timestamp,
            )
        if self.explicit is not None:
            self._note_reply()
        reply.max_wire_version = self.connection.max_wire_version
        if self.executor.crypt is not None and reply.fields.ok and not (
            decrypted or self.operation.sessionless or self.background
        ):
            # The connection keeps the bytes of the reply as long as it is this execution's.
            self.document = (<const char *>body)[:size]
            self.state = DECRYPTS
            return 0
        if reply.fields.ok:
            reply.may_retry = self.txn_number != 0 and self.attempt <= self.most_retries
            result = self.operation.read(reply)
        else:
            result = self._read_error()
            if self.state == AWAITS_LOGIN:
                return 0
        if reply.has_cursor or type(result) is CursorBatch:
            self._note_cursor(result)
        return self._finish(result)

    cpdef int encrypted(self, bytes message) except -1:
        """`message`, with the length in its header still to be set, is to be sent in place of the
        one that was written; None: that one goes as it is."""
        cdef mk_buffer *out
        if self.state != ENCRYPTS:
            raise out_of_turn("encrypted")
        if message is not None:
            out = &self.connection.out
            if <size_t>len(message) > self.connection.max_message_size:
                raise DocumentTooLarge(
                    f"the encrypted command has {len(message)} bytes; the server accepts messages "
                    f"of at most {self.connection.max_message_size} (maxMessageSizeBytes)"
                )
            out.size = 0
            put(out, message)
            self.connection.finish()
        self.state = IS_ENCRYPTED
        return 0

    cpdef int decrypted(self, bytes document) except -1:
        """The reply is `document` in clear; None: nothing in it was encrypted. Raises what
        `received` does."""
        if self.state != DECRYPTS:
            raise out_of_turn("decrypted")
        if document is not None:
            self.document = document
        self.state = IS_DECRYPTED
        return self.received(
            <const uint8_t *>PyBytes_AS_STRING(self.document), <size_t>len(self.document)
        )

    cpdef object failed(self, object error):
        """A step, or a rule of the operation, has failed with `error`, a `MongoError`.

        Notes what that says of the server. Returns None if the operation is to be tried once more,
        and otherwise what the caller gets: `error`, or the first attempt's.
        """
        cdef bint selecting = self.state == NEEDS_SERVER
        cdef object service_id = None if self.connection is None else self.connection.service_id
        if self.state == ENDED:
            raise out_of_turn("failed")
        if self.state == DECRYPTS:
            self._note_sealed_cursor()
        self._note_cursor(None)
        if self.sent and self.connection is not None and isinstance(error, AutoReconnect):
            self._explain_loss(error)
        # First: a connection of a pool that is cleared is not handed to the next.
        if self.sent and not (self.background or selecting or found_no_connection(error)):
            # Where a connection could not be made, the pool has told so itself.
            self.executor.topology.handle_application_error(
                self.server, error, self.generation, self.sent, service_id
            )
        self._release_connection()
        if self.abandoned is not None:
            self._kill_abandoned()
        if self.under_way is not None:
            self._tell_failed(error)
        if self.background:
            # A connection that was dead before says nothing about the others. An answer does.
            if (
                isinstance(error, AutoReconnect)
                and not isinstance(error, (NetworkTimeout, NotPrimaryError))
                and not (self.cursor is not None and self.cursor.pinned)
            ):
                self.first_error = error
                self.sent = False
                self.state = HAS_SERVER
                return None
            return error
        if not selecting:
            if self.executor.topology.avoids_after(error):
                if self.deprioritized is None:
                    self.deprioritized = []
                self.deprioritized.append(self.server.address)
        if self.txn_number and needs_retryable_write_label(error, self._max_wire_version()):
            error._add_error_label("RetryableWriteError")
        if self.explicit is not None:
            self.explicit._failed(error)
        if not self._is_to_be_retried(error):
            return self._error_of(error, False)
        if self.deadline is not None and self.deadline.passed():
            return self._error_of(error, True)
        if is_overload(error):
            self.backoff_ns = backoff_ns(error, self.attempt, self.executor.jitter())
            if self.deadline is not None and self.backoff_ns >= self.deadline.left_ns():
                # client-backpressure.md: nobody waits for what is too late then.
                return self._error_of(error, False)
            self.state = BACKS_OFF
        if self.first_error is None or not error.has_error_label("NoWritesPerformed"):
            self.first_error = error
        if self.state == BACKS_OFF:
            if self.explicit is not None:
                self.explicit._transaction.not_looked_at()
        else:
            self._begin_attempt()
        self.attempt += 1
        self.sent = self.reauthenticated = False
        return None

    cdef object _error_of(self, error, bint is_over):
        """What the caller gets for the last attempt's `error`. `is_over`: there would be another
        attempt, if there was time for it."""
        cdef object chosen = error_to_raise(
            error,
            self.first_error,
            retryable_write=self.operation.retryable_write,
            sent=self.sent,
        )
        # "Errors": where the time is over, one of time.
        if self.deadline is not None and (is_over or (chosen is not error and error.timeout)):
            return timed_out(chosen, self.deadline)
        return chosen

    cdef object _explain_loss(self, error):
        """Say where the connection had been idle for long. What a cursor pinned is not the pool's
        meanwhile; one that was never idle was made for this call."""
        if self.connection.idle_since_ns == 0 or (self.cursor is not None and self.cursor.pinned):
            return
        if is_finalizing():
            return  # nothing can be imported any more
        with late_imports:
            from mongokey.pool.causes import explain_idle

        explain_idle(error, self.now_ns - self.connection.idle_since_ns)

    cdef object _is_to_be_retried(self, error):
        """Whether the attempt that failed with `error` is followed by another one."""
        cdef Operation operation = self.operation
        cdef Executor executor = self.executor
        cdef bint retry_writes = executor.retry_writes
        cdef bint in_transaction = False
        if self.explicit is not None and self.explicit.in_transaction:
            # Of a transaction, only the end is tried once more, whatever the client's options.
            in_transaction = self.explicit._transaction.ending is None
            retry_writes = True
        if is_overload(error):
            self.most_retries = executor.max_adaptive_retries
        if executor.has_closed() or operation.unacknowledged or self.attempt > self.most_retries:
            return False
        if self.cursor is None and not in_transaction and should_retry(
            error,
            retryable_read=operation.retryable_read and executor.retry_reads,
            retryable_write=operation.retryable_write and retry_writes,
            sent=self.sent,
        ):
            return True
        return should_retry_overload(
            error,
            reads=operation.retryable_read or self.cursor is not None,
            writes=operation.retryable_write or operation.writes,
            retry_reads=executor.retry_reads,
            retry_writes=executor.retry_writes if in_transaction else retry_writes,
        )

    cdef int _begin_attempt(self) except -1:
        """What the next attempt begins with: a server, which a cursor has, and a transaction that
        is pinned to one."""
        self.state = NEEDS_SERVER
        if self.explicit is not None and self.cursor is None:
            transaction = self.explicit._transaction
            if transaction.server is not None and transaction.active:
                self.selected(<Pool?>transaction.server)
                return 0
        if self.cursor is not None:
            self.generation = self.server.generation
            self.state = HAS_SERVER
        return 0

    cpdef int end(self) except -1:
        """The end, whatever came to pass: connection and session go back to their owners."""
        cdef ServerSession session
        cdef ServerCursor cursor = self.cursor
        if self.state == ENDED:
            return 0
        if self.connection is not None:
            # The step under way was ended by what is no `MongoError`, such as a Ctrl-C.
            if self.state == DECRYPTS:
                self._note_sealed_cursor()
            self._note_cursor(None)
            self._release_connection()
            if self.abandoned is not None:
                self._kill_abandoned()
        session = self.session
        self.session = None
        if cursor is not None:
            cursor.sent = self.sent
            if cursor.id != 0:
                cursor.session, session = session, None
            self.cursor = None
        if self.explicit is not None:
            self.explicit = None
        if session is not None:
            self.executor.sessions.give_back(session)
        self.executor = None
        self.operation = None
        self.server = None
        self.result = None
        if self.document is not None:
            self.document = None
        if self.first_error is not None:
            self.first_error = None
        if self.under_way is not None:
            tell_end(self)
        self.state = ENDED
        return 0

    @property
    def message(self):
        """The message to be sent, a bytes object. For runners in Python."""
        cdef mk_buffer *out
        if self.connection is None:
            return b""
        out = &self.connection.out
        return (<char *>out.data)[:out.size]

    @property
    def plain_command(self):
        """Of the message to be encrypted: (database, bytes of the body that the operation itself
        has written, from its beginning; the rest is the driver's own)."""
        if self.state != ENCRYPTS:
            raise out_of_turn("plain_command")
        return self.operation.namespace.database, self.own_size

    @property
    def sealed_reply(self):
        """The reply to be decrypted, a bytes object."""
        return self.document

    # -- events: methods of Python, so that they are no part of the path that has none -------

    @property
    def operation_id(self):
        """The number that all attempts have in events and log records, made when it is asked for.
        """
        if self.operation.operation_id == 0:
            self.operation.operation_id = next_request_id()
        return self.operation.operation_id

    cdef object _tell_started(self):
        """The message in the connection's buffer is going to be sent."""
        cdef Operation operation = self.operation
        cdef Connection connection = self.connection
        cdef mk_buffer *out = &connection.out
        message = (<char *>out.data)[:out.size]
        hello = connection.hello
        self.state = AWAITS_OBSERVED_REPLY
        under_way = self.executor.publisher.command(
            operation.command_name(),
            operation.namespace.database,
            request_id=connection.request_id,
            operation_id=self.operation_id,
            address=connection.address,
            connection_id=connection.id,
            server_connection_id=None if hello is None else hello.connection_id,
            service_id=connection.service_id,
        )
        if self.under_way is None:
            self.under_way = under_way
            under_way.started(message)
        else:
            self.under_way.started(under_way, message, traced_of(connection), self.background)

    cdef object _tell_received(self, str event):
        """The reply has come, or none will; raises where none was awaited."""
        cdef mk_command_reply fields
        if self.state != AWAITS_OBSERVED_REPLY:
            raise out_of_turn(event)
        if self.reply.body == NULL:
            told_of(self).succeeded(None)
            return
        check(mk_read_command_reply(self.reply.body, self.reply.size, &fields))
        reply = (<const char *>self.reply.body)[:self.reply.size]
        under_way = told_of(self)
        if fields.ok:
            under_way.succeeded(reply)
        else:
            under_way.refused(reply)

    cdef object _tell_failed(self, error):
        """No reply was read, since `error` came between. Everything is given back by now."""
        told_of(self).failed(error)

    # -- messages -------------------------------------------------------------------------------

    cdef int _write_message(self) except -1:
        """Write the operation's next message, or its next part, into the connection's buffer."""
        cdef Executor executor = self.executor
        cdef Operation operation = self.operation
        cdef Connection connection = self.connection
        cdef mk_buffer *out = &connection.out
        cdef size_t body = 0
        cdef Limits limits
        self._set_limits(&limits)
        if self.state == WRITES:
            return self._write_sections(&limits)
        connection.begin(self._message_flags())
        check(mk_bson_begin(out, &body))
        operation.write(out, &limits)
        if self.deadline is not None:
            self._write_max_time(out, body)
        self.own_size = out.size - body
        if self.explicit is not None:
            self._write_explicit_session(out)
        else:
            # driver-sessions: an unacknowledged command may not carry an implicit session.
            if connection.supports_sessions and not (
                operation.sessionless or operation.unacknowledged
            ):
                self._write_session(out)
            if connection.supports_cluster_time and executor.cluster_time.timestamp:
                executor.cluster_time.write(out)
            if operation.read_concern is not None:
                put(out, operation.read_concern)
        if operation.write_concern is not None:
            if self.deadline is None:
                put(out, operation.write_concern)
            else:
                put(out, self._without_wtimeout(operation.write_concern))
        if operation.criteria is not None:
            self._write_read_preference(out)
        elif executor.direct and connection.is_member and not (
            operation.writes or operation.own_read_preference
        ):
            put(out, PRIMARY_PREFERRED)
        if executor.server_api is not None and not operation.own_api:
            put(out, executor.server_api)
        put(out, operation.namespace.db_element)
        check(mk_bson_end(out, body))
        if out.size - body > <size_t>limits.max_bson_size + COMMAND_RESERVE:
            raise DocumentTooLarge(
                f"the command has {out.size - body} bytes; the server takes at most "
                f"{limits.max_bson_size + COMMAND_RESERVE}"
            )
        return self._write_sections(&limits)

    cdef uint32_t _message_flags(self) except? 0xFFFFFFFF:
        cdef Connection connection = self.connection
        if self.operation.unacknowledged:
            return MK_MORE_TO_COME
        if not self.operation.exhaust:
            return 0
        if self.executor.crypt is not None:
            raise InvalidOperation("exhaust cursors do not support auto encryption")
        if connection.awaiting:
            self.streamed_id = connection.request_id
        if self.cursor is not None:
            return MK_EXHAUST_ALLOWED
        if (
            connection.hello is not None
            and connection.hello.is_mongos
            and connection.max_wire_version < MONGOS_STREAMS
        ):
            raise InvalidOperation("Exhaust cursors require MongoDB 7.1+ when connected to mongos.")
        return 0

    cdef bint _is_to_be_compressed(self) except -1:
        return self.connection.compression.allows(self.operation.command_name())

    cdef int64_t _time_left(self) except -1:
        """The nanoseconds that a server may take: what is left of the deadline, less a round trip.
        Raises `ExecutionTimeout` when nothing is left."""
        cdef int64_t left_ns
        if self.background:
            return 0  # its deadline is one of waits
        left_ns = self.deadline.left_ns()
        if left_ns <= self.round_trip_ns:
            raise nothing_left(
                self.connection.peer,
                self.deadline,
                left_ns,
                self.round_trip_ns,
                self.connection.max_wire_version,
            )
        return left_ns - self.round_trip_ns

    cdef int _write_max_time(self, mk_buffer *out, size_t body) except -1:
        """Append `maxTimeMS` (client-side-operations-timeout, "Command Execution"), in place of the
        one that the command has itself."""
        cdef int64_t most_ms, given
        cdef MaxTime kind = self.operation.max_time
        if self.background:
            return 0
        if self.cursor is not None:
            self._note_round_trip()
        # A server takes 0 for no limit.
        most_ms = max(self._time_left() // 1_000_000, 1)
        given = take_out_number(out, body, b"maxTimeMS", 9)
        if kind == AS_LEFT:
            # More than that is more than servers take.
            if most_ms <= INT32_MAX:
                check(mk_bson_int32(out, "maxTimeMS", 9, <int32_t>most_ms))
        elif kind == AS_GIVEN and given >= 0:
            check(mk_bson_int64(out, "maxTimeMS", 9, min(given, most_ms)))
        return 0

    cdef bytes _without_wtimeout(self, bytes elements):
        """Deprecated options do not count where there is a deadline of the operation."""
        return elements if self.background else without_wtimeout(elements)

    cdef int _set_limits(self, Limits *limits) except -1:
        cdef Connection connection = self.connection
        limits.max_message_size = connection.max_message_size
        limits.max_bson_size = connection.max_bson_size
        limits.max_write_batch_size = connection.max_write_batch_size
        limits.max_wire_version = connection.max_wire_version
        limits.in_parts = self.in_parts
        limits.batch_size = limits.max_message_size
        if self.executor.encrypts:
            limits.batch_size = min(limits.batch_size, <size_t>MOST_PLAIN)
        return 0

    cdef int _write_sections(self, const Limits *limits) except -1:
        cdef Connection connection = self.connection
        cdef int written = self.operation.write_sections(&connection.out, limits)
        if written == WHOLE:
            connection.finish()
        return written

    cdef int _write_read_preference(self, mk_buffer *out) except -1:
        """server-selection.md, "Passing read preference to mongos and load balancers" and to
        members of a set; a standalone gets none."""
        cdef Connection connection = self.connection
        cdef ServerCriteria criteria = self.operation.criteria
        if criteria.element is None or not (
            connection.is_member or connection.supports_cluster_time
        ):
            return 0
        if criteria.output_stage and connection.max_wire_version < SECONDARIES_WRITE_OUTPUT:
            return 0  # it went to a primary
        return put(out, criteria.element)

    cdef int _write_session(self, mk_buffer *out) except -1:
        """Append `lsid`, and `txnNumber` for a write that may be sent again."""
        cdef Connection connection = self.connection
        cdef ServerSession session = self.session
        cdef uint8_t *at
        if session is None:
            session = self.executor.sessions.take(self.now_ns, connection.session_timeout_ns)
            self.session = session
        session.last_used_ns = self.now_ns
        check(mk_buffer_reserve(out, LSID_SIZE))
        at = out.data + out.size
        memcpy(at, PyBytes_AS_STRING(LSID_HEAD), LSID_SIZE - 17)
        memcpy(at + LSID_SIZE - 17, session.id, 16)
        at[LSID_SIZE - 1] = 0
        out.size += LSID_SIZE
        if (
            self.operation.retryable_write
            and self.executor.retry_writes
            and connection.supports_retryable_writes
        ):
            # The second attempt has the number of the first: the server knows it by that.
            if self.txn_number == 0:
                session.txn_number += 1
                self.txn_number = session.txn_number
            check(mk_bson_int64(out, "txnNumber", 9, self.txn_number))
        return 0

    # -- explicit sessions ------------------------------------------------------------------------

    cdef int _write_explicit_session(self, mk_buffer *out) except -1:
        """Append what the session has to say, and `$clusterTime`."""
        cdef Operation operation = self.operation
        cdef Connection connection = self.connection
        cdef ClusterTime seen = self.explicit._seen
        cdef bytes elements
        if not connection.supports_sessions:
            raise ConfigurationError(
                "Sessions are not supported by this MongoDB deployment: leave out session"
            )
        if (
            self.txn_number == 0
            and operation.retryable_write
            and self.executor.retry_writes
            and connection.supports_retryable_writes
        ):
            self.txn_number = -1
        elements, self.txn_number = self.explicit._elements(
            operation.command_name(),
            operation.generic,
            operation.read_concern,
            self.txn_number,
            connection.max_wire_version,
            self.now_ns,
            connection.session_timeout_ns,
        )
        if self.deadline is not None and self.explicit._transaction.ending is not None:
            elements = self._without_wtimeout(elements)
        put(out, elements)
        if self.explicit._transaction.active:
            self._pin_transaction()
        if connection.supports_cluster_time:
            if seen.timestamp < self.executor.cluster_time.timestamp:
                seen = self.executor.cluster_time
            seen.write(out)
        return 0

    cdef int _pin_transaction(self) except -1:
        """Pin the transaction to this mongos, or to this connection of a load balancer."""
        cdef object transaction = self.explicit._transaction
        if transaction.server is not None or self.connection.hello is None:
            return 0
        if self.server.load_balanced:
            if self.cursor is None:
                transaction.server = self.server
                transaction.pins_connection = True
                self.server.pin(self.connection)
                self.server.transaction_count += 1
        elif self.connection.hello.is_mongos:
            transaction.server = self.server
        return 0

    cdef int _note_reply(self) except -1:
        """Have the session take in what the reply says of times and of its transaction."""
        cdef CommandReply *reply = &self.reply
        cdef uint64_t operation_time = 0, at_cluster_time = 0
        cdef bytes recovery_token = None
        cdef mk_bson_iter it
        if (
            mk_bson_find(reply.body, reply.size, "operationTime", 13, &it) == MK_OK
            and it.type == MK_BSON_TIMESTAMP
        ):
            operation_time = mk_load_u64(it.value)
        if (
            mk_bson_find(reply.body, reply.size, "recoveryToken", 13, &it) == MK_OK
            and it.type == MK_BSON_DOCUMENT
        ):
            recovery_token = (<const char *>it.value)[:it.value_size]
        if (
            mk_bson_find(reply.body, reply.size, "atClusterTime", 13, &it) == MK_OK
            or (
                reply.fields.cursor != NULL
                and mk_bson_find(
                    reply.fields.cursor, reply.fields.cursor_size, "atClusterTime", 13, &it
                ) == MK_OK
            )
        ) and it.type == MK_BSON_TIMESTAMP:
            at_cluster_time = mk_load_u64(it.value)
        if reply.fields.cluster_time != NULL:
            (<ClusterTime?>self.explicit._seen).advance(
                reply.fields.cluster_time,
                reply.fields.cluster_time_size,
                reply.fields.cluster_timestamp,
            )
        self.explicit._answered(
            operation_time, at_cluster_time, recovery_token, bool(reply.fields.ok)
        )
        return 0

    cdef int _release_in_session(self, Connection connection) except -1:
        """Let the connection go; one that the transaction is pinned to stays with it."""
        cdef object transaction = self.explicit._transaction
        if connection.stream.closed:
            self.explicit._lost_connection()
        if self.cursor is not None and self.cursor.pinned:
            self.cursor.connection = connection
            if self.cursor.id == 0:
                self.cursor.unpin()
        elif transaction.pins_connection and transaction.server is self.server:
            transaction.connection = connection
        elif self.background:
            self.server.give_back(connection)
        else:
            self.server.checkin(connection)
        return 0

    cdef object _read_error(self):
        """What a reply with `ok: 0` means: a result, another login (AWAITS_LOGIN), or an error."""
        cdef Operation operation = self.operation
        cdef object hint = None
        cdef dict answer = decode_reply(&self.reply, None)
        if (
            self.connection.login is not None
            # These are not worth a login.
            and not (operation.sessionless or self.background)
            and needs_reauthentication(answer)
        ):
            if self.reauthenticated:
                raise_command_error(answer, self.reply.max_wire_version)
            self.reauthenticated = True
            self.state = AWAITS_LOGIN
            if self.explicit is not None:
                self.explicit._transaction.not_looked_at()
            return None
        if operation.allows_errors and operation.allows(answer):
            return operation.allowed_reply(&self.reply, answer)
        if self.executor.explain is not None:
            hint = self.executor.explain(
                answer, self.connection.address, operation.namespace.database
            )
        raise_command_error(answer, self.reply.max_wire_version, hint)

    cdef object _max_wire_version(self):
        """The server's, as its latest connection said; None where there was none."""
        if self.server is None or self.server.description is None:
            return None
        return self.server.description.max_wire_version

    # -- owners ---------------------------------------------------------------------------------

    cdef int _note_cursor(self, object result) except -1:
        """Take in what the reply says of a cursor. `result` is None if the operation failed
        nevertheless, or if nobody wants a cursor: what it opened is killed then."""
        cdef CommandReply *reply = &self.reply
        cdef CursorBatch batch
        cdef bint found = reply.has_cursor
        reply.has_cursor = False
        if self.cursor is not None:
            if found:
                self.cursor.id = reply.cursor.id
            return 0
        if type(result) is CursorBatch:
            batch = <CursorBatch>result
            batch.server = self.server
            if found and reply.cursor.id != 0:
                batch.cursor = self._opened_cursor()
        elif found and reply.cursor.id != 0:
            # It is open on the server, and the caller will not learn of it.
            self.abandoned = self._opened_cursor()
        return 0

    cdef int _kill_abandoned(self) except -1:
        """Have the cursor killed that nobody will learn of; once the connection is free, which that
        takes."""
        cdef ServerCursor cursor = self.abandoned
        self.abandoned = None
        self.executor.pending.defer(cursor)
        return 0

    cdef int _note_sealed_cursor(self) except -1:
        """A reply that cannot be decrypted may have opened a cursor, which is to be killed."""
        cdef CommandReply *reply = &self.reply
        cdef mk_cursor_reply cursor
        if self.document is None:
            return 0
        reply.body = <const uint8_t *>PyBytes_AS_STRING(self.document)
        reply.size = <size_t>len(self.document)
        if (
            mk_read_command_reply(reply.body, reply.size, &reply.fields) == MK_OK
            and reply.fields.cursor != NULL
            and mk_read_cursor_reply(reply.fields.cursor, reply.fields.cursor_size, &cursor)
            == MK_OK
        ):
            reply.cursor = cursor
            reply.has_cursor = True
        return 0

    cdef ServerCursor _opened_cursor(self):
        """The cursor of the reply; it takes the session along."""
        cdef ServerCursor cursor = ServerCursor(
            self.operation.cursor_namespace(&self.reply),
            self.reply.cursor.id,
            self.session,
            self.server,
        )
        cursor.forks = self.executor.sessions.forks
        cursor.explicit = self.explicit
        cursor.exhaust = self.operation.exhaust
        if (
            self.deadline is not None
            and not self.operation.tailable
            and self.deadline.timeout is self.executor.timeout
        ):
            # "Non-tailable Cursors": one time for all of it.
            cursor.lifetime = self.deadline
        if (
            (self.server.load_balanced or cursor.exhaust)
            and not self.connection.stream.closed
            and not (self.explicit is not None and self.explicit._transaction.pins_connection)
        ):
            cursor.pin(self.connection)
            self.connection = None
        self.session = None
        self.executor.pending.prepare()
        return cursor

    cdef int _finish(self, object result) except -1:
        self._release_connection()
        if self.abandoned is not None:
            self._kill_abandoned()
        self.result = result
        self.state = FINISHED
        return 0

    cdef int _release_connection(self) except -1:
        cdef Connection connection = self.connection
        if connection is None:
            return 0
        self.connection = None
        if self.explicit is not None:
            return self._release_in_session(connection)
        if connection.stream.closed and self.session is not None:
            # driver-sessions: the server may still be at the command.
            self.session.dirty = True
        if self.cursor is not None and self.cursor.pinned:
            self.cursor.connection = connection
            if self.cursor.id == 0:
                self.cursor.unpin()
        elif self.background:
            self.server.give_back(connection)
        else:
            self.server.checkin(connection)
        return 0

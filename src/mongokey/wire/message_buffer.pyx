# cython: boundscheck=False, wraparound=False
"""The messages of one connection: what is to be sent, and what was received so far.

Knows how a message is framed, which reply answers it, streams of replies (moreToCome) and the
limits on both. Must not know how bytes are moved: a blocking connection and an event loop do that,
each in its own way, with this in the middle.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy, memmove

from mongokey._support.cdefs cimport (
    MK_OK,
    mk_buffer,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
    mk_buffer_reserve,
    mk_buffer_shrink,
    mk_load_i32,
    mk_store_i32,
)
from mongokey.bson.codec cimport CodecContext, context_of, read_document, write_document
from mongokey.wire.framing cimport (
    MK_COMPRESSED_HEAD,
    MK_EXHAUST_ALLOWED,
    MK_HEADER_SIZE,
    MK_MORE_TO_COME,
    MK_OP_COMPRESSED,
    MK_OP_MSG,
    begin_message,
    check_header,
    end_message,
    mk_compressed,
    next_request_id,
    parse_compressed,
    parse_reply,
)

from mongokey.bson.codec_options import CodecOptions, DatetimeConversion
from mongokey.errors import InvalidBSON, InvalidOperation, ProtocolError

cdef extern from "mongokey/buffer.h" nogil:
    void mk_buffer_wipe_front(mk_buffer *b, size_t written)

cdef extern from *:
    """
    /* Large blocks of malloc begin 16 bytes behind the start of a page. To such an address AMD's
     * processors copy four times slower from the kernel (`rep movsb`) than to all others. */
    static void mk_buffer_realign(mk_buffer *b) {
    #if !defined(_WIN32)
        void *data;
        uintptr_t offset = (uintptr_t)b->data & 4095;
        if (b->capacity < 65536 || offset < 16 || offset >= 32) return;
        if (posix_memalign(&data, 64, b->capacity) != 0) return;
        memcpy(data, b->data, b->size);
        free(b->data);
        b->data = (uint8_t *)data;
    #else
        (void)b;
    #endif
    }
    """
    void mk_buffer_realign(mk_buffer *b) nogil

# How the server's own words are read, whatever the user's options: a text that was cut inside a
# character, or a date that Python has not, may not hide an error or a count.
LENIENT = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
cdef CodecContext _lenient = context_of(LENIENT)

# The limit that holds until the server's hello gives its own (wire protocol specification).
cdef size_t DEFAULT_MAX_MESSAGE = 48000000
# The longest answer to hello, which is kept: a set has 50 members at most, and nobody has proved
# who it is yet.
cdef size_t MAX_HELLO = 1024 * 1024
# First size of the read buffer: most replies come whole in one read of it.
cdef size_t READ_AHEAD = 16 * 1024
# A buffer that has grown past this is given back between commands, so that idle pools stay small...
cdef size_t TRIMMED_SIZE = 256 * 1024
# ...but not up to this size until so many messages were short: fresh memory costs a page fault for
# every 4 KiB, which is several times what copying them costs.
cdef size_t KEPT_SIZE = 4 * 1024 * 1024
cdef int SHORT_MESSAGES = 8

# What a handshake's command has beside a login's payload: metadata has 512 bytes at most.
cdef size_t HANDSHAKE = 3072

# Database name -> the element `$db` and the end of a command document.
cdef dict db_endings = {}


cdef class MessageBuffer:
    """The messages of one connection to `peer`."""

    def __cinit__(self):
        mk_buffer_init(&self.out)
        mk_buffer_init(&self.incoming)
        self.max_message_size = DEFAULT_MAX_MESSAGE
        self.max_reply_size = MAX_HELLO
        self.before_hello = True
        self.peer = ""

    def __dealloc__(self):
        mk_buffer_free(&self.out)
        mk_buffer_free(&self.incoming)

    def __init__(self, str peer not None):
        self.peer = peer

    # -- sending --------------------------------------------------------------------------------

    cdef int begin(self, uint32_t flags) except -1:
        """Start a message; the caller appends its body to `out`, then calls `finish`."""
        self.out.size = 0
        self.flags = flags
        self.request_id = next_request_id()
        self.message_start = begin_message(&self.out, self.request_id, flags)
        return 0

    cdef int finish(self) except -1:
        return end_message(&self.out, self.message_start, self.max_message_size)

    cdef int sent(self) except -1:
        """All of `out` was sent; a reply is to come unless the message wants none."""
        self.last_sent = self.out.size
        self.out.size = 0
        self.awaiting = not self.flags & MK_MORE_TO_COME
        return 0

    cdef int write_command(self, str database, object command, uint32_t flags) except -1:
        cdef Py_ssize_t body
        self.begin(flags)
        # So that it need not move once a secret is in it: what it left behind would not be wiped.
        if mk_buffer_reserve(&self.out, <size_t>payload_size(command) + HANDSHAKE) != MK_OK:
            raise MemoryError("no memory for a command")
        body = <Py_ssize_t>self.out.size
        write_document(&self.out, command, _lenient, False, False)
        # Reopen the document: over its final NUL comes `$db`.
        self.out.size -= 1
        name = db_endings.get(database)
        if name is None:
            encoded = database.encode()
            name = b"\x02$db\0" + (len(encoded) + 1).to_bytes(4, "little") + encoded + b"\0\0"
            if len(db_endings) < 16:  # handshakes go to `admin` and few others
                db_endings[database] = name
        if mk_buffer_append(&self.out, <const char *>name, len(name)) != MK_OK:
            raise MemoryError("no memory for a command")
        mk_store_i32(self.out.data + body, <int>(self.out.size - <size_t>body))
        return self.finish()

    # -- compressing ----------------------------------------------------------------------------

    cpdef int offer_compression(self, compression) except -1:
        self.compression = compression
        return 0

    cpdef int agree_on_compression(self, names) except -1:
        if self.compression is not None:
            self.compression = self.compression.common(names)
        self.compresses = self.compression is not None
        return 0

    cdef int compress(self) except -1:
        compressor, data = self.compression.compress(self.uncompressed())
        return self.put_compressed(compressor, data)

    cdef bytes uncompressed(self):
        """The message in `out`, without its header."""
        return (<char *>self.out.data)[MK_HEADER_SIZE:self.out.size]

    cdef int put_compressed(self, int compressor, bytes data) except -1:
        cdef size_t plain = self.out.size - MK_HEADER_SIZE
        cdef size_t size = MK_HEADER_SIZE + MK_COMPRESSED_HEAD + <size_t>len(data)
        cdef uint8_t *head
        if size > self.max_message_size:
            # What cannot be compressed gets longer, and may be as long as the server takes already.
            return 0
        if size > self.out.size and mk_buffer_reserve(
            &self.out, size - self.out.size
        ) != MK_OK:
            raise MemoryError(f"no memory for a message of {size} bytes")
        head = self.out.data
        mk_store_i32(head, <int32_t>size)
        mk_store_i32(head + MK_HEADER_SIZE, mk_load_i32(head + 12))
        mk_store_i32(head + 12, MK_OP_COMPRESSED)
        mk_store_i32(head + MK_HEADER_SIZE + 4, <int32_t>plain)
        head[MK_HEADER_SIZE + 8] = <uint8_t>compressor
        memcpy(head + MK_HEADER_SIZE + MK_COMPRESSED_HEAD, <const char *>data, <size_t>len(data))
        self.out.size = size
        return 0

    cdef bint holds_compressed(self):
        """Whether the message that was received whole is an OP_COMPRESSED."""
        return mk_load_i32(self.incoming.data + 12) == MK_OP_COMPRESSED

    cdef int inflate(self) except -1:
        cdef mk_compressed found
        parse_compressed(self.incoming.data, self.length, self.max_reply_size, &found)
        plain = self.compression.inflate(
            found.compressor, (<char *>found.data)[:found.data_size], found.size
        )
        return self.put_inflated(plain, found.opcode)

    cdef int put_inflated(self, bytes plain, int32_t opcode) except -1:
        # Behind it there may be the beginning of the next message.
        cdef size_t left = self.incoming.size - self.length
        cdef size_t size = MK_HEADER_SIZE + <size_t>len(plain)
        cdef uint8_t *data
        if size > self.length and mk_buffer_reserve(
            &self.incoming, size - self.length
        ) != MK_OK:
            raise MemoryError(f"no memory for a reply of {size} bytes")
        data = self.incoming.data
        memmove(data + size, data + self.length, left)
        memcpy(data + MK_HEADER_SIZE, <const char *>plain, <size_t>len(plain))
        mk_store_i32(data, <int32_t>size)
        mk_store_i32(data + 12, opcode)
        self.incoming.size = size + left
        self.length = size
        return 0

    # -- receiving ------------------------------------------------------------------------------

    cdef int begin_reply(self) except -1:
        cdef size_t left = self.incoming.size - self.message_size
        if left:
            # The rest of a stream of replies (moreToCome): bring it to the front.
            memmove(self.incoming.data, self.incoming.data + self.message_size, left)
        self.incoming.size = left
        self.message_size = self.length = 0
        return 0

    cdef Py_ssize_t missing(self) except -1:
        if self.length == 0:
            if self.incoming.size < <size_t>MK_HEADER_SIZE:
                if self.before_hello:
                    self._check_beginning()
                return MK_HEADER_SIZE - <Py_ssize_t>self.incoming.size
            self.length = <size_t>check_header(
                self.incoming.data, self.max_reply_size, self.compression is not None
            )
        if self.incoming.size >= self.length:
            return 0
        return <Py_ssize_t>(self.length - self.incoming.size)

    cdef int reserve(self) except -1:
        # There is less than a header, or less than `length`: the difference is above 0.
        cdef size_t wanted = self.length if self.length > READ_AHEAD else READ_AHEAD
        cdef size_t extra = wanted - self.incoming.size
        if mk_buffer_reserve(&self.incoming, extra) != MK_OK:
            raise MemoryError(f"no memory for a reply of {self.incoming.size + extra} bytes")
        mk_buffer_realign(&self.incoming)
        return 0

    cdef int end_reply(self) except -1:
        cdef size_t length
        if self.compression is not None and self.holds_compressed():
            self.inflate()
        length = self.length
        self.message_size = length
        if self.asked_id != 0 and mk_load_i32(self.incoming.data + 8) == self.asked_id:
            # OP_MSG, "moreToCome": a reply of a stream answers the one before. Some servers let
            # all answer the request; they are understood as by drivers that do not look.
            self.request_id = self.asked_id
        parse_reply(self.incoming.data, length, self.request_id, &self.reply)
        if self.reply.opcode != MK_OP_MSG:
            raise ProtocolError(
                f"{self.peer}: the server answered an OP_MSG with opcode {self.reply.opcode}"
            )
        if self.reply.flags & MK_MORE_TO_COME:
            if not self.flags & MK_EXHAUST_ALLOWED:
                raise ProtocolError(
                    f"{self.peer}: the server announces more replies (moreToCome), which nobody "
                    "asked for"
                )
            # The next reply of the stream answers this one.
            if self.asked_id == 0:
                self.asked_id = self.request_id
            self.request_id = self.reply.request_id
            return 0
        if self.incoming.size > length:
            raise ProtocolError(
                f"{self.peer}: the server sent {self.incoming.size - length} bytes after its reply "
                "that nobody asked for"
            )
        self.awaiting = False
        self.asked_id = 0
        return 0

    cdef int _check_beginning(self) except -1:
        """Raise at once where less than a header shows already that nobody speaks MongoDB here: a
        greeting, or an alert of TLS, may be short and the connection stay open."""
        cdef const uint8_t *data = self.incoming.data
        cdef size_t size = self.incoming.size
        cdef int32_t length
        if size < 4:
            return 0
        length = mk_load_i32(data)
        # RFC 8446, section 5.1 and 6: an alert's record, version 3.x, 2 bytes, level 1 or 2.
        if size >= 6 and data[0] == 0x15 and data[1] == 3 and data[3] == 0 and data[4] == 2 and (
            1 <= data[5] <= 2
        ):
            raise ProtocolError(f"{self.peer}: the server answered with an alert of TLS")
        if length < MK_HEADER_SIZE or <size_t>length > self.max_reply_size:
            raise ProtocolError(
                f"{self.peer}: invalid wire message: it begins with "
                f"{self._received(16).hex(' ')}, which is no length of a message"
            )
        return 0

    cdef bytes _received(self, size_t most):
        cdef size_t size = self.incoming.size - self.message_size
        return (<char *>self.incoming.data + self.message_size)[:min(size, most)] if size else b""

    cdef object read_body(self):
        try:
            return read_document(self.reply.body, self.reply.body_size, _lenient)
        except InvalidBSON as error:
            # Whoever answers a handshake like that speaks another language.
            raise ProtocolError(f"{self.peer}: {error}") from error

    cdef int trim_buffers(self) except -1:
        cdef bint sends = self.last_sent > TRIMMED_SIZE
        cdef bint receives = self.message_size > TRIMMED_SIZE
        if self.out.capacity <= TRIMMED_SIZE and self.incoming.capacity <= TRIMMED_SIZE:
            return 0
        # Between two long messages there may be a few short ones, such as for the next file.
        self.short_messages = 0 if sends or receives else self.short_messages + 1
        if self.short_messages >= SHORT_MESSAGES:
            return self.shrink_buffers()
        if self.out.capacity > KEPT_SIZE:
            self._give_back_out()
        if self.incoming.capacity > KEPT_SIZE:
            self._give_back_incoming()
        return 0

    cdef int shrink_buffers(self) except -1:
        if self.out.capacity > TRIMMED_SIZE:
            self._give_back_out()
        if self.incoming.capacity > TRIMMED_SIZE:
            self._give_back_incoming()
        return 0

    cdef int _give_back_out(self) except -1:
        self.out.size = 0
        mk_buffer_shrink(&self.out, TRIMMED_SIZE)
        return 0

    cdef int _give_back_incoming(self) except -1:
        if self.incoming.size == self.message_size:
            self.incoming.size = self.message_size = 0
            mk_buffer_shrink(&self.incoming, TRIMMED_SIZE)
        return 0

    @property
    def kept_memory(self):
        """How many bytes of memory the buffers take."""
        return self.out.capacity + self.incoming.capacity

    def received_bytes(self, Py_ssize_t most=16):
        """The first bytes, at most `most`, of a message that did not arrive whole."""
        return b"" if most < 0 else self._received(<size_t>most)

    def __repr__(self):
        return f"<{type(self).__name__} of {self.peer}>"


cdef class MessageExchange(MessageBuffer):
    """Commands and replies of one connection, as documents and bytes: moved by whoever uses it."""

    cdef bint receiving                     # a reply was begun and not yet taken

    def request(self, str database not None, command, *, bint exhaust=False, bint silent=False):
        """The bytes of a message with `command`, for which a reply is then awaited."""
        cdef bytes message
        cdef size_t written = <size_t>-1
        cdef uint32_t flags = MK_EXHAUST_ALLOWED if exhaust else 0
        if self.awaiting:
            raise InvalidOperation(f"{self.peer}: a reply is still to be received")
        try:
            self.write_command(database, command, flags | (MK_MORE_TO_COME if silent else 0))
            if self.compresses and self.compression.allows(next(iter(command), "")):
                self.compress()  # which may leave less than was there before: all is wiped
            else:
                written = self.out.size
            message = (<char *>self.out.data)[:self.out.size]
        finally:
            # It may hold a password or a token, and the buffer is kept.
            mk_buffer_wipe_front(&self.out, written)
        self.sent()
        return message

    @property
    def missing_bytes(self):
        """How many bytes of the reply are still to be received, at least; 0: it is whole."""
        if not self.receiving:
            self.begin_reply()
            self.receiving = True
        return self.missing()

    @property
    def awaits_reply(self):
        """Whether a reply, or the rest of a stream of them, is to come."""
        return self.awaiting

    def receive(self, data):
        """Take in `data`, bytes of the server's."""
        cdef Py_buffer view
        cdef int rc
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            rc = mk_buffer_append(&self.incoming, view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)
        if rc != MK_OK:
            raise MemoryError(f"no memory for {view.len} bytes of a reply")

    def reply(self):
        """The reply as a document, once `missing_bytes` is 0."""
        if self.missing_bytes:
            raise InvalidOperation(f"{self.peer}: the reply is not whole yet")
        self.receiving = False
        self.end_reply()
        return self.read_body()

    def accept_hello(self, size_t max_message_size, compressors=()):
        """The server is one of MongoDB: its `maxMessageSizeBytes` bounds messages both ways."""
        self.before_hello = False
        self.max_message_size = self.max_reply_size = max_message_size
        self.agree_on_compression(compressors)


cdef Py_ssize_t payload_size(object command) except -1:
    """The bytes of a login's message in a command, and in a hello that begins the login."""
    if type(command) is not dict:
        return 0
    payload = (<dict>command).get("payload")
    if payload is None:
        begun = (<dict>command).get("speculativeAuthenticate")
        payload = (<dict>begun).get("payload") if type(begun) is dict else None
    return len(<bytes>payload) if type(payload) is bytes else 0

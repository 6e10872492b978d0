# The messages of one connection, without the connection: the one being sent, the one being
# received. Whoever moves the bytes owns it; nothing here waits.
from libc.stdint cimport int32_t, uint32_t

from mongokey._support.cdefs cimport mk_buffer
from mongokey.wire.framing cimport mk_reply


cdef class MessageBuffer:
    # Both buffers are kept from message to message.
    cdef mk_buffer out                      # the message to be sent
    cdef mk_buffer incoming                 # bytes received: the current message, then the next's
    cdef size_t message_size                # bytes of `incoming` that are the current message
    cdef size_t length                      # of the message being received; 0: its header is not
    cdef size_t last_sent                   # bytes of the last message that was sent
    cdef int short_messages                 # so many since a long one, while it takes its memory
    cdef Py_ssize_t message_start           # where in `out` the message under construction starts
    cdef mk_reply reply                     # pointers into `incoming`, valid until the next message
    cdef int32_t request_id                 # of the message in `out`
    cdef uint32_t flags                     # and its flags
    cdef int32_t asked_id                   # of the one that a stream of replies answers; 0: none
    cdef bint awaiting                      # a reply, or the rest of a stream of them, is to come
    cdef bint before_hello                  # nothing says yet that the server speaks MongoDB
    cdef readonly str peer                  # the server, for errors
    # The server's limits, in bytes.
    cdef readonly size_t max_message_size
    cdef size_t max_reply_size
    # The compressors in which messages may come: offered, and after hello agreed on; None: none.
    cdef readonly object compression
    cdef bint compresses                    # one is agreed on: messages are sent compressed

    # -- sending: begin, append a body to `out`, finish, move all of `out`, sent

    cdef int begin(self, uint32_t flags) except -1
    cdef int finish(self) except -1
    cdef int sent(self) except -1
    # A whole message of one command document, for handshakes; to be wiped once it is sent.
    cdef int write_command(self, str database, object command, uint32_t flags) except -1

    # -- compressing

    # Takes messages in the compressors of `compression` (`wire.compression.Compression`) from now
    # on, the answer to hello too, which is to offer them.
    cpdef int offer_compression(self, compression) except -1
    # The server's hello names the compressors `names`.
    cpdef int agree_on_compression(self, names) except -1
    # Between `finish` and `sent`: `out` becomes an OP_COMPRESSED, where that may be sent.
    cdef int compress(self) except -1
    cdef bytes uncompressed(self)
    cdef int put_compressed(self, int compressor, bytes data) except -1
    cdef bint holds_compressed(self)
    # Instead of the OP_COMPRESSED that was received whole: the message in it.
    cdef int inflate(self) except -1
    cdef int put_inflated(self, bytes plain, int32_t opcode) except -1

    # -- receiving: begin_reply; while missing: read into `incoming`; end_reply

    # The message received before is done with; `reply` points nowhere from now on.
    cdef int begin_reply(self) except -1
    # The bytes still to be received of the message, at least; 0: it is whole. Raises ProtocolError.
    cdef Py_ssize_t missing(self) except -1
    # Memory behind `incoming` for the rest of the message, and more if there is more.
    cdef int reserve(self) except -1
    # Checks the message, that it answers the one sent and is what was asked for; fills `reply`.
    cdef int end_reply(self) except -1
    # The body as a document, read so that odd text cannot hide an error.
    cdef object read_body(self)

    # Gives back what memory a large message took: unless there was one just now, or always.
    cdef int trim_buffers(self) except -1
    cdef int shrink_buffers(self) except -1
    cdef int _give_back_out(self) except -1
    cdef int _give_back_incoming(self) except -1
    cdef int _check_beginning(self) except -1
    cdef bytes _received(self, size_t most)

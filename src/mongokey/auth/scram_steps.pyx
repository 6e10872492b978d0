# cython: language_level=3
"""The steps of one SCRAM login, which every new connection of a pool goes through.

Knows SCRAM's messages (RFC 5802, RFC 7677) and what MongoDB's auth.md asks of them. Does no I/O;
must not know how a password becomes keys: `scram` makes that work.
"""

from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from mongokey.auth.sasl cimport SaslReply, proceed, read, start
from mongokey.auth.scram_keys cimport Keys, mk_base64_encode, same

from mongokey._support.server_errors import raise_command_error
from mongokey.auth.errors import AuthenticationFailed, ServerProofError
from mongokey.auth.keycache import KeyCache


cdef extern from "mongokey/scram.h" nogil:
    ctypedef struct mk_scram_value:
        const uint8_t *at
        size_t size
    ctypedef struct mk_scram_first:
        mk_scram_value nonce
        mk_scram_value salt
        uint64_t iterations
    ctypedef struct mk_scram_final:
        mk_scram_value signature
        mk_scram_value error
    bint mk_scram_read_first(const uint8_t *p, size_t size, mk_scram_first *out)
    bint mk_scram_read_final(const uint8_t *p, size_t size, mk_scram_final *out)


cdef enum:
    # auth.md: a lower count is what a man in the middle would ask for.
    FEWEST_ITERATIONS = 4096
    # What holds even without a deadline: one or two seconds of a processor with SHA instructions.
    # A server that could ask for more could keep it busy for minutes with one message. A login with
    # a deadline ends by that, and before the work where it cannot be done in time.
    MOST_ITERATIONS = 10000000
    # 192 random bits; 32 letters of base64.
    RANDOM_BYTES = 24
    NONCE_LETTERS = 32
    LONGEST_FIRST = 4096

MIN_ITERATIONS = FEWEST_ITERATIONS
MAX_ITERATIONS = MOST_ITERATIONS
NONCE_BYTES = RANDOM_BYTES
MAX_SERVER_FIRST = LONGEST_FIRST

# "n,," = no channel binding, no authorization identity; "biws" is its base64.
cdef bytes GS2_HEADER = b"n,,"
cdef bytes CHANNEL = b"c=biws,r="

cdef dict OPTIONS = {"skipEmptyExchange": True}


cdef class ScramState:
    """What logins with one secret by one mechanism share: keys, and the name as it is sent."""

    def __cinit__(self):
        self.keys = KeyCache()


cdef class ScramSteps:
    """One SCRAM login; `scram.ScramConversation` adds the derivation of keys.

    `max_iterations` is the most a server may ask for; `_nonce` fixes the client's nonce and is
    for tests with the RFCs' vectors.
    """

    def __init__(
        self,
        str mechanism not None,
        credential,
        address,
        *,
        unsigned long long max_iterations=MOST_ITERATIONS,
        bytes _nonce=None,
    ):
        self.mechanism = mechanism
        self.source = credential.source
        self.credential = credential
        self.max_iterations = max_iterations
        self.test_nonce = _nonce
        self.state = credential.state.shared.cache(mechanism, ScramState)

    def speculative(self):
        cdef dict command = self._client_first()
        command["db"] = self.source
        return command

    def start(self, speculative_reply=None):
        # An answer without a message, as imitations of MongoDB give, is none.
        if speculative_reply is not None and "payload" in speculative_reply:
            return self._next_step(speculative_reply)
        return self._client_first()

    def step(self, reply not None):
        if not reply.get("ok"):
            raise_command_error(reply)
        return self._next_step(reply)

    def _next(self, reply not None):
        return self._next_step(reply)

    def _resumed(self, work):
        if work is None or work is not self.work or work.keys is None:
            raise RuntimeError("this work is not this conversation's, or was not run")
        self.work = None
        return self._client_final(work.keys)

    def saved_state(self):
        return None

    cdef object _next_step(self, object reply):
        cdef Expected expected = self.expected
        if expected == NOTHING:
            raise RuntimeError("a reply was given to a conversation that has sent nothing")
        if expected == SERVER_FIRST:
            return self._server_first(read(reply, self.mechanism))
        if expected == SERVER_FINAL:
            return self._server_final(read(reply, self.mechanism))
        return self._server_empty(read(reply, self.mechanism))

    cdef dict _client_first(self):
        cdef bytes random
        cdef bytes nonce = self.test_nonce
        if self.state is None:
            raise RuntimeError("a conversation whose __init__ was not called cannot begin")
        if nonce is None:
            random = urandom(RANDOM_BYTES)
            nonce = PyBytes_FromStringAndSize(NULL, NONCE_LETTERS)
            mk_base64_encode(
                <const uint8_t *>PyBytes_AS_STRING(random), RANDOM_BYTES,
                <uint8_t *>PyBytes_AS_STRING(nonce))
        if self.state.name is None:
            self.state.name = escaped_name(self.credential.username)
        self.nonce = nonce
        self.first_bare = self.state.name + nonce
        self.expected = SERVER_FIRST
        return start(self.mechanism, GS2_HEADER + self.first_bare, OPTIONS)

    cdef object _server_first(self, SaslReply reply):
        cdef bytes payload = reply.payload
        cdef bytes own = self.nonce
        cdef bytes salt
        cdef size_t size = <size_t>len(payload)
        cdef size_t own_size = <size_t>len(own)
        cdef mk_scram_first said
        if reply.done:
            raise ServerProofError(
                f"{self.mechanism}: the server says the login is done before it proved that it "
                "knows the password"
            )
        if size > LONGEST_FIRST or not mk_scram_read_first(
            <const uint8_t *>PyBytes_AS_STRING(payload), size, &said
        ):
            raise self._explain_first(payload)
        if said.nonce.size <= own_size or not same(
            said.nonce.at, <const uint8_t *>PyBytes_AS_STRING(own), own_size
        ):
            raise ServerProofError(
                f"{self.mechanism}: the server's nonce does not continue ours; the answer belongs "
                "to another login or was made up"
            )
        if said.iterations < FEWEST_ITERATIONS:
            raise ServerProofError(
                f"{self.mechanism}: the server asks for {said.iterations} iterations, fewer than "
                f"the {MIN_ITERATIONS} that the specification demands; the password may have been "
                "stored with a weakened setting, or someone is in the middle"
            )
        if said.iterations > self.max_iterations:
            raise ServerProofError(
                f"{self.mechanism}: the server asks for {said.iterations} iterations, more than "
                f"the {self.max_iterations} this client computes"
            )
        self.first = reply
        self.continued = PyBytes_FromStringAndSize(
            <const char *>said.nonce.at, <Py_ssize_t>said.nonce.size)
        salt = PyBytes_FromStringAndSize(<const char *>said.salt.at, <Py_ssize_t>said.salt.size)
        keys = self.state.keys.get((salt, said.iterations))
        if keys is not None:
            return self._client_final(keys)
        self.work = self._derivation(salt, said.iterations)
        return self.work

    cdef dict _client_final(self, Keys keys):
        cdef SaslReply first = self.first
        cdef bytes without_proof = CHANNEL + self.continued
        cdef bytes message = b",".join((self.first_bare, first.payload, without_proof))
        self.first = None
        self.keys = keys
        self.message = message
        self.expected = SERVER_FINAL
        return proceed(first, without_proof + b",p=" + keys.prove(message))

    cdef object _server_final(self, SaslReply reply):
        cdef bytes payload = reply.payload
        cdef mk_scram_final said
        if not mk_scram_read_final(
            <const uint8_t *>PyBytes_AS_STRING(payload), <size_t>len(payload), &said
        ):
            claim = ", and yet it says that the login is done" if reply.done else ""
            raise ServerProofError(
                f"{self.mechanism}: the server's last message holds neither its signature nor an "
                f"error{claim}"
            )
        if said.error.at != NULL:
            raise self._server_error(said.error.at[:said.error.size])
        if not self.keys.signed(self.message, said.signature.at, said.signature.size):
            raise ServerProofError(
                f"{self.mechanism}: the server could not prove that it knows the password: its "
                "signature is wrong. It may be an impostor; check the host and use TLS"
            )
        if reply.done:
            self.expected = NOTHING
            return None
        # A server that does not know skipEmptyExchange wants one more, empty, exchange.
        self.expected = SERVER_EMPTY
        return proceed(reply, b"")

    cdef object _server_empty(self, SaslReply reply):
        if not reply.done:
            raise ServerProofError(
                f"{self.mechanism}: the server does not end the login after its last message"
            )
        self.expected = NOTHING
        return None

    def _derivation(self, bytes salt, iterations):
        """The `OffloadedCall` that derives the keys for a salt in base64, into its `keys`."""
        raise NotImplementedError

    def _server_error(self, bytes value):
        # The value is shown as the server's word, shortened and without control characters.
        word = ascii(value[:100].decode("ascii", "replace"))
        return AuthenticationFailed(f"{self.mechanism}: the server refused the login: {word}")

    def _explain_first(self, bytes payload):
        if payload.startswith(b"e="):
            return self._server_error(payload[2:])
        if len(payload) > LONGEST_FIRST:
            problem = f"it has {len(payload)} bytes, more than {MAX_SERVER_FIRST}"
        elif payload.startswith(b"m="):
            problem = "it demands an extension (m=) that no version of SCRAM defines"
        elif not payload:
            problem = "it is empty"
        else:
            problem = "it is not r=<nonce>,s=<salt>,i=<iterations>"
        return ServerProofError(
            f"{self.mechanism}: the server's first message cannot be understood: {problem}"
        )


cdef bytes escaped_name(username):
    # RFC 5802 section 5.1; auth.md forbids SASLprep on user names.
    name = (username or "").replace("=", "=3D").replace(",", "=2C")
    return b"n=" + name.encode() + b",r="


def read_server_first(bytes payload not None):
    """(nonce, salt in base64, iterations) of a server-first-message; None for what is none."""
    cdef mk_scram_first said
    if not mk_scram_read_first(
        <const uint8_t *>PyBytes_AS_STRING(payload), <size_t>len(payload), &said
    ):
        return None
    return (
        <bytes>said.nonce.at[:said.nonce.size],
        <bytes>said.salt.at[:said.salt.size],
        said.iterations,
    )


def read_server_final(bytes payload not None):
    """(signature in base64, error) of a server-final-message, one of them None; None for what is
    none."""
    cdef mk_scram_final said
    if not mk_scram_read_final(
        <const uint8_t *>PyBytes_AS_STRING(payload), <size_t>len(payload), &said
    ):
        return None
    return (
        None if said.signature.at == NULL else <bytes>said.signature.at[:said.signature.size],
        None if said.error.at == NULL else <bytes>said.error.at[:said.error.size],
    )

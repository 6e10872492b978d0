"""Host names to numeric addresses: literals and `localhost` at once, all else in a thread.

It knows the system's resolver, which has no deadline and hears no signal, and that a caller's may
stand in its place. It must not know what is done with an address.
"""

import _thread

from libc.stdint cimport int64_t, uint16_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport MK_UNIX_SOCKETS, cooperative_wait, mk_address

from mongokey._support.address import format_address
from mongokey._support.lazy import late_imports
from mongokey.errors import AutoReconnect, ConfigurationError, NetworkTimeout
from mongokey.transport.happy_eyeballs import interleave

cdef extern from "mongokey/net.h" nogil:
    cdef struct addrinfo:
        addrinfo *ai_next
    void freeaddrinfo(addrinfo *found)
    const char *mk_resolve_error(int code)
    int mk_address_family(const mk_address *address)
    bint mk_address_from(mk_address *into, const addrinfo *source)
    bint mk_literal_address(const char *host, uint16_t port, mk_address *into)
    int mk_resolve(const char *host, const char *port, bint numeric, addrinfo **found)
    void mk_address_text(const mk_address *address, char *into, size_t size)
    bint mk_unix_address(const char *path, size_t length, mk_address *into)


# So often a wait for a name or a connection looks whether its result is still wanted.
cdef int64_t LOOK_EVERY_NS = 250_000_000


cdef int64_t slice_of_wait(int64_t wait_ns, cancelled, str peer) except? -2:
    if cancelled is None:
        return wait_ns
    if cancelled():
        raise AutoReconnect(f"{peer}: the connection was closed here while it was being made")
    return wait_ns if 0 <= wait_ns < LOOK_EVERY_NS else LOOK_EVERY_NS


cdef class SocketAddress:
    """A numeric address to connect a socket to, and how it is written."""

    def __eq__(self, other):
        return isinstance(other, SocketAddress) and self.text == (<SocketAddress>other).text

    def __hash__(self):
        return hash(self.text)


cdef SocketAddress _address(const mk_address *at, port):
    cdef SocketAddress made = SocketAddress.__new__(SocketAddress)
    cdef char text[64]
    made.at = at[0]
    mk_address_text(at, text, sizeof(text))
    made.text = format_address((text.decode("ascii", "replace"), port))
    return made


def _family(SocketAddress address not None):
    return mk_address_family(&address.at)


cpdef SocketAddress unix_address(str path):
    """The address of a Unix socket, by its path."""
    cdef bytes raw = path.encode("utf-8", "surrogateescape")
    cdef const char *text = raw
    cdef SocketAddress made = SocketAddress.__new__(SocketAddress)
    if not MK_UNIX_SOCKETS:
        raise ConfigurationError(f"{path}: there are no Unix sockets on this system")
    if not mk_unix_address(text, <size_t>len(raw), &made.at):
        raise ConfigurationError(f"{path}: the path of a Unix socket may have about 100 bytes")
    made.text = path
    return made


# The literals that were connected to: (host, port) as they were given -> their address. A program
# has few servers, and connects to them again and again.
cdef dict _literals = {}
cdef enum:
    _MOST_LITERALS = 256


cdef list addresses_of(str host, port, str peer, Deadline deadline, resolver, cancelled):
    cdef list found = None
    if resolver is None:
        found = known_addresses(host, port)
    if found is None:
        found = _lookup_in_thread(host, port, peer, deadline, resolver, cancelled)
    return in_order(found, peer)


cpdef list known_addresses(str host, port):
    """The addresses of a host that need no look-up that could hang; None where one is needed."""
    cdef mk_address at
    cdef bytes name
    cdef tuple key = (host, port)
    cdef SocketAddress literal = _literals.get(key)
    if literal is not None:
        return [literal]
    name = _encoded(host)
    if mk_literal_address(name, <uint16_t>port, &at):
        literal = _address(&at, port)
        if len(_literals) < _MOST_LITERALS:
            _literals[key] = literal
        return [literal]
    if b"%" in name and b":" in name:
        return _system_lookup(name, port, True)
    if name.lower() == b"localhost" and cooperative_wait is None:
        # The hosts file answers: that cannot hang, and a thread would cost more.
        return _system_lookup(name, port, False)
    return None


def look_up(str host not None, port):
    """Ask the system for the addresses of `host`, waiting for as long as it likes."""
    if cooperative_wait is not None:
        with late_imports:
            from mongokey.transport import gevent_waits

        return _given_lookup(gevent_waits.resolve, host, port)
    return _system_lookup(_encoded(host), port, False)


cpdef list in_order(list found, str peer):
    """`found` in the order in which they are to be tried; AutoReconnect where there is none."""
    if not found:
        raise AutoReconnect(f"{peer}: the host name has no address")
    return interleave(found, _family) if len(found) > 1 else found


cdef bytes _encoded(str host):
    try:
        return host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError as error:
        raise ConfigurationError(f"{host!r} is no host name: {error}") from None


cdef list _system_lookup(bytes name, port, bint numeric):
    """Ask the system's resolver, with the GIL released; AutoReconnect with its words."""
    cdef bytes service = b"%d" % port
    cdef const char *name_text = name
    cdef const char *service_text = service
    cdef addrinfo *found = NULL
    cdef addrinfo *one
    cdef mk_address at
    cdef int rc
    cdef list addresses = []
    with nogil:
        rc = mk_resolve(name_text, service_text, numeric, &found)
    if rc != 0:
        peer = format_address((name.decode("ascii"), port))
        reason = mk_resolve_error(rc).decode("utf-8", "replace")
        raise AutoReconnect(f"{peer}: the host name cannot be resolved: {reason}")
    try:
        one = found
        while one != NULL:
            if mk_address_from(&at, one):
                addresses.append(_address(&at, port))
            one = one.ai_next
    finally:
        freeaddrinfo(found)
    return addresses


cdef list _given_lookup(resolver, str host, port):
    """Ask the caller's resolver, which gives (IP literal, port) pairs."""
    cdef mk_address at
    cdef bytes name
    cdef list addresses = []
    for literal, its_port in resolver(host, port):
        name = _encoded(literal)
        if not mk_literal_address(name, <uint16_t>its_port, &at):
            raise ValueError(f"the resolver gave {literal!r}, which is no IP address")
        addresses.append(_address(&at, its_port))
    return addresses


cdef list _lookup_in_thread(str host, port, str peer, Deadline deadline, resolver, cancelled):
    """Look the name up in a thread of its own: a resolver has no deadline and hears no signal."""
    cdef list answer = []
    cdef bytes name = b"" if resolver is not None else _encoded(host)
    cdef int64_t left
    finished = _thread.allocate_lock()
    finished.acquire()

    def look_up():
        try:
            if resolver is not None:
                answer.append(_given_lookup(resolver, host, port))
            else:
                answer.append(_system_lookup(name, port, False))
        except BaseException as error:
            # Raised again by the thread that waits; when that has given up, nobody needs it.
            answer.append(error)
        finally:
            finished.release()

    try:
        _thread.start_new_thread(look_up, ())
    except RuntimeError:
        # The system has no thread left, or Python is ending: better without a deadline than not.
        look_up()
    while True:
        left = slice_of_wait(-1 if deadline is None else deadline.left_ns(), cancelled, peer)
        if finished.acquire(timeout=-1 if left < 0 else min(left / 1e9, _thread.TIMEOUT_MAX)):
            break
        if deadline is not None and deadline.passed():
            raise NetworkTimeout(f"{peer}: {deadline.timed_out('resolving the host name')}")
    found = answer.pop()
    if isinstance(found, BaseException):
        raise found
    return found


cdef bint is_literal(str host) except -1:
    cdef mk_address at
    cdef bytes name = _encoded(host)
    return mk_literal_address(name, 1, &at) or (b"%" in name and b":" in name)

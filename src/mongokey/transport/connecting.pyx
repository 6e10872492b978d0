"""Making connections: host name to addresses, addresses to one connected stream, in one deadline.

It knows name look-up, Unix socket paths and how a race of connection attempts is waited for;
which address is tried when is `_race`'s decision. It must not know what will be said on the
stream.
"""

import _thread
import sys

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport calloc, free

from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_ECONNREFUSED,
    MK_EINTR,
    MK_NO_SOCKET,
    MK_UNIX_SOCKETS,
    POLLOUT,
    SocketStream,
    cooperative_wait,
    error_text,
    mk_address,
    mk_close,
    mk_monotonic_ns,
    mk_poll,
    mk_pollfd,
    mk_socket,
)

from mongokey._support.lazy import late_imports
from mongokey._support.address import format_address
from mongokey.errors import AutoReconnect, ConfigurationError, NetworkTimeout
from mongokey.transport.happy_eyeballs import Race, interleave

cdef extern from "mongokey/net.h" nogil:
    cdef struct addrinfo:
        addrinfo *ai_next
    int AF_UNIX
    void freeaddrinfo(addrinfo *found)
    const char *mk_resolve_error(int code)
    int mk_address_family(const mk_address *address)
    bint mk_address_from(mk_address *into, const addrinfo *source)
    bint mk_literal_address(const char *host, uint16_t port, mk_address *into)
    int mk_resolve(const char *host, const char *port, bint numeric, addrinfo **found)
    void mk_address_text(const mk_address *address, char *into, size_t size)
    bint mk_unix_address(const char *path, size_t length, mk_address *into)
    int mk_open(int family, mk_socket *s)
    int mk_configure_tcp(mk_socket s)
    int mk_connect_start(mk_socket s, const mk_address *to)
    int mk_connect_finish(mk_socket s, const mk_address *to)
    int mk_connect_unix(mk_socket s, const mk_address *to, int64_t timeout_ns)


# So often a wait for a name or a connection looks whether its result is still wanted.
cdef int64_t LOOK_EVERY_NS = 250_000_000


def connect(
    str host not None,
    port=27017,
    *,
    Deadline deadline=None,
    timeout=None,
    resolver=None,
    cancelled=None,
):
    """Connect to `host` and return a SocketStream."""
    if cooperative_wait is None and "gevent.monkey" in sys.modules:
        _see_gevent()
    if timeout is not None:
        if deadline is not None:
            raise ValueError("give a timeout or a deadline, not both")
        if timeout <= 0:
            raise ValueError(f"a timeout is more than 0 seconds, not {timeout}")
        deadline = (<Timeout>Timeout.from_seconds(timeout, "timeout")).start()
    if "\0" in host or not host:
        raise ConfigurationError(f"{host!r} is no host name: it is empty or has a zero character")
    if host.startswith("/") or host.endswith(".sock"):
        return _connect_unix(host, deadline, cancelled)
    if port is None or not 0 < port < 65536:
        raise ConfigurationError(f"{port} is no port: ports are 1 to 65535")
    peer = format_address((host, port))
    if resolver is None and cooperative_wait is not None and not _is_literal(host):
        resolver = _gevent().resolve
    addresses = _addresses_of(host, port, peer, deadline, resolver, cancelled)
    return _run_race(addresses, peer, deadline, cancelled)


cdef int _see_gevent() except -1:
    """Wait as gevent does where it has patched `socket`: a wait in C would stop all greenlets."""
    if sys.modules["gevent.monkey"].is_module_patched("socket"):
        _gevent().install()
    return 0


def _gevent():
    with late_imports:
        from mongokey.transport import gevent_waits

    return gevent_waits


cdef bint _is_literal(str host) except -1:
    cdef mk_address at
    cdef bytes name = _encoded(host)
    return mk_literal_address(name, 1, &at) or (b"%" in name and b":" in name)


cdef int64_t _slice(int64_t wait_ns, cancelled, str peer) except? -2:
    """So much of a wait of `wait_ns` (-1: for ever) as may pass unwatched."""
    if cancelled is None:
        return wait_ns
    if cancelled():
        raise AutoReconnect(f"{peer}: the connection was closed here while it was being made")
    return wait_ns if 0 <= wait_ns < LOOK_EVERY_NS else LOOK_EVERY_NS


# Names

cdef class SocketAddress:
    """A numeric address to connect a socket to, and how it is written."""
    cdef mk_address at
    cdef str text

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


cdef list _addresses_of(str host, port, str peer, Deadline deadline, resolver, cancelled):
    cdef mk_address at
    cdef list found = None
    cdef bytes name
    if resolver is None:
        name = _encoded(host)
        if mk_literal_address(name, <uint16_t>port, &at):
            return [_address(&at, port)]
        if b"%" in name and b":" in name:
            found = _system_lookup(name, port, True)
        elif name.lower() == b"localhost":
            # The hosts file answers: that cannot hang, and a thread would cost more.
            found = _system_lookup(name, port, False)
    if found is None:
        found = _lookup_in_thread(host, port, peer, deadline, resolver, cancelled)
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
        left = _slice(-1 if deadline is None else deadline.left_ns(), cancelled, peer)
        if finished.acquire(timeout=-1 if left < 0 else min(left / 1e9, _thread.TIMEOUT_MAX)):
            break
        if deadline is not None and deadline.passed():
            raise NetworkTimeout(f"{peer}: {deadline.timed_out('resolving the host name')}")
    found = answer.pop()
    if isinstance(found, BaseException):
        raise found
    return found


# Unix sockets

cdef SocketStream _connect_unix(str path, Deadline deadline, cancelled):
    cdef bytes raw = path.encode("utf-8", "surrogateescape")
    cdef const char *text = raw
    cdef mk_address at
    cdef mk_socket s = MK_NO_SOCKET
    cdef int64_t left = 0
    cdef int rc
    if not MK_UNIX_SOCKETS:
        raise ConfigurationError(f"{path}: there are no Unix sockets on this system")
    if not mk_unix_address(text, <size_t>len(raw), &at):
        raise ConfigurationError(f"{path}: the path of a Unix socket may have about 100 bytes")
    rc = mk_open(AF_UNIX, &s)
    if rc != 0:
        raise AutoReconnect(f"{path}: {error_text(rc)} (opening a socket)")
    try:
        while True:
            if deadline is not None:
                left = deadline.left_ns()
                if left == 0:
                    raise NetworkTimeout(f"cannot connect to {path}: {deadline.timed_out()}")
            if cancelled is not None:
                left = _slice(-1 if deadline is None else left, cancelled, path)
            with nogil:
                rc = mk_connect_unix(s, &at, left)
            if rc == 0:
                break
            if rc == -MK_EINTR:
                PyErr_CheckSignals()
            elif rc != -MK_EAGAIN:
                raise AutoReconnect(f"cannot connect to {path}: {error_text(rc)}")
        stream = SocketStream(s, path)
        s = MK_NO_SOCKET
        return stream
    finally:
        if s != MK_NO_SOCKET:
            mk_close(s)


# TCP

cdef struct attempt:
    mk_address to
    mk_socket s


cdef class Attempts:
    """The sockets of a race, so that each is closed whatever happens."""
    cdef attempt *each
    cdef mk_pollfd *polls
    cdef int count

    def __cinit__(self, list addresses not None):
        cdef int i
        self.count = <int>len(addresses)
        self.each = <attempt *>calloc(<size_t>self.count, sizeof(attempt))
        self.polls = <mk_pollfd *>calloc(<size_t>self.count, sizeof(mk_pollfd))
        if self.each == NULL or self.polls == NULL:
            raise MemoryError(f"no memory to connect to {self.count} addresses")
        for i in range(self.count):
            self.each[i].to = (<SocketAddress>addresses[i]).at
            self.each[i].s = MK_NO_SOCKET

    def __dealloc__(self):
        if self.each != NULL:
            self.close()
        free(self.each)
        free(self.polls)

    cdef void close(self) noexcept:
        cdef int i
        for i in range(self.count):
            self.drop(i)

    cdef void drop(self, int i) noexcept:
        if self.each[i].s != MK_NO_SOCKET:
            mk_close(self.each[i].s)
            self.each[i].s = MK_NO_SOCKET

    cdef int start(self, int i) noexcept:
        """0: connected; 1: in progress; below 0: failed, and closed."""
        cdef int rc = mk_open(mk_address_family(&self.each[i].to), &self.each[i].s)
        if rc != 0:
            self.each[i].s = MK_NO_SOCKET
            return rc
        rc = mk_connect_start(self.each[i].s, &self.each[i].to)
        return rc if rc == 1 else self.finish(i, rc)

    cdef int finish(self, int i, int rc) noexcept:
        if rc == 0:
            rc = mk_connect_finish(self.each[i].s, &self.each[i].to)
        if rc == 0:
            rc = mk_configure_tcp(self.each[i].s)
        if rc != 0:
            self.drop(i)
        return rc

    cdef list wait(self, int64_t wait_ns):
        """The running attempts that have ended; none when the time is over or a signal came."""
        cdef list ended = []
        cdef unsigned running = 0
        cdef int i, rc
        for i in range(self.count):
            if self.each[i].s != MK_NO_SOCKET:
                self.polls[running].fd = self.each[i].s
                self.polls[running].events = POLLOUT
                self.polls[running].revents = 0
                running += 1
        if cooperative_wait is not None:
            _gevent().wait_for_any(
                [self.polls[i].fd for i in range(<int>running)],
                None if wait_ns < 0 else wait_ns / 1e9,
            )
            wait_ns = 0
        with nogil:
            rc = mk_poll(self.polls, running, wait_ns)
        if rc == -MK_EINTR:
            PyErr_CheckSignals()
            return ended
        if rc < 0:
            raise OSError(-rc, error_text(rc))
        running = 0
        for i in range(self.count):
            if self.each[i].s != MK_NO_SOCKET:
                if self.polls[running].revents:
                    ended.append(i)
                running += 1
        return ended

    cdef SocketStream take(self, int i, str peer):
        cdef SocketStream stream = SocketStream(self.each[i].s, peer)
        self.each[i].s = MK_NO_SOCKET
        return stream


cdef SocketStream _connect_alone(
    Attempts attempts, list addresses, str peer, Deadline deadline, cancelled
):
    """The usual case by far: one address, and so no head starts to reckon with."""
    cdef int64_t started = mk_monotonic_ns()
    cdef int64_t now = started
    cdef int64_t left
    cdef int rc
    try:
        rc = attempts.start(0)
        while rc == 1 and not (deadline is not None and deadline.passed(now)):
            left = -1 if deadline is None else deadline.left_ns(now)
            if attempts.wait(_slice(left, cancelled, peer)):
                rc = attempts.finish(0, 0)
            now = mk_monotonic_ns()
        if rc == 0:
            return attempts.take(0, peer)
    finally:
        attempts.close()
    race = Race(1)
    race.start(started)
    if rc < 0:
        race.fail(0, _reason(rc))
    _raise_lost(race, addresses, peer, now, deadline)


cdef SocketStream _run_race(list addresses, str peer, Deadline deadline, cancelled):
    cdef Attempts attempts = Attempts(addresses)
    cdef int64_t now, wait_ns
    cdef int rc
    if len(addresses) == 1:
        return _connect_alone(attempts, addresses, peer, deadline, cancelled)
    race = Race(len(addresses))
    try:
        while True:
            now = mk_monotonic_ns()
            if race.lost or (deadline is not None and deadline.passed(now)):
                _raise_lost(race, addresses, peer, now, deadline)
            index = race.start(now)
            if index is not None:
                rc = attempts.start(index)
                if rc == 0:
                    return attempts.take(index, peer)
                if rc < 0:
                    race.fail(index, _reason(rc))
                continue
            wait_ns = -1 if deadline is None else deadline.left_ns(now)
            due = race.next_start()
            if due is not None and (wait_ns < 0 or due - now < wait_ns):
                wait_ns = due - now
            for index in attempts.wait(_slice(wait_ns, cancelled, peer)):
                rc = attempts.finish(index, 0)
                if rc == 0:
                    return attempts.take(index, peer)
                race.fail(index, _reason(rc))
    finally:
        attempts.close()


cdef str _reason(int rc):
    return "refused" if rc == -MK_ECONNREFUSED else f"failed: {error_text(rc)}"


cdef int _raise_lost(race, list addresses, str peer, int64_t now, Deadline deadline) except -1:
    cdef dict reasons = {
        (<SocketAddress>addresses[index]).text: reason for index, reason in race.report(now).items()
    }
    told = "; ".join([f"connection to {text} {reason}" for text, reason in reasons.items()])
    if race.lost:
        if all([reason == "refused" for reason in reasons.values()]):
            told += " (is a server listening there?)"
        raise AutoReconnect(f"cannot connect to {peer}: {told}", reasons)
    raise NetworkTimeout(f"cannot connect to {peer}: {told} ({deadline})", reasons)

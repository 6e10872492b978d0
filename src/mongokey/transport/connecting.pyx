"""Making connections: a host to one connected stream, in one deadline, blocking.

It knows Unix socket paths and how a race of connection attempts is waited for;
which address is tried when is `_race`'s decision. It must not know what will be said on the
stream.
"""

import sys

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.transport.names cimport (
    SocketAddress,
    addresses_of,
    is_literal,
    slice_of_wait,
    unix_address,
)
from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_ECONNREFUSED,
    MK_EINTR,
    MK_NO_SOCKET,
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

from mongokey._support.late_patches import warn_of_late_patches
from mongokey._support.lazy import late_imports
from mongokey._support.address import format_address
from mongokey.errors import AutoReconnect, ConfigurationError, ConnectionFailure, NetworkTimeout
from mongokey.transport.happy_eyeballs import Race

cdef extern from "mongokey/net.h" nogil:
    int AF_UNIX
    int mk_address_family(const mk_address *address)
    int mk_open(int family, mk_socket *s)
    int mk_configure_tcp(mk_socket s)
    int mk_connect_start(mk_socket s, const mk_address *to)
    int mk_connect_finish(mk_socket s, const mk_address *to)
    int mk_connect_unix(mk_socket s, const mk_address *to, int64_t timeout_ns)


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
    if "gevent.monkey" in sys.modules:
        warn_of_late_patches()
        look_for_gevent()
    if timeout is not None:
        if deadline is not None:
            raise ValueError("give a timeout or a deadline, not both")
        if timeout <= 0:
            raise ValueError(f"a timeout is more than 0 seconds, not {timeout}")
        deadline = (<Timeout>Timeout.from_seconds(timeout, "timeout")).start()
    check_target(host, port)
    if is_unix(host):
        return _connect_unix(host, deadline, cancelled)
    peer = format_address((host, port))
    if resolver is None and cooperative_wait is not None and not is_literal(host):
        resolver = _gevent().resolve
    try:
        addresses = addresses_of(host, port, peer, deadline, resolver, cancelled)
    except ConnectionFailure as error:
        raise unresolved(error, host)
    return _run_race(addresses, peer, deadline, cancelled)


def unresolved(error, str host not None):
    """`error` of a look-up of `host`, with its causes."""
    with late_imports:
        from mongokey.transport.causes import name_causes

    error.resolving = True
    error.diagnoses = name_causes([host], str(error), timed_out=isinstance(error, NetworkTimeout))
    return error


cpdef look_for_gevent():
    """Wait as gevent does where it has patched `socket`: a wait in C would stop all greenlets."""
    if cooperative_wait is None and "gevent.monkey" in sys.modules:
        if sys.modules["gevent.monkey"].is_module_patched("socket"):
            _gevent().install()


cpdef check_target(str host, port):
    """Raise ConfigurationError where `host` and `port` cannot be connected to."""
    if "\0" in host or not host:
        raise ConfigurationError(f"{host!r} is no host name: it is empty or has a zero character")
    if not is_unix(host) and (port is None or not 0 < port < 65536):
        raise ConfigurationError(f"{port} is no port: ports are 1 to 65535")


cpdef bint is_unix(str host) except -1:
    """Whether `host` is the path of a Unix socket."""
    return host.startswith("/") or host.endswith(".sock")


def _gevent():
    with late_imports:
        from mongokey.transport import gevent_waits

    return gevent_waits


# Unix sockets

cdef SocketStream _connect_unix(str path, Deadline deadline, cancelled):
    cdef SocketAddress to = unix_address(path)
    cdef mk_socket s = MK_NO_SOCKET
    cdef int64_t left = 0
    cdef int rc
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
                left = slice_of_wait(-1 if deadline is None else left, cancelled, path)
            with nogil:
                rc = mk_connect_unix(s, &to.at, left)
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
            if attempts.wait(slice_of_wait(left, cancelled, peer)):
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
            for index in attempts.wait(slice_of_wait(wait_ns, cancelled, peer)):
                rc = attempts.finish(index, 0)
                if rc == 0:
                    return attempts.take(index, peer)
                race.fail(index, _reason(rc))
    finally:
        attempts.close()


cdef str _reason(int rc):
    return "refused" if rc == -MK_ECONNREFUSED else f"failed: {error_text(rc)}"


cdef int _raise_lost(race, list addresses, str peer, int64_t now, Deadline deadline) except -1:
    texts = [(<SocketAddress>each).text for each in addresses]
    raise_lost_race(race, texts, peer, now, deadline)


def raise_lost_race(race, list texts not None, str peer not None, int64_t now, Deadline deadline):
    """Raise what a `Race` for the addresses with these `texts` has come to at `now`."""
    cdef dict reasons = {texts[index]: reason for index, reason in race.report(now).items()}
    said = "; ".join([f"connection to {text} {reason}" for text, reason in reasons.items()])
    if race.lost:
        if all([reason == "refused" for reason in reasons.values()]):
            said += " (is a server listening there?)"
    else:
        said += f" ({deadline})"
    with late_imports:
        from mongokey.transport.causes import causes_of_peer

    found = causes_of_peer(peer, reasons)
    kind = AutoReconnect if race.lost else NetworkTimeout
    error = kind(f"cannot connect to {peer}: {said} [{found[0].code}]", reasons)
    error.diagnoses = found
    raise error

/* Sockets: the few calls the stream room needs, the same on POSIX and on Winsock.
 *
 * Plain C, static inline, free of CPython, so that all of it can run without the GIL. A result
 * below zero is an error number negated (errno, or WSAGetLastError on Windows); compare it with
 * the MK_E* names. Times are nanoseconds of one monotonic clock, Python's time.monotonic_ns.
 *
 * MK_KERNEL_WAITS is 1 where a blocking socket can still be used without waiting, by a flag of
 * the single call (Linux, FreeBSD): there a read is one system call. Elsewhere sockets are
 * non-blocking for good and every wait is mk_poll's.
 */
#ifndef MONGOKEY_NET_H
#define MONGOKEY_NET_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mongokey/clock.h"

#ifdef _WIN32
/* How many sockets select takes; Winsock's own number is 64, and one thread watches all servers. */
#ifndef FD_SETSIZE
#define FD_SETSIZE 1024
#endif
#include <ws2tcpip.h>
#include <mstcpip.h>
typedef SOCKET mk_socket;
typedef WSAPOLLFD mk_pollfd;
typedef int mk_socklen;
#define MK_NO_SOCKET INVALID_SOCKET
#define MK_EAGAIN WSAEWOULDBLOCK
#define MK_EINTR WSAEINTR
#define MK_EINPROGRESS WSAEINPROGRESS
#define MK_ECONNREFUSED WSAECONNREFUSED
#define MK_ETIMEDOUT WSAETIMEDOUT
#define MK_EINVAL WSAEINVAL
#define MK_KERNEL_WAITS 0
#define MK_UNIX_SOCKETS 0
#ifndef AF_UNIX
#define AF_UNIX 1
#endif
#else
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
typedef int mk_socket;
typedef struct pollfd mk_pollfd;
typedef socklen_t mk_socklen;
#define MK_NO_SOCKET (-1)
#define MK_EAGAIN EAGAIN
#define MK_EINTR EINTR
#define MK_EINPROGRESS EINPROGRESS
#define MK_ECONNREFUSED ECONNREFUSED
#define MK_ETIMEDOUT ETIMEDOUT
#define MK_EINVAL EINVAL
#if defined(__linux__) || defined(__FreeBSD__)
#define MK_KERNEL_WAITS 1
#else
#define MK_KERNEL_WAITS 0
#endif
#define MK_UNIX_SOCKETS 1
#endif

/* macOS has no MSG_NOSIGNAL but SO_NOSIGPIPE; Windows has no SIGPIPE. */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#if MK_KERNEL_WAITS
#define MK_DONTWAIT MSG_DONTWAIT
#else
#define MK_DONTWAIT 0
#endif

/* Longest wait of one poll: long enough never to matter, short enough for every platform. */
#define MK_LONGEST_WAIT_NS (INT64_C(3600) * 1000000000)

typedef struct {
    struct sockaddr_storage address;
    mk_socklen size;
} mk_address;

/* The last socket call's error, negated. */
static inline int mk_last_error(void) {
#ifdef _WIN32
    return -WSAGetLastError();
#else
    /* POSIX lets EWOULDBLOCK differ from EAGAIN. */
    return errno == EWOULDBLOCK ? -EAGAIN : -errno;
#endif
}

/* Readies the socket library; once per process, more often does no harm. */
static inline int mk_net_init(void) {
#ifdef _WIN32
    WSADATA data;
    return -WSAStartup(MAKEWORD(2, 2), &data);
#else
    return 0;
#endif
}

static inline void mk_close(mk_socket s) {
#ifdef _WIN32
    closesocket(s);
#else
    close(s); /* not again on EINTR: Linux has closed it, and the number may be another's by then */
#endif
}

/* Ends both directions, which wakes whoever waits on the socket; the number stays taken. */
static inline void mk_shutdown(mk_socket s) {
#ifdef _WIN32
    shutdown(s, SD_BOTH);
#else
    shutdown(s, SHUT_RDWR);
#endif
}

static inline int mk_set_blocking(mk_socket s, int blocking) {
#ifdef _WIN32
    u_long nonblocking = !blocking;
    return ioctlsocket(s, FIONBIO, &nonblocking) == 0 ? 0 : mk_last_error();
#else
    int nonblocking = !blocking;
    return ioctl(s, FIONBIO, &nonblocking) == 0 ? 0 : mk_last_error();
#endif
}

/* The mode every connected stream's socket is in. */
static inline int mk_set_stream_mode(mk_socket s) { return mk_set_blocking(s, MK_KERNEL_WAITS); }

/* A new non-blocking socket that programs started by this one do not inherit. */
static inline int mk_open(int family, mk_socket *s) {
    int rc;
#ifdef _WIN32
    *s = WSASocketW(family, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (*s == MK_NO_SOCKET) return mk_last_error();
#elif defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
    *s = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return *s == MK_NO_SOCKET ? mk_last_error() : 0;
#else
    *s = socket(family, SOCK_STREAM, 0);
    if (*s == MK_NO_SOCKET) return mk_last_error();
    if (fcntl(*s, F_SETFD, FD_CLOEXEC) != 0) {
        rc = mk_last_error();
        mk_close(*s);
        return rc;
    }
#endif
    rc = mk_set_blocking(*s, 0);
#ifdef SO_NOSIGPIPE
    if (rc == 0) {
        int on = 1;
        if (setsockopt(*s, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) != 0) rc = mk_last_error();
    }
#endif
    if (rc != 0) mk_close(*s);
    return rc;
}

/* Starts to connect: 0 connected at once, 1 in progress (writable when over), or an error. */
static inline int mk_connect_start(mk_socket s, const mk_address *to) {
    int rc;
    if (connect(s, (const struct sockaddr *)&to->address, to->size) == 0) return 0;
    rc = mk_last_error();
    /* Interrupted, it goes on by itself (POSIX connect). Winsock says "would block". */
    if (rc == -MK_EINPROGRESS || rc == -MK_EINTR) return 1;
#ifdef _WIN32
    if (rc == -MK_EAGAIN) return 1;
#endif
    return rc;
}

/* How a connect in progress has ended: 0 or an error.
 *
 * A loopback port where nobody listens can be the very port the kernel gave this socket: TCP then
 * connects it to itself (simultaneous open). Such a connection is refused here. */
static inline int mk_connect_finish(mk_socket s, const mk_address *to) {
    int error = 0;
    mk_address own;
    mk_socklen size = sizeof error;
    if (getsockopt(s, SOL_SOCKET, SO_ERROR, (char *)&error, &size) != 0) return mk_last_error();
    if (error != 0) return -error;
    own.size = sizeof own.address;
    memset(&own.address, 0, sizeof own.address);
    if (getsockname(s, (struct sockaddr *)&own.address, &own.size) != 0) return mk_last_error();
    if (to->address.ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&own.address;
        const struct sockaddr_in *b = (const struct sockaddr_in *)&to->address;
        if (a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr)
            return -MK_ECONNREFUSED;
    } else if (to->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&own.address;
        const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)&to->address;
        if (a->sin6_port == b->sin6_port &&
            memcmp(&a->sin6_addr, &b->sin6_addr, sizeof a->sin6_addr) == 0)
            return -MK_ECONNREFUSED;
    }
    return 0;
}

/* Waits until one of `sockets` is ready: how many are, 0 when `timeout_ns` has passed (below 0:
 * MK_LONGEST_WAIT_NS), or an error, among them MK_EINTR. */
static inline int mk_poll(mk_pollfd *sockets, unsigned count, int64_t timeout_ns) {
    int rc;
    if (timeout_ns < 0 || timeout_ns > MK_LONGEST_WAIT_NS) timeout_ns = MK_LONGEST_WAIT_NS;
#ifdef _WIN32
    {
        /* select, because WSAPoll did not report a failed connect before Windows 10 2004. */
        fd_set reads, writes, fails;
        struct timeval left;
        unsigned i;
        if (count > FD_SETSIZE) return -MK_EINVAL;
        FD_ZERO(&reads);
        FD_ZERO(&writes);
        FD_ZERO(&fails);
        for (i = 0; i < count; i++) {
            if (sockets[i].events & POLLIN) FD_SET(sockets[i].fd, &reads);
            if (sockets[i].events & POLLOUT) FD_SET(sockets[i].fd, &writes);
            FD_SET(sockets[i].fd, &fails);
        }
        timeout_ns += 999; /* round up: an early return would only come back for the rest */
        left.tv_sec = (long)(timeout_ns / 1000000000);
        left.tv_usec = (long)(timeout_ns % 1000000000 / 1000);
        rc = select(0, &reads, &writes, &fails, &left);
        if (rc == SOCKET_ERROR) return mk_last_error();
        for (rc = 0, i = 0; i < count; i++) {
            sockets[i].revents = (short)((FD_ISSET(sockets[i].fd, &reads) ? POLLIN : 0) |
                                         (FD_ISSET(sockets[i].fd, &writes) ? POLLOUT : 0) |
                                         (FD_ISSET(sockets[i].fd, &fails) ? POLLERR : 0));
            rc += sockets[i].revents != 0;
        }
        return rc;
    }
#elif defined(__linux__)
    {
        struct timespec left;
        left.tv_sec = (time_t)(timeout_ns / 1000000000);
        left.tv_nsec = (long)(timeout_ns % 1000000000);
        rc = ppoll(sockets, count, &left, NULL);
    }
#else
    rc = poll(sockets, count, (int)((timeout_ns + 999999) / 1000000));
#endif
#ifndef _WIN32
    return rc >= 0 ? rc : mk_last_error();
#endif
}

#ifndef _WIN32
/* The system calls themselves: send() and recv() are points at which a thread can be cancelled,
 * which Python's never are, and that costs as much as the rest of them. */
static inline int64_t mk_send(mk_socket s, const void *data, size_t size, int flags) {
#ifdef SYS_sendto
    return syscall(SYS_sendto, s, data, size, flags, NULL, 0);
#else
    return send(s, data, size, flags);
#endif
}

static inline int64_t mk_recv(mk_socket s, void *data, size_t size, int flags) {
#ifdef SYS_recvfrom
    return syscall(SYS_recvfrom, s, data, size, flags, NULL, NULL);
#else
    return recv(s, data, size, flags);
#endif
}
#endif

/* Sends what fits without waiting: bytes sent, or an error (MK_EAGAIN: none fits now). */
static inline int64_t mk_send_now(mk_socket s, const void *data, size_t size) {
    int64_t sent;
#ifdef _WIN32
    sent = send(s, (const char *)data, size > INT_MAX ? INT_MAX : (int)size, 0);
#else
    sent = mk_send(s, data, size, MSG_NOSIGNAL | MK_DONTWAIT);
#endif
    return sent >= 0 ? sent : mk_last_error();
}

/* Sends the last bytes before mk_close, if they fit now, and the end of the stream in the same
 * packet. Without that end, bytes that were never read would make mk_close drop these. */
static inline void mk_send_last(mk_socket s, const void *data, size_t size) {
#ifdef _WIN32
    (void)send(s, (const char *)data, size > INT_MAX ? INT_MAX : (int)size, 0);
    (void)shutdown(s, SD_SEND);
#else
#ifdef MSG_MORE
    int flags = MSG_NOSIGNAL | MK_DONTWAIT | MSG_MORE;
#else
    int flags = MSG_NOSIGNAL | MK_DONTWAIT;
#endif
    (void)!send(s, data, size, flags);
    (void)shutdown(s, SHUT_WR);
#endif
}

/* Receives: bytes received, 0 at the end of the stream, or an error. With `wait`, and where
 * MK_KERNEL_WAITS, it waits up to mk_set_receive_timeout's time (then: MK_EAGAIN). */
static inline int64_t mk_receive(mk_socket s, void *data, size_t size, int wait) {
    int64_t received;
#ifdef _WIN32
    (void)wait;
    received = recv(s, (char *)data, size > INT_MAX ? INT_MAX : (int)size, 0);
#else
    received = mk_recv(s, data, size, wait ? 0 : MK_DONTWAIT);
#endif
    return received >= 0 ? received : mk_last_error();
}

/* The longest wait of mk_receive; 0: for ever. Does nothing where mk_receive never waits. */
static inline int mk_set_receive_timeout(mk_socket s, int64_t timeout_ns) {
#if MK_KERNEL_WAITS
    struct timeval limit;
    timeout_ns += 999; /* round up: zero would mean "for ever" */
    limit.tv_sec = (time_t)(timeout_ns / 1000000000);
    limit.tv_usec = (suseconds_t)(timeout_ns % 1000000000 / 1000);
    if (timeout_ns == 999) limit.tv_usec = 0;
    return setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 ? 0 : mk_last_error();
#else
    (void)s;
    (void)timeout_ns;
    return 0;
#endif
}

#ifndef _WIN32
/* Lowers a keepalive time that the system has set higher; a system without it keeps its own.
 * `system` remembers the system's setting, which is asked for once in a process (0: not yet). */
static inline void mk_cap_tcp_option(mk_socket s, int option, int most, int *system) {
    mk_socklen size = sizeof *system;
    if (*system == 0 && getsockopt(s, IPPROTO_TCP, option, system, &size) != 0) *system = -1;
    if (*system > most) (void)setsockopt(s, IPPROTO_TCP, option, &most, sizeof most);
}
#endif

/* No Nagle delay; keepalive after 120 s of silence at the latest, then 9 probes 10 s apart. */
static inline int mk_configure_tcp(mk_socket s) {
#ifndef _WIN32
    static int idle = 0, interval = 0, count = 0;
#endif
    int on = 1;
    if (setsockopt(s, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof on) != 0 ||
        setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, (const char *)&on, sizeof on) != 0)
        return mk_last_error();
#ifdef _WIN32
    {
        struct tcp_keepalive times;
        DWORD unused;
        times.onoff = 1;
        times.keepalivetime = 120 * 1000;
        times.keepaliveinterval = 10 * 1000;
        (void)WSAIoctl(
            s, SIO_KEEPALIVE_VALS, &times, sizeof times, NULL, 0, &unused, NULL, NULL);
    }
#else
#if defined(TCP_KEEPIDLE)
    mk_cap_tcp_option(s, TCP_KEEPIDLE, 120, &idle);
#elif defined(TCP_KEEPALIVE)
    mk_cap_tcp_option(s, TCP_KEEPALIVE, 120, &idle); /* macOS's name for it */
#endif
#ifdef TCP_KEEPINTVL
    mk_cap_tcp_option(s, TCP_KEEPINTVL, 10, &interval);
#endif
#ifdef TCP_KEEPCNT
    mk_cap_tcp_option(s, TCP_KEEPCNT, 9, &count);
#endif
#endif
    return 0;
}

/* The address of an IPv4 or IPv6 literal (without a zone): 1, or 0 when `host` is none. */
static inline int mk_literal_address(const char *host, uint16_t port, mk_address *into) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)&into->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&into->address;
    memset(into, 0, sizeof *into);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        into->size = sizeof *v4;
        return 1;
    }
    memset(into, 0, sizeof *into);
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        into->size = sizeof *v6;
        return 1;
    }
    return 0;
}

/* Resolves `host`; waits for as long as the system's resolver likes. 0 or an EAI_* code; the
 * result is freed by freeaddrinfo. `numeric`: literals only (those with a zone too), no look-up. */
static inline int mk_resolve(
    const char *host, const char *port, int numeric, struct addrinfo **found
) {
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0);
    return getaddrinfo(host, port, &hints, found);
}

/* The words for an EAI_* code. */
static inline const char *mk_resolve_error(int code) {
#ifdef _WIN32
    return gai_strerrorA(code);
#else
    return gai_strerror(code);
#endif
}

/* Copies an address that was resolved: 1, or 0 when it is neither IPv4 nor IPv6. */
static inline int mk_address_from(mk_address *into, const struct addrinfo *from) {
    if (from->ai_family != AF_INET && from->ai_family != AF_INET6) return 0;
    if ((size_t)from->ai_addrlen > sizeof into->address) return 0;
    memset(into, 0, sizeof *into);
    memcpy(&into->address, from->ai_addr, (size_t)from->ai_addrlen);
    into->size = (mk_socklen)from->ai_addrlen;
    return 1;
}

static inline int mk_address_family(const mk_address *address) {
    return address->address.ss_family;
}

/* An address as text, without its port; "?" when it cannot be written. */
static inline void mk_address_text(const mk_address *address, char *into, size_t size) {
    if (getnameinfo((const struct sockaddr *)&address->address, address->size, into,
                    (mk_socklen)size, NULL, 0, NI_NUMERICHOST) != 0 && size >= 2)
        memcpy(into, "?", 2);
}

/* The address of a Unix socket: 1, or 0 when `path` is too long for one, or there are none. */
static inline int mk_unix_address(const char *path, size_t length, mk_address *into) {
#if MK_UNIX_SOCKETS
    struct sockaddr_un *un = (struct sockaddr_un *)&into->address;
    memset(into, 0, sizeof *into);
    if (length >= sizeof un->sun_path) return 0;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, length);
    into->size = (mk_socklen)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return 1;
#else
    (void)path;
    (void)length;
    (void)into;
    return 0;
#endif
}

/* Connects a Unix socket, waiting up to `timeout_ns` (0: for ever) where the server's queue is
 * full: a non-blocking connect would fail at once then. 0 or an error, MK_EAGAIN for the time. */
static inline int mk_connect_unix(mk_socket s, const mk_address *to, int64_t timeout_ns) {
#if MK_UNIX_SOCKETS
    struct timeval limit;
    int rc = mk_set_blocking(s, 1);
    if (rc != 0) return rc;
    timeout_ns += timeout_ns ? 999 : 0; /* round up: zero would mean "for ever" */
    limit.tv_sec = (time_t)(timeout_ns / 1000000000);
    limit.tv_usec = (suseconds_t)(timeout_ns % 1000000000 / 1000);
    if (setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) return mk_last_error();
    if (connect(s, (const struct sockaddr *)&to->address, to->size) != 0) return mk_last_error();
    return 0;
#else
    (void)s;
    (void)to;
    (void)timeout_ns;
    return -MK_EINVAL;
#endif
}

#endif

/* A wake-up for a thread that waits in mk_poll: one side is waited for, the other one is set.
 *
 * Plain C, static inline, free of CPython. Setting it never waits and takes no lock, so a signal
 * handler and a destructor may; setting it twice is as good as once. Linux has eventfd for it;
 * elsewhere it is a pipe, and on Windows, where only sockets can be waited for, a datagram socket
 * that is connected to itself.
 */
#ifndef MONGOKEY_WAKE_H
#define MONGOKEY_WAKE_H

#include "mongokey/net.h"

#ifdef __linux__
#include <sys/eventfd.h>
#endif

typedef struct {
    mk_socket waited; /* readable once it was set */
    mk_socket set;
} mk_wakeup;

/* 0 or an error. */
static inline int mk_wakeup_open(mk_wakeup *w) {
#ifdef _WIN32
    struct sockaddr_in own;
    int size = sizeof own;
    int rc;
    memset(&own, 0, sizeof own);
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->waited = WSASocketW(
        AF_INET, SOCK_DGRAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (w->waited == MK_NO_SOCKET) {
        w->set = MK_NO_SOCKET;
        return mk_last_error();
    }
    /* Connected, it takes datagrams from itself only. */
    if (bind(w->waited, (struct sockaddr *)&own, sizeof own) != 0 ||
        getsockname(w->waited, (struct sockaddr *)&own, &size) != 0 ||
        connect(w->waited, (struct sockaddr *)&own, sizeof own) != 0 ||
        mk_set_blocking(w->waited, 0) != 0) {
        rc = mk_last_error();
        closesocket(w->waited);
        w->waited = w->set = MK_NO_SOCKET;
        return rc;
    }
    w->set = w->waited;
    return 0;
#elif defined(__linux__)
    w->waited = w->set = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w->waited < 0 ? mk_last_error() : 0;
#else
    int ends[2], i, rc = 0;
    w->waited = w->set = MK_NO_SOCKET;
    if (pipe(ends) != 0) return mk_last_error();
    for (i = 0; i < 2 && rc == 0; i++) {
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) != 0) rc = mk_last_error();
        if (rc == 0) rc = mk_set_blocking(ends[i], 0);
    }
    if (rc != 0) {
        close(ends[0]);
        close(ends[1]);
        return rc;
    }
    w->waited = ends[0];
    w->set = ends[1];
    return 0;
#endif
}

/* Wakes the one who waits, now or the next time. */
static inline void mk_wakeup_set(const mk_wakeup *w) {
    if (w->set == MK_NO_SOCKET) return;
#ifdef _WIN32
    (void)send(w->set, "", 1, 0);
#elif defined(__linux__)
    {
        /* Only a counter that is full already would refuse. */
        uint64_t one = 1;
        (void)!write(w->set, &one, sizeof one);
    }
#else
    (void)!write(w->set, "", 1);
#endif
}

/* Who waited has seen it. */
static inline void mk_wakeup_clear(const mk_wakeup *w) {
    char seen[64];
    if (w->waited == MK_NO_SOCKET) return;
#ifdef _WIN32
    while (recv(w->waited, seen, sizeof seen, 0) > 0) continue;
#elif defined(__linux__)
    (void)!read(w->waited, seen, 8);
#else
    while (read(w->waited, seen, sizeof seen) > 0) continue;
#endif
}

static inline void mk_wakeup_close(mk_wakeup *w) {
    if (w->set != MK_NO_SOCKET && w->set != w->waited) mk_close(w->set);
    if (w->waited != MK_NO_SOCKET) mk_close(w->waited);
    w->waited = w->set = MK_NO_SOCKET;
}

#endif

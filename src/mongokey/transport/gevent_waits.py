"""Waits that let gevent's other greenlets run, in a program whose `socket` module gevent patched.

Knows gevent's hub and its resolver, which it loads when they are used: importing this module
changes nothing and needs no gevent. What is waited for is the stream's business.
"""

from __future__ import annotations

import select
from collections.abc import Iterable

from mongokey.transport.stream import wait_cooperatively

#: Whether streams wait by gevent.
installed = False


def install() -> None:
    """Have all streams of the process wait by gevent from now on."""
    global installed
    wait_cooperatively(wait)
    installed = True


def sleep(seconds: float) -> None:
    """Let so much time pass."""
    import gevent

    gevent.sleep(seconds)


def wait(number: int, events: int, seconds: float | None) -> bool:
    """Wait until the socket is readable (`select.POLLIN`) or writable; False: the time is over."""
    from gevent import socket

    waiting = socket.wait_read if events == select.POLLIN else socket.wait_write
    try:
        waiting(number, seconds)
    except TimeoutError:
        return False
    return True


def wait_for_any(numbers: list[int], seconds: float | None) -> None:
    """Wait until one of the sockets is writable, or the time is over."""
    from gevent.select import select as gevent_select

    gevent_select([], numbers, [], seconds)


def wait_for_events(sockets: list[tuple[int, int]], seconds: float | None) -> None:
    """Wait until one of the sockets, each with the events to wait for, has one of them, or the time
    is over."""
    from gevent.select import poll

    waiting = poll()
    for number, events in sockets:
        waiting.register(number, events)
    waiting.poll(None if seconds is None else seconds * 1000)


def resolve(host: str, port: int) -> Iterable[tuple[str, int]]:
    """The addresses of `host`, asked in gevent's pool of threads."""
    from gevent import socket

    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        from mongokey.errors import AutoReconnect

        raise AutoReconnect(
            f"{host}:{port}: the host name cannot be resolved: {error.strerror}"
        ) from error
    return [(each[4][0], port) for each in found]

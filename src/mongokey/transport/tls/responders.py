"""Asks OCSP responders over HTTP (RFC 6960, appendix A), several side by side, within one deadline.

Knows sockets, HTTP and threads; what a response says is told by who asks. A responder is anybody
on the network between: what it sends is bounded, and the time it takes too.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from mongokey._support.waiting import Cancelled, never

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from mongokey._support.deadline import Deadline

    Answer = TypeVar("Answer")

_LARGEST_RESPONSE = 64 * 1024
# So often who waits for an answer looks whether it is needed still.
_LOOK_EVERY_S = 0.25


def ask_responders(
    urls: list[str],
    request: bytes,
    deadline: Deadline,
    read: Callable[[bytes], Answer | None],
    cancelled: Callable[[], bool] = never,
) -> Answer | None:
    """The first answer that `read` makes of a response, None if no responder gives one.

    :param urls: ``http://`` addresses; others give no answer
    :param request: the OCSP request in DER
    :param deadline: when no answer is waited for any more
    :param read: called in a thread with a response; whatever it raises is no answer
    :param cancelled: whether nobody needs the answer any more

    Raises `Cancelled` soon after `cancelled()` has become true.
    """
    inquiry = _Inquiry(request, deadline)
    answers: SimpleQueue[Answer | None] = SimpleQueue()

    def ask(url: str) -> None:
        found = None
        try:
            found = read(inquiry.post(url))
        except BaseException:
            # Whatever it was, it is no answer (soft fail); it must not end this thread before
            # who waits is told.
            found = None
        finally:
            answers.put(found)

    try:
        waiting = 0
        for url in urls:
            # A process that can start no thread more has no answer either.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=ask, args=(url,), daemon=True, name="mongokey-ocsp").start()
                waiting += 1
        while waiting:
            if cancelled():
                raise Cancelled
            try:
                answer = answers.get(timeout=min(deadline.left_s, _LOOK_EVERY_S))
            except Empty:
                if deadline.passed():
                    break
                continue
            if answer is not None:
                return answer
            waiting -= 1
        return None
    finally:
        inquiry.abandon()


class _Inquiry:
    """One request and its connections, which end together."""

    def __init__(self, request: bytes, deadline: Deadline) -> None:
        self._deadline = deadline
        self._request = request
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._abandoned = False

    def abandon(self) -> None:
        """End what is still under way: a responder that drips would keep its thread for days."""
        with self._lock:
            self._abandoned = True
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def post(self, url: str) -> bytes:
        """Send the request to `url` and return the response's body."""
        parts = urlsplit(url)
        # Over HTTPS the responder's own certificate would have to be asked about.
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("no http:// address")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = parts.port or 80
        connection = http.client.HTTPConnection(parts.hostname, port)
        connection.sock = self._connect(parts.hostname, port)
        try:
            connection.request(
                "POST", path, self._request, {"Content-Type": "application/ocsp-request"}
            )
            response = connection.getresponse()
            if response.status != 200:
                raise ValueError(f"the responder answered HTTP {response.status}")
            content = response.read(_LARGEST_RESPONSE + 1)
        finally:
            connection.close()
        if len(content) > _LARGEST_RESPONSE:
            raise ValueError("the responder's answer is too large")
        return content

    def _connect(self, host: str, port: int) -> socket.socket:
        problem: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(max(self._deadline.left_s, 0.001))
                with self._lock:
                    if self._abandoned:
                        raise TimeoutError("no answer is waited for any more")
                    self._sockets.append(made)
                made.connect(address)
                made.settimeout(max(self._deadline.left_s, 0.001))
                with self._lock:
                    # `abandon` cannot shut down what is not connected yet.
                    if self._abandoned:
                        raise TimeoutError("no answer is waited for any more")
            except OSError as error:
                made.close()
                if self._abandoned:
                    raise
                problem = error
            else:
                return made
        raise problem or OSError("the name has no address")


__all__ = ["ask_responders"]

"""A small HTTP server on loopback for tests: an issuer's, a cloud's metadata service.

It knows requests, replies, and the faults a test may put in front of the next replies; what a
path answers is given as functions by whoever builds on it. Must not know tokens or clouds.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.managed_server import ManagedServer

if TYPE_CHECKING:
    from typing_extensions import Self

IDLE_TIMEOUT = 30.0
JOIN_TIMEOUT = 10.0


@dataclass(frozen=True)
class WebRequest:
    """One request. Header names are in lower case; of a query's or form's repeated names the
    last counts. `at` is when it came, by the monotonic clock."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    raw_query: str
    at: float

    @property
    def form(self) -> dict[str, str]:
        """The body as an HTML form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class WebReply:
    """A reply: `body` is bytes, text, or a document that becomes JSON.

    `delay` is how many seconds it is held back; `hang_up` closes the connection without it.
    `pause` sends the body's bytes one by one with so many seconds in between.
    """

    status: int = 200
    body: bytes | str | Mapping[str, Any] | list[Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pause: float = 0.0
    hang_up: bool = False

    def encoded(self) -> tuple[str, bytes]:
        """The content type and the body's bytes."""
        if isinstance(self.body, bytes):
            return "application/octet-stream", self.body
        if isinstance(self.body, str):
            return "text/plain; charset=utf-8", self.body.encode()
        return "application/json; charset=utf-8", json.dumps(self.body).encode()


Route = Callable[[WebRequest], WebReply]


class Served(ManagedServer):
    """An HTTP server that serves in a thread of its own from `start` to `stop`."""

    def __init__(self, http: ThreadingHTTPServer) -> None:
        self._http = http
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=http.serve_forever, args=(0.02,), name=type(self).__name__, daemon=True
        )

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join(JOIN_TIMEOUT)
        self._http.server_close()


class WebServer(Served):
    """Serves `routes` ((method, path) -> function) from `with` on, one thread per connection.

    To read: `url`, `requests`. `fail(*replies)` puts replies in front of the next requests to
    `path` (any, when None); `fail_always(reply)` answers all of them so until `mend()`.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.routes: dict[tuple[str, str], Route] = {}
        self.requests: list[WebRequest] = []
        self._faults: list[WebReply] = []
        self._always: WebReply | None = None
        self._lock = threading.Lock()
        super().__init__(_HTTPServer((host, port), _handler(self)))
        self.host = host
        self.port: int = self._http.server_address[1]
        self.url = f"http://{host}:{self.port}" if self.port != 80 else f"http://{host}"

    def count(self, path: str | None = None) -> int:
        """How many requests came, to `path` if given."""
        with self._lock:
            return sum(path in (None, request.path) for request in self.requests)

    def fail(self, *replies: WebReply) -> None:
        """Answer the next requests with these, one each."""
        with self._lock:
            self._faults.extend(replies)

    def fail_always(self, reply: WebReply) -> None:
        """Answer every request so, until `mend`."""
        with self._lock:
            self._always = reply

    def mend(self) -> None:
        """Forget the faults and the requests that came."""
        with self._lock:
            self._faults.clear()
            self._always = None
            self.requests.clear()

    def answer(self, request: WebRequest) -> WebReply:
        """What this request gets; called by the server's threads."""
        with self._lock:
            self.requests.append(request)
            if self._faults:
                return self._faults.pop(0)
            if self._always is not None:
                return self._always
        route = self.routes.get((request.method, request.path))
        if route is None:
            return WebReply(404, f"no {request.method} {request.path} here")
        return route(request)


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    # A client that hangs on a slow reply must not hold up the test's end.
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is the test's own; anything else shows on standard error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_TIMEOUT

        def setup(self) -> None:
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a test looks at `requests`."""

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            request = WebRequest(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(length),
                parts.query,
                time.monotonic(),
            )
            reply = server.answer(request)
            if reply.delay:
                server._stopping.wait(reply.delay)
            if reply.hang_up:
                self.close_connection = True
                return
            kind, body = reply.encoded()
            with contextlib.suppress(OSError):
                self.send_response(reply.status)
                for name, value in {"Content-Type": kind, **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self._send(body, reply.pause)

        def _send(self, body: bytes, pause: float) -> None:
            if not pause:
                self.wfile.write(body)
                return
            for index in range(len(body)):
                self.wfile.write(body[index : index + 1])
                if server._stopping.wait(pause):
                    return

        do_GET = do_POST = _serve

    return Handler

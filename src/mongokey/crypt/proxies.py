"""Connections to key management systems by an HTTP proxy: what `kms_connect_callback` is given.

It knows the method CONNECT (RFC 9110, 9.3.6) and how bytes are passed on where the proxy itself is
spoken to by TLS. It must not know what goes through.
"""

from __future__ import annotations

import base64
import socket
import threading
from select import select
from urllib.parse import unquote, urlsplit

from mongokey._support.lazy import late_imports
from mongokey._support.secrets import Secret, keeps_secrets
from mongokey._support.system import monotonic_ns
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import Any

    from mongokey.crypt.kms import KMSConnectContext

# A proxy that says more than that before the tunnel is none.
_MOST_HEADER = 8192
_PIECE = 16384


class HTTPProxyKMSConnect:
    """Connects to key management systems by an HTTP proxy: ``kms_connect_callback=`` it.

    :param proxy_url: ``http://`` or ``https://``, with ``user:password@`` where the proxy wants it,
        which is sent as basic authorization
    :param ssl_context: for TLS with the proxy itself; None: the default one, for ``https``
    :param headers: further headers for the proxy

    TLS with the key management system goes through the tunnel, and ends there. Raises
    `ConfigurationError` for what is no such URL, without showing it; `TypeError`.
    """

    @keeps_secrets
    def __init__(
        self,
        proxy_url: str,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not isinstance(proxy_url, str):
            raise TypeError(f"proxy_url must be a str, not {type(proxy_url).__name__}")
        wrong = ConfigurationError(
            "proxy_url must be http://host:port or https://host:port, with user:password@ before "
            "the host where the proxy wants it"
        )
        try:
            parts = urlsplit(proxy_url)
            port = parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise wrong
        self._tls = parts.scheme == "https" or ssl_context is not None
        self._context = ssl_context
        self._host = parts.hostname
        self._port = port or (443 if parts.scheme == "https" else 80)
        given = dict(headers or {})
        for name, value in given.items():
            if any(each in f"{name}{value}" for each in "\r\n\0") or not name:
                raise ConfigurationError(f"headers: {name!r} cannot be a header")
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            code = base64.b64encode(login.encode()).decode()
            given["Proxy-Authorization"] = f"Basic {code}"
        self._headers = Secret(given)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__dict__.get('_host')!r})"

    def __call__(self, context: KMSConnectContext) -> Any:
        """A connected socket to the key management system that `context` names.

        Raises `OSError` when the proxy cannot be reached, or does not connect to it.
        """
        return self._connect(context)

    def _connect(self, context: KMSConnectContext) -> socket.socket:
        until_ns = monotonic_ns() + round(context.timeout * 1e9)
        connection = socket.create_connection((self._host, self._port), timeout=_left_s(until_ns))
        try:
            if self._tls:
                connection = self._wrapped(connection)
            self._open_tunnel(connection, context, until_ns)
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return _passed_on(connection) if self._tls else connection

    def _wrapped(self, connection: socket.socket) -> socket.socket:
        with late_imports:
            import ssl

        tls = self._context or ssl.create_default_context()
        return tls.wrap_socket(connection, server_hostname=self._host)

    def _open_tunnel(
        self, connection: socket.socket, context: KMSConnectContext, until_ns: int
    ) -> None:
        host = f"[{context.host}]" if ":" in context.host else context.host
        target = f"{host}:{context.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in self._headers.reveal().items()]
        connection.settimeout(_left_s(until_ns))
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = b""
        # One by one: what follows the header is the tunnel's.
        while not answer.endswith(b"\r\n\r\n"):
            connection.settimeout(_left_s(until_ns))
            piece = connection.recv(1)
            if not piece or len(answer) > _MOST_HEADER:
                raise ConnectionError("the proxy gave no HTTP answer to CONNECT")
            answer += piece
        words = answer.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].startswith("2"):
            raise ConnectionError(
                f"the proxy refused to connect to {target}: {' '.join(words[1:])[:200]}"
            )


class AsyncHTTPProxyKMSConnect(HTTPProxyKMSConnect):
    """The same for asyncio clients: it connects in a thread."""

    async def __call__(self, context: KMSConnectContext) -> Any:
        """A connected socket to the key management system that `context` names."""
        with late_imports:
            from mongokey._support.tasks import in_thread

        given_up = threading.Event()

        def connect() -> socket.socket:
            made = self._connect(context)
            if given_up.is_set():
                made.close()
                raise ConnectionError("the connection was given up")
            return made

        try:
            return await in_thread(connect, "mongokey-kms-proxy")
        except BaseException:
            # The thread goes on: nobody would close what it connects.
            given_up.set()
            raise


def _left_s(until_ns: int) -> float:
    left_ns = until_ns - monotonic_ns()
    if left_ns <= 0:
        raise TimeoutError("the proxy took too long")
    return left_ns / 1e9


def _passed_on(proxy: Any) -> socket.socket:
    """A plain socket whose bytes a thread passes on to `proxy`, a socket with TLS, and back; it
    ends with either."""
    ours, theirs = socket.socketpair()
    threading.Thread(
        target=_pass_on, args=(proxy, theirs), name="mongokey-kms-proxy", daemon=True
    ).start()
    return ours


def _pass_on(proxy: Any, plain: socket.socket) -> None:
    try:
        while True:
            # What TLS has decrypted already is not seen by select.
            ready = [proxy] if proxy.pending() else select([proxy, plain], [], [])[0]
            for source, target in ((plain, proxy), (proxy, plain)):
                if source in ready:
                    data = source.recv(_PIECE)
                    if not data:
                        return
                    target.sendall(data)
    except OSError:
        return  # one of them is gone
    finally:
        proxy.close()
        plain.close()


__all__ = ["AsyncHTTPProxyKMSConnect", "HTTPProxyKMSConnect"]

"""The requests to key management systems: one TLS connection for each, as libmongocrypt says.

It knows connections and time limits. It must not know what is in a request: libmongocrypt writes
it, and reads the answer.
"""

from __future__ import annotations

import socket
import time
from functools import partial

from mongokey._support.deadline import Timeout, earliest
from mongokey._support.jobs import Blocking
from mongokey._support.lazy import late_imports
from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError, ConnectionFailure, NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey._support.jobs import JobSteps
    from mongokey.pool_options import TLSOptions
    from mongokey.transport.stream import Stream
    from mongokey.transport.tls.context import ClientTLS

HTTPS_PORT = 443
# As long as a connection to a server may take by default; each answer as well.
KMS_TIMEOUT = Timeout(20_000_000_000)
_INSECURE = (
    "tlsInsecure",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsDisableOCSPEndpointCheck",
    "tlsDisableCertificateRevocationCheck",
)


class KMSConnectContext:
    """The connection to a key management system that a `kms_connect_callback` is to make.

    :param host: the name of its server, which its certificate has to be for
    :param port: its port
    :param timeout: seconds that the connection may take
    """

    __slots__ = ("host", "port", "timeout")

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout

    def _parts(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name, None) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KMSConnectContext):
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        host, port, timeout = self._parts()
        return f"{type(self).__name__}(host={host!r}, port={port!r}, timeout={timeout!r})"


def read_kms_tls_options(kms_tls_options: Mapping[str, Any] | None) -> dict[str, TLSOptions]:
    """Provider -> its options of TLS. Raises `ConfigurationError` and `TypeError`; what would not
    check the server is refused."""
    read: dict[str, TLSOptions] = {}
    if kms_tls_options is not None and not isinstance(kms_tls_options, dict):
        raise TypeError(f"kms_tls_options must be a dict, not {type(kms_tls_options).__name__}")
    for provider, options in (kms_tls_options or {}).items():
        if not isinstance(options, dict):
            raise TypeError(
                f'kms_tls_options["{provider}"] must be a dict, not {type(options).__name__}'
            )
        made = ClientOptions.build("localhost", _stacklevel=0, **{"tls": True, **options})
        if made.tls is None:
            raise ConfigurationError(
                f'kms_tls_options["{provider}"]: TLS is required for KMS providers: remove tls'
            )
        for name in _INSECURE:
            if name in made.options:
                raise ConfigurationError(
                    f'kms_tls_options["{provider}"]: Insecure TLS options prohibited: remove {name}'
                )
        read[provider] = made.tls
    return read


class KMSConnections:
    """How the servers of each provider are connected to.

    `callback` is the user's `kms_connect_callback`, or None.
    """

    def __init__(
        self, tls_options: dict[str, TLSOptions], callback: Callable[..., Any] | None
    ) -> None:
        self._options = tls_options
        self._callback = callback
        self._tls: dict[str, ClientTLS] = {}

    def request(self, context: Any, deadline: Deadline | None) -> JobSteps[None]:
        """Carry out a request of libmongocrypt, a ``MongoCryptKmsContext``; one that fails is noted
        there, to be tried once more. Raises what ends it."""
        with late_imports:
            from pymongocrypt.errors import MongoCryptError

        wait_s = context.usleep / 1e6
        if wait_s:
            if deadline is not None and wait_s >= deadline.left_s:
                raise NetworkTimeout(
                    f"the key management system at {context.endpoint} is to be asked once more in "
                    f"{wait_s:.1f} s, and {deadline.timeout} is over before"
                )
            yield Blocking(partial(time.sleep, wait_s))
        host, port = _address(context.endpoint)
        connection = _Connection(host, port, deadline)
        try:
            try:
                if self._callback is not None:
                    found = yield self._callback(
                        KMSConnectContext(host, port, _no_later_than(deadline).left_s)
                    )
                    _check_socket(found)
                    connection.socket = found
                tls = partial(self._tls_of, context.kms_provider)
                yield Blocking(partial(connection.open, tls, context.message))
                while context.bytes_needed > 0:
                    data = yield Blocking(partial(connection.receive, context.bytes_needed))
                    context.feed(data)
            finally:
                connection.close()
        except (ConnectionFailure, OSError) as error:
            if deadline is not None and deadline.passed():
                raise
            try:
                context.fail()
            except MongoCryptError as last:
                raise MongoCryptError(
                    f"{last}, last attempt failed with: {error}", last.code
                ) from error

    def _tls_of(self, provider: str) -> ClientTLS:
        """TLS as it is spoken with the servers of `provider`; made when it is first needed."""
        found = self._tls.get(provider)
        if found is None:
            with late_imports:
                from mongokey.transport.tls.context import ClientTLS

            options = self._options.get(provider)
            if options is None:
                options = ClientOptions.build("localhost", _stacklevel=0, tls=True).tls
            assert options is not None, "tls=True"
            found = self._tls.setdefault(provider, ClientTLS(options))
        return found


def _no_later_than(deadline: Deadline | None) -> Deadline:
    found = earliest(deadline, KMS_TIMEOUT.start())
    assert found is not None, "one of them is a deadline"
    return found


def _address(endpoint: str) -> tuple[str, int]:
    """Host and port of what libmongocrypt calls an endpoint."""
    host, colon, port = endpoint.rpartition(":")
    if not colon or (endpoint.endswith("]") and endpoint.startswith("[")):
        host, port = endpoint, str(HTTPS_PORT)
    if not port.isdigit() or not 0 < int(port) < 65536 or not host or host.endswith(".sock"):
        raise ConfigurationError(f"Invalid KMS endpoint {endpoint!r}: give host or host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check_socket(found: object) -> None:
    if not isinstance(found, socket.socket) or hasattr(found, "getpeercert"):
        close = getattr(found, "close", None)
        if callable(close):
            close()
        raise ConfigurationError(
            "kms_connect_callback must return a connected, unwrapped socket.socket, not "
            f"{type(found).__name__}"
        )


class _Connection:
    """One connection, of one request. It is opened and read in a thread that may be left alone
    there: `close` holds for what becomes of it later, too."""

    def __init__(self, host: str, port: int, deadline: Deadline | None) -> None:
        self._host = host
        self._port = port
        self._deadline = deadline
        self._stream: Stream | None = None
        self._closed = False
        # What the user's callback has connected, or None.
        self.socket: socket.socket | None = None

    def open(self, tls: Callable[[], ClientTLS], message: bytes) -> None:
        """Connect, speak TLS and send `message`."""
        with late_imports:
            from mongokey.transport.connecting import connect
            from mongokey.transport.stream import SocketStream

        wrap = tls().wrap
        until = _no_later_than(self._deadline)
        if self.socket is not None:
            connected, self.socket = self.socket, None
            connected.setblocking(False)
            plain = SocketStream(connected.detach(), f"{self._host}:{self._port}")
        else:
            plain = connect(self._host, self._port, deadline=until, cancelled=lambda: self._closed)
        self._stream = plain
        self._check_wanted()
        self._stream = wrap(plain, self._host, until)
        self._check_wanted()
        self._stream.send_all(message, until)

    def receive(self, most: int) -> bytes:
        """The next bytes of the answer."""
        assert self._stream is not None, "it is open"
        return self._stream.receive(most, _no_later_than(self._deadline))

    def _check_wanted(self) -> None:
        if self._closed:
            self.close()
            raise ConnectionFailure("the request was given up")

    def close(self) -> None:
        self._closed = True
        if self.socket is not None:
            self.socket.close()
        if self._stream is not None:
            self._stream.close()


__all__ = ["HTTPS_PORT", "KMSConnectContext", "KMSConnections", "read_kms_tls_options"]

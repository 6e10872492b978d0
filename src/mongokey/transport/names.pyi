class SocketAddress:
    """A numeric address to connect a socket to, and how it is written."""

    @property
    def text(self) -> str:
        """The address as errors name it."""

def known_addresses(host: str, port: int) -> list[SocketAddress] | None:
    """The addresses of a host that need no look-up that could hang; None where one is needed.

    Raises `ConfigurationError` for what is no host name, `AutoReconnect` for a zone or `localhost`
    that the system does not know.
    """

def look_up(host: str, port: int) -> list[SocketAddress]:
    """Ask the system for the addresses of `host`, waiting for as long as it likes.

    Raises `AutoReconnect` with the system's words when there is no answer.
    """

def in_order(found: list[SocketAddress], peer: str) -> list[SocketAddress]:
    """`found` in the order in which they are to be tried (RFC 8305); AutoReconnect where there is
    none."""

def unix_address(path: str) -> SocketAddress:
    """The address of a Unix socket. Raises `ConfigurationError` for a path that is too long, or where
    there are none."""

from collections.abc import Callable

from mongokey._support.address import AddressLike
from mongokey._support.deadline import Deadline
from mongokey.auth.login import LoginResult
from mongokey.connection.connection import Connection
from mongokey.connection.settings import ConnectionSettings, Opening
from mongokey.handshake import HelloReply

Judge = Callable[[HelloReply], None]

def open_connection(
    address: AddressLike,
    settings: ConnectionSettings,
    judge: Judge | None = None,
    *,
    to_be_used: bool = True,
    opening: Opening | None = None,
) -> tuple[Connection, LoginResult]:
    """A connection to `address` that has said hello and is logged in.

    `judge` is given the server's hello (a `HelloReply`) before anybody logs in, and raises what it
    has against using that server. `to_be_used` says that it can have nothing: then a login may go
    along with hello. `opening` is told of streams and hello, for the pool that may give this up.

    The lesser of `connectTimeoutMS` and `timeoutMS`, or of the first of them and the deadline that
    `opening` has, bounds all of it together. Raises
    `NetworkTimeout` or `AutoReconnect` when the server cannot be reached or falls silent,
    `AuthenticationFailed` when it refuses the login, `ConfigurationError` when it does not fit,
    `InvalidOperation` when the client is closed meanwhile, and what `judge` raises.
    """

class BegunConnection:
    """A connection whose server has said `hello`, which took `round_trip_ns`."""

    hello: HelloReply
    round_trip_ns: int
    def finish(self, judge: Judge, opening: Opening) -> tuple[Connection, LoginResult]:
        """The rest of `open_connection`. Raises what that one raises; it is closed then."""

    def close(self) -> None:
        """Close it, unless it is finished. More than once is allowed."""

def begin_connection(
    address: AddressLike, settings: ConnectionSettings, opening: Opening
) -> BegunConnection:
    """The first part of `open_connection`, until the server has said hello.

    Within `connectTimeoutMS`, which goes on to count. Raises what `open_connection` raises.
    `opening` ends with this.
    """

def reauthenticate(connection: Connection, deadline: Deadline | None = None) -> None:
    """Log in once more on a connection in use whose server asks for it (error 391); no hello.

    Within the lesser of `connectTimeoutMS` and `timeoutMS` from now; or of the first of them and
    `deadline`, the operation's. Raises what `open_connection` raises of logins; the connection is closed then.
    """

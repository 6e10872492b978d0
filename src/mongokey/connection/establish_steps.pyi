from collections.abc import Callable, Generator
from typing import Any

from mongokey._support.address import AddressLike
from mongokey._support.awaiting import AwaitResult
from mongokey._support.deadline import Deadline, Timeout
from mongokey.auth.conversation import OffloadedCall
from mongokey.auth.login import Command, LoginResult
from mongokey.connection.rotation import Current
from mongokey.connection.settings import ConnectionSettings, Opening
from mongokey.connection.steps import Connect, OpenConnection
from mongokey.errors import NetworkTimeout
from mongokey.handshake import HelloReply

def establish(
    address: AddressLike,
    settings: ConnectionSettings,
    limit: Timeout | None,
    *,
    log_in: bool = True,
    judge: Callable[[HelloReply], object] | None = None,
    to_be_used: bool = True,
    opening: Opening | None = None,
) -> Generator[object, Any, tuple[OpenConnection, LoginResult | None]]:
    """Connect to `address`, do the TLS handshake, say hello and, if `log_in`, log in; `limit` bounds
    all of it together (None: nothing does).

    Yields `Connect`, `StartTLS`, and what `auth.login` yields; returns what `Connect` was answered
    with, and the `LoginResult` (None without a login: then no credential is sent, nor anything that
    asks for one). The other arguments are those of `establish.open_connection`, and so is what it
    raises; who drives it closes the connection when a step fails, before it throws that in.
    """

def attempt(
    step: Connect,
    settings: ConnectionSettings,
    log_in: bool,
    judge: Callable[[HelloReply], object] | None,
    to_be_used: bool,
    opening: Opening | None,
    current: Current | None = None,
) -> Generator[object, Any, tuple[OpenConnection, LoginResult | None]]:
    """One attempt of `establish`, by `step`; `current` gets its secret and its certificate, where
    these may change."""

def log_in_again(
    settings: ConnectionSettings, address: AddressLike, login: LoginResult
) -> Generator[object, Any, Any]:
    """The steps of a later login on a connection whose login was `login`; they return its saved
    state."""

def too_slow(error: NetworkTimeout, step: Command, settings: ConnectionSettings) -> NetworkTimeout:
    """`error`, saying also which login the server did not answer: others may keep it waiting."""

def deadline_of_login(settings: ConnectionSettings, until: Deadline | None) -> Deadline | None:
    """How long a later login on a connection may take, for an operation that has `until`."""

def run_work(
    work: OffloadedCall,
    settings: ConnectionSettings,
    deadline: Deadline | None,
    cancelled: Callable[[], bool],
    await_result: AwaitResult | None = None,
    until: Deadline | None = None,
) -> Deadline | None:
    """Do `work`, which may wait, within the deadline; returns the deadline, later by what was done
    interactively. `until` is the deadline of the operation that all of it is for, or None. It ends soon after `cancelled()` has become true; `await_result` awaits a
    coroutine of the application's, by default in a loop of its own."""

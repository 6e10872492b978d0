"""What an application's error means for the server it came from. Pure rules.

Knows server-discovery-and-monitoring.md, "Application errors". Must not know pools or threads:
whoever holds them carries out what `effect_of` returns.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.server_codes import (
    NODE_SHUTTING_DOWN_CODES,
    STATE_CHANGE_CODES,
)
from mongokey.errors import (
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PoolClearedError,
    ProtocolError,
    WaitQueueTimeoutError,
)
from mongokey.handshake.reply import topology_version_of
from mongokey.topology.server_description import ServerDescription, is_older
from mongokey.topology.topology_description import TopologyDescription
from mongokey.topology.topology_types import LOAD_BALANCED

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike

SYSTEM_OVERLOADED = "SystemOverloadedError"


class ErrorEffect:
    """What is to be done because of an error.

    `description` replaces the server's (None: it stays); `clears_pool` says that its connections
    are to be closed, `checks_now` that the server is to be asked at once, and `cancels_check` that
    a check under way is to be given up.
    """

    __slots__ = ("cancels_check", "checks_now", "clears_pool", "description")

    def __init__(
        self,
        description: ServerDescription | None = None,
        *,
        clears_pool: bool = False,
        checks_now: bool = False,
        cancels_check: bool = False,
    ) -> None:
        self.description = description
        self.clears_pool = clears_pool
        self.checks_now = checks_now
        self.cancels_check = cancels_check


NOTHING = ErrorEffect()


def effect_of(
    error: BaseException,
    topology: TopologyDescription,
    address: AddressLike,
    *,
    generation: int,
    pool_generation: int,
    handshake_done: bool,
) -> ErrorEffect:
    """What `error`, of a connection to `address`, means for its server.

    :param generation: the pool's generation when that connection was begun
    :param pool_generation: the pool's generation now
    :param handshake_done: False while connecting, greeting and logging in
    """
    server = topology.get(address)
    if server is None or generation < pool_generation:
        return NOTHING  # of a connection from before the last failure
    if isinstance(error, PoolClearedError):
        return NOTHING  # it tells of an error that was taken in before
    balanced = topology.topology_type_name == LOAD_BALANCED
    reply = _reply_of(error)
    if reply is not None and is_state_change(reply):
        version = topology_version_of(reply.get("topologyVersion"))
        if is_older(version, server.topology_version, or_equal=True):
            return NOTHING  # the server has said more since
        unknown = None if balanced else server.with_error(error, version)
        code = _code(reply)
        return ErrorEffect(unknown, clears_pool=code in NODE_SHUTTING_DOWN_CODES, checks_now=True)
    network = isinstance(error, ConnectionFailure) and not isinstance(
        error, NotPrimaryError | WaitQueueTimeoutError
    )
    if not network and (handshake_done or not isinstance(error, OperationFailure | ProtocolError)):
        return NOTHING  # it says nothing of the server's state
    if handshake_done and isinstance(error, NetworkTimeout):
        return NOTHING  # a slow operation does not mean that the server is gone
    has_label = getattr(error, "has_error_label", None)
    if has_label is not None and has_label(SYSTEM_OVERLOADED):
        return NOTHING  # the server sheds load; fewer servers would make that worse
    unknown = None if balanced else server.with_error(error)
    return ErrorEffect(unknown, clears_pool=True, cancels_check=True)


def is_state_change(reply: Mapping[str, Any]) -> bool:
    """Whether an error's document says "not writable primary" or "node is recovering"."""
    code = _code(reply)
    if code is not None:
        return code in STATE_CHANGE_CODES
    message = reply.get("errmsg")
    if not isinstance(message, str):
        return False
    return "not master" in message or "node is recovering" in message


def _code(reply: Mapping[str, Any]) -> int | None:
    code = reply.get("code")
    # Some servers that give no code give 0.
    return code if isinstance(code, int) and code else None


def _reply_of(error: BaseException) -> Mapping[str, Any] | None:
    """The document that says what is wrong: a command's error, or its write concern's."""
    details = getattr(error, "details", None)
    if not isinstance(details, Mapping):
        return None
    if not details.get("ok"):
        return details
    concern = details.get("writeConcernError")
    if not isinstance(concern, Mapping):
        return None
    version = details.get("topologyVersion")
    return {**concern, **({} if version is None else {"topologyVersion": version})}


__all__ = ["ErrorEffect", "effect_of", "is_state_change"]

"""failCommand and onPrimaryTransactionalWrite, as servers of the tests hold them: which command
fails next, and how.

Knows the fields of `configureFailPoint` (unified test format, "Server Fail Points"). Pure: must
not know connections; whoever asks sleeps, closes or answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_HELLO = frozenset({"hello", "ismaster", "isMaster"})


@dataclass
class _Counted:
    """Does not hold the first `skip` times, then `times` times (None: until it is turned off)."""

    times: int | None = None
    skip: int = 0

    def _due(self) -> bool:
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            if self.times <= 0:
                return False
            self.times -= 1
        return True


@dataclass(kw_only=True)
class FailPoint(_Counted):
    """One failCommand; `block_ms` delays the command."""

    names: frozenset[str]
    code: int | None = None
    message: str = "Failing command via 'failCommand' failpoint"
    labels: Sequence[str] | None = None
    close: bool = False
    block_ms: float = 0
    app_name: str | None = None
    write_concern_error: Mapping[str, Any] | None = None

    def take(self, name: str, app_name: str | None) -> bool:
        """Whether it holds for this command; counts it."""
        if name not in self.names and not (name in _HELLO and self.names & _HELLO):
            return False
        return self.app_name in (None, app_name) and self._due()


@dataclass
class WriteFailPoint(_Counted):
    """One onPrimaryTransactionalWrite: a write with a txnNumber fails, once it is done or (with
    `code`) before."""

    code: int | None = None
    close: bool = True

    def take(self) -> bool:
        """Whether it holds for this write; counts it."""
        return self._due()


class BadFailPoint(Exception):
    """The command is one that a server refuses."""


#: The names that `configureFailPoint` takes.
NAMES = ("failCommand", "onPrimaryTransactionalWrite")


def parse(command: Mapping[str, Any]) -> FailPoint | WriteFailPoint | None:
    """The fail point that a `configureFailPoint` sets; None turns it off."""
    name = command.get("configureFailPoint")
    if name not in NAMES:
        raise BadFailPoint(f"known here are {' and '.join(NAMES)}")
    mode, data = command.get("mode"), command.get("data") or {}
    if mode == "off":
        return None
    times, skip = None, 0
    if isinstance(mode, Mapping):
        times, skip = mode.get("times"), int(mode.get("skip", 0))
    elif mode != "alwaysOn":
        raise BadFailPoint(f"unknown mode {mode!r}")
    times = None if times is None else int(times)
    if name == "onPrimaryTransactionalWrite":
        code = data.get("failBeforeCommitExceptionCode")
        return WriteFailPoint(times, skip, code, bool(data.get("closeConnection", True)))
    names = data.get("failCommands")
    if not isinstance(names, list) or not names:
        raise BadFailPoint("failCommands must name commands")
    return FailPoint(
        names=frozenset(names),
        times=times,
        skip=skip,
        code=data.get("errorCode"),
        labels=data.get("errorLabels"),
        close=bool(data.get("closeConnection")),
        block_ms=float(data.get("blockTimeMS", 0)) if data.get("blockConnection") else 0,
        app_name=data.get("appName"),
        write_concern_error=data.get("writeConcernError"),
    )

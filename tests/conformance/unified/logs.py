"""What a client logged, and whether it is what a test expects.

It knows the driver's loggers and the format's names of components and levels. Records of other
clients are told apart by the client's id in them.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.conformance.unified.drivers import Driver, RunnerError, only
from tests.conformance.unified.matching import Matcher, Mismatch

COMPONENTS = frozenset({"client", "command", "connection", "serverSelection", "topology"})
#: Python's levels by the names of the logging specification.
LEVELS: Mapping[str, int] = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
#: How long a logged document may be: the specification's name, and PyMongo's for it.
LENGTH_VARIABLES = ("MONGODB_LOG_MAX_DOCUMENT_LENGTH", "MONGOB_LOG_MAX_DOCUMENT_LENGTH")
LENGTH = "10000"
#: What of a server's error stays where it is redacted (command monitoring, "Security").
KEPT_OF_FAILURES = frozenset({"code", "codeName", "errorLabels"})


@dataclass(frozen=True)
class Message:
    level: str
    component: str
    data: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"{self.component}: {self.data.get('message')}"


class LogCollector(logging.Handler):
    """Keeps the records of one client, of the components and from the levels that are observed."""

    def __init__(self, driver: Driver, observed: Mapping[str, str]) -> None:
        super().__init__(logging.DEBUG)
        unknown = set(observed) - COMPONENTS
        if unknown:
            raise RunnerError(f"there are no components called {', '.join(sorted(unknown))}")
        self._driver = driver
        self._levels = {name: LEVELS[level] for name, level in observed.items()}
        self._messages: list[Message] = []
        self._guard = threading.Lock()
        self._client_id: str | None = None
        self._former: dict[logging.Logger, int] = {}
        self._environment: dict[str, str | None] = {}

    def start(self) -> None:
        """Turn the loggers on, and let them show documents as long as hello's replies."""
        self._environment = {name: os.environ.get(name) for name in LENGTH_VARIABLES}
        os.environ.update(dict.fromkeys(LENGTH_VARIABLES, LENGTH))
        for name, level in self._levels.items():
            logger = logging.getLogger(f"{self._driver.name}.{name}")
            self._former[logger] = logger.level
            if logger.level == logging.NOTSET or logger.level > level:
                logger.setLevel(level)
            logger.addHandler(self)

    def stop(self) -> None:
        """Turn them back to what they were."""
        for logger, level in self._former.items():
            logger.removeHandler(self)
            logger.setLevel(level)
        self._former.clear()
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment.clear()

    def follow(self, client: Any) -> None:
        """Keep the records of this client only."""
        self._client_id = self._driver.topology_id(client)

    def emit(self, record: logging.LogRecord) -> None:
        component = record.name.rpartition(".")[2]
        if record.levelno < self._levels.get(component, logging.CRITICAL):
            return
        data = self._driver.load(record.getMessage())
        level = next(name for name, number in LEVELS.items() if number <= record.levelno)
        with self._guard:
            self._messages.append(Message(level, component, data))

    def seen(self) -> list[Message]:
        """The client's records so far."""
        with self._guard:
            messages = list(self._messages)
        return [each for each in messages if self._is_mine(each.data)]

    def _is_mine(self, data: Mapping[str, Any]) -> bool:
        client_id = data.get("clientId", data.get("topologyId"))
        return client_id is None or str(client_id) == self._client_id


def check_messages(matcher: Matcher, logs: LogCollector, expectation: Mapping[str, Any]) -> None:
    """Raise `Mismatch` unless a client's messages are those of an expectedLogMessagesForClient."""
    only(expectation, "client", "messages", "ignoreMessages", "ignoreExtraMessages")
    ignored = expectation.get("ignoreMessages", ())
    seen = [
        each
        for each in logs.seen()
        if not any(_matches(matcher, pattern, each) for pattern in ignored)
    ]
    expected = expectation["messages"]
    for position, each in enumerate(expected):
        if position >= len(seen):
            raise Mismatch(f"message {position}, {each}, is missing; logged were {seen}")
        _match(matcher, each, seen[position], f"message {position} of {seen}")
    if len(seen) > len(expected) and not expectation.get("ignoreExtraMessages", False):
        raise Mismatch(f"{len(expected)} messages are expected, logged were {seen}")


def _matches(matcher: Matcher, expected: Mapping[str, Any], message: Message) -> bool:
    try:
        _match(matcher, expected, message, "message")
    except Mismatch:
        return False
    return True


def _match(matcher: Matcher, expected: Mapping[str, Any], message: Message, path: str) -> None:
    only(expected, "level", "component", "data", "failureIsRedacted")
    matcher.match(expected["level"], message.level, path=f"{path}: level")
    matcher.match(expected["component"], message.component, path=f"{path}: component")
    matcher.match(expected["data"], message.data, root=True, path=f"{path}: data")
    if "failureIsRedacted" in expected:
        _check_redaction(expected["failureIsRedacted"], message, path)


def _check_redaction(expected: bool, message: Message, path: str) -> None:
    failure = message.data.get("failure")
    if failure is None:
        raise Mismatch(f"{path}: there is no failure")
    try:
        document = json.loads(failure) if isinstance(failure, str) else failure
    except ValueError:
        # No server's answer but a client error's text, which has nothing to be hidden.
        document = {"errmsg": failure}
    is_redacted = set(document) <= KEPT_OF_FAILURES
    if is_redacted is not expected:
        raise Mismatch(f"{path}: failure {failure!r} is {'' if is_redacted else 'not '}redacted")

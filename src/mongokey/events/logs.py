"""Log records on Python's loggers `mongokey.command`, `.topology`, `.serverSelection`,
`.connection` and `.client` (`pymongo.command` and so on where mongokey stands for PyMongo), as the
logging specification has it.

Knows how a record looks and which loggers are turned on. A record's message is JSON, made only if a
handler wants it. Must not know when what is logged: `publisher` does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from mongokey._support import log_names
from mongokey._support.reprs import with_safe_repr
from mongokey.events.log_json import relaxed_json

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

DEBUG = logging.DEBUG
INFO = logging.INFO

COMMAND = "command"
TOPOLOGY = "topology"
SERVER_SELECTION = "serverSelection"
CONNECTION = "connection"
CLIENT = "client"

LENGTH_VARIABLE = "MONGODB_LOG_MAX_DOCUMENT_LENGTH"
DEFAULT_LENGTH = 1000


def _named() -> dict[str, logging.Logger]:
    if log_names.package != log_names.OWN:
        # Who set up mongokey's own name has the records, too.
        logging.getLogger(log_names.package).parent = logging.getLogger(log_names.OWN)
    components = (COMMAND, TOPOLOGY, SERVER_SELECTION, CONNECTION, CLIENT)
    return {name: logging.getLogger(log_names.logger_name(name)) for name in components}


loggers = _named()


# -- which loggers are on ---------------------------------------------------------------------


class _LevelCache(dict[int, bool]):
    """A logger's memory of which levels are on. `logging` clears it whenever a level was set
    anywhere: that is when the publishers look again. So nobody has to ask a logger at each command.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def clear(self) -> None:
        super().clear()
        self._changed()


#: The components whose records of level DEBUG may be wanted.
on: frozenset[str] = frozenset()


_watcher: Callable[[], None] | None = None


def _name_again() -> None:
    loggers.update(_named())
    if _watcher is not None:
        watch_levels(_watcher)


log_names.told.append(_name_again)


def watch_levels(changed: Callable[[], None]) -> None:
    """Keep `on` true from now on, and have `changed` called when it is another one. That is done
    with logging's lock held."""
    global _watcher
    _watcher = changed

    def look_again() -> None:
        global on
        found = frozenset(name for name in loggers if is_on(name))
        if found != on:
            on = found
            changed()

    for logger in loggers.values():
        if _is_watchable(logger):
            logger._cache = _LevelCache(look_again)  # type: ignore[attr-defined]
    look_again()


def is_on(component: str, level: int = DEBUG) -> bool:
    """Whether a record of that level may be wanted; one that is on may still be `disabled`."""
    logger = loggers[component]
    if not _is_watchable(logger):
        return True  # each record is asked for
    return logger.manager.disable < level >= logger.getEffectiveLevel()


def _is_watchable(logger: logging.Logger) -> bool:
    """Whether it decides as `logging.Logger` does, and remembers that as this Python's does."""
    return type(logger).isEnabledFor is logging.Logger.isEnabledFor and isinstance(
        getattr(logger, "_cache", None), dict
    )


# -- records ----------------------------------------------------------------------------------


@with_safe_repr
class LogMessage:
    """The message of a record: its fields, by name. Its text is one JSON object.

    The values `command`, `reply` and `failure` are documents; each becomes a string of relaxed
    Extended JSON of at most so many bytes as `MONGODB_LOG_MAX_DOCUMENT_LENGTH` says (default 1000).
    """

    __slots__ = ("_text", "fields")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        # What is not there is left out ("Omitting Null Values from Log Messages").
        self.fields = {name: value for name, value in fields.items() if value is not None}
        self._text: str | None = None

    def __str__(self) -> str:
        if self._text is None:
            self._text = self._make_text()
        return self._text

    def _make_text(self) -> str:
        from mongokey.bson.json_util import dumps

        limit = max_document_length()
        shown = dict(self.fields)
        for name in ("command", "reply", "failure"):
            value = shown.get(name)
            if isinstance(value, Mapping):
                shown[name] = relaxed_json(value, limit)
            elif isinstance(value, str | BaseException):
                shown[name] = _cut(value if isinstance(value, str) else repr(value), limit)
        return dumps(shown, default=_other_value)


def log(component: str, message: str, fields: Mapping[str, Any], level: int = DEBUG) -> None:
    """Log `message` with `fields`; those that are None are left out."""
    logger = loggers[component]
    if logger.isEnabledFor(level):
        logger.log(level, LogMessage({"message": message, **fields}))


def max_document_length() -> int:
    """How many bytes of a document are logged. What is no such number in the environment counts
    as not said."""
    value = os.environ.get(LENGTH_VARIABLE)
    try:
        length = int(value) if value else DEFAULT_LENGTH
    except ValueError:
        return DEFAULT_LENGTH
    return length if length >= 0 else DEFAULT_LENGTH


def _cut(text: str, limit: int) -> str:
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= limit:
        return text
    return encoded[:limit].decode("utf-8", "ignore") + "..."


def _other_value(value: Any) -> Any:
    """What `json.dumps` cannot write by itself: an ObjectId, a description."""
    from mongokey.bson.json_util import default

    try:
        return default(value)
    except TypeError:
        return repr(value)

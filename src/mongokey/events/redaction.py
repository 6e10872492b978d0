"""Which commands and replies nobody is shown (command-logging-and-monitoring, "Security").

Pure functions over names and documents. A command counts whatever the case of its letters.
"""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

_SENSITIVE = frozenset(
    {
        "authenticate",
        "copydb",
        "copydbgetnonce",
        "copydbsaslstart",
        "createuser",
        "getnonce",
        "saslcontinue",
        "saslstart",
        "updateuser",
    }
)
_HELLOS = frozenset({"hello", "ismaster"})
_SHOWN_OF_FAILURES = ("code", "codeName", "errorLabels")


def is_sensitive(command_name: str) -> bool:
    """Whether a command of this name, and its reply, may hold a secret in any case."""
    return command_name.lower() in _SENSITIVE


def logs_in(command_name: str, document: Mapping[str, Any]) -> bool:
    """Whether it is a hello that begins a login on the way, or the reply to one."""
    return command_name.lower() in _HELLOS and "speculativeAuthenticate" in document


def is_hello(command_name: str) -> bool:
    """Whether a command of this name may begin a login on the way."""
    return command_name.lower() in _HELLOS


def redacted_failure(failure: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown of a server's error reply to a sensitive command."""
    return {name: failure[name] for name in _SHOWN_OF_FAILURES if name in failure}

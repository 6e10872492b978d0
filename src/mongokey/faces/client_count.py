"""Counts the clients of each deployment in this process, and warns once of the third.

Knows that a client is to be made once and shared. Must not keep a client, nor a secret: it counts
by hosts and user name.
"""

from __future__ import annotations

from mongokey._support.lazy import late_imports

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.client_options import ClientOptions

#: Of which client is warned; 0: of none, for tests, which make many, and for PyMongo's programs.
WARNED_OF = MANY = 3
# So many deployments are counted: a process that knows more is no web application's.
_MOST = 256

_made: dict[Any, int] = {}


def note_client(options: ClientOptions) -> None:
    """A client with `options` is made."""
    credential, string = options.credential, options.connection_string
    name = None if string is None else string.fqdn
    key = (options.hosts, name, None if credential is None else credential.username)
    number = _made.get(key, 0) + 1
    if number > WARNED_OF:
        return
    if len(_made) >= _MOST:
        _made.clear()
    _made[key] = number
    if number == WARNED_OF:
        _warn(options)


def _warn(options: ClientOptions) -> None:
    with late_imports:
        import warnings

        from mongokey._support.address import format_address
        from mongokey._support.warning_level import outside_level
        from mongokey.diagnostics import LIKELY, Diagnosis
        from mongokey.errors import ManyClientsWarning

    hosts = ", ".join(map(format_address, options.hosts)) or "one mongodb+srv name"
    found = Diagnosis(
        "ENV-MANY-CLIENTS",
        LIKELY,
        f"this process made its third client of {hosts}: each has connections and monitors of its "
        "own",
        fix="make one client when the process starts, and share it",
    )
    warnings.warn(f"{found.text} [{found.code}]", ManyClientsWarning, outside_level())


__all__ = ["MANY", "WARNED_OF", "note_client"]

"""A host's canonical name, as CANONICALIZE_HOST_NAME asks for it (auth.md, "Hostname
Canonicalization").

Knows the rules and what stands in when a look-up fails. Look-ups block; a login does them in its
work.
"""

from __future__ import annotations

from mongokey._support.lazy import late_imports

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

NONE = "none"
FORWARD = "forward"
FORWARD_AND_REVERSE = "forwardAndReverse"


class SystemResolver:
    """The system's own look-ups. Both raise OSError or UnicodeError when there is no answer."""

    def forward(self, host: str) -> tuple[str, Any]:
        """The name that `host` is an alias of, or `host`, and its first address."""
        with late_imports:
            import socket

        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP, flags=socket.AI_CANONNAME)
        *_, name, address = found[0]
        return name, address

    def reverse(self, address: Any) -> str:
        """The name of an address."""
        with late_imports:
            import socket

        return socket.getnameinfo(address, socket.NI_NAMEREQD)[0]


#: What logins ask; tests put another here.
resolver: Any = SystemResolver()


def canonicalize(host: str, mode: str) -> tuple[str, str]:
    """The name for `host`, and words for how it was found.

    What cannot be looked up falls back: without an address to `host` itself, without a name of
    the address to the forward look-up's.
    """
    if mode == NONE:
        return host, ""
    try:
        name, address = resolver.forward(host)
    except (OSError, UnicodeError) as error:
        return host, f"CANONICALIZE_HOST_NAME={mode} found no address, {_reason(error)}"
    name = _clean(name) or host
    if mode == FORWARD:
        return name, f"CANONICALIZE_HOST_NAME={mode} of {host}"
    try:
        reverse = _clean(resolver.reverse(address))
    except (OSError, UnicodeError) as error:
        return name, f"CANONICALIZE_HOST_NAME={mode} of {host}: {address[0]} has no name, " + (
            _reason(error)
        )
    return reverse or name, f"CANONICALIZE_HOST_NAME={mode} of {host} through {address[0]}"


def _clean(name: str) -> str:
    return name.rstrip(".").lower()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)

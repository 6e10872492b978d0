"""Options that are known, and that this version of mongokey does not act on: nobody is to believe
that they work. Most give a warning; those that a program must be able to rely on are refused.

Knows the options by their names. The list gets shorter as the driver grows.
"""

from __future__ import annotations

from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Name -> why it is refused.
REFUSED = {
    "loadBalanced": "connections through a load balancer are not supported by this version",
}

# Name -> what does not happen.
WITHOUT_EFFECT = {
    "compressors": "this version does not compress messages",
}


def check_effects(given: Mapping[str, Any], stacklevel: int = 0) -> None:
    """Look through the options that a client was given, canonical name -> value.

    Gives a `UserWarning` for each one that has no effect, pointing `stacklevel` callers up (0: no
    warnings). Raises `ConfigurationError` for one that must not be ignored.
    """
    for name, why in REFUSED.items():
        if given.get(name):
            raise ConfigurationError(f"{name} is not supported: {why} of mongokey")
    if not stacklevel or not given:
        return
    texts = [
        f"{name} has no effect: {WITHOUT_EFFECT[name]} of mongokey"
        for name in given
        if name in WITHOUT_EFFECT and given[name]
    ]
    if texts:
        import warnings

        for text in texts:
            warnings.warn(text, UserWarning, stacklevel + 1)


__all__ = ["check_effects"]

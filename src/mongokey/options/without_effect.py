"""Options that are known, and that this version of mongokey does not act on: a warning says so, for
nobody is to believe that they work.

Knows the options by their names. The list gets shorter as the driver grows.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Name -> what does not happen.
WITHOUT_EFFECT = {
    "compressors": "this version does not compress messages",
}


def check_effects(given: Mapping[str, Any], stacklevel: int) -> None:
    """Look through the options that a client was given, canonical name -> value.

    Gives a `UserWarning` for each one that has no effect, pointing `stacklevel` callers up.
    """
    if not given:
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

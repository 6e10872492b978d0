"""Methods of objects that whoever calls them must not keep alive.

Knows weak references. Must not know whose methods they are. `weakref.WeakMethod` takes those of
classes written in Python only, and most of ours are compiled.
"""

from __future__ import annotations

from weakref import ref

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def weakly(method: Callable[..., object]) -> Callable[..., None]:
    """`method`, a bound method, as long as its object is there; nothing happens once it is gone.

    Raises `TypeError` for what is no bound method, or is one of an object without weak references.
    """
    owner = getattr(method, "__self__", None)
    if owner is None:
        raise TypeError(f"a bound method is needed, not {method!r}")
    return _of(ref(owner), method.__name__)


def _of(owner: Callable[[], Any], name: str) -> Callable[..., None]:
    # A function of its own: a closure of `weakly` would keep the object.
    def call(*args: object) -> None:
        found = owner()
        if found is not None:
            getattr(found, name)(*args)

    return call


__all__ = ["weakly"]

"""Package attributes that are loaded when they are first used, so that an import costs little; and
what makes such late imports safe where another thread forks.

Knows module names only. Used by packages whose names not every user of them needs.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock, allocate_lock, get_ident
from collections.abc import Callable, Collection, Mapping

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

# A fork waits no longer than this for other threads' imports, nor they for it.
_LONGEST_WAIT_S = 10.0
_LOOK_EVERY_S = 0.001


class LateImports:
    """Entered (``with late_imports:``) around imports that a thread does while others may fork.

    A child that is forked while another thread imports a module would wait for ever for that
    module's lock: the thread is not there to let go of it. So a fork waits until no other thread is
    inside. Threads that import do not wait for each other, as they may hold locks of modules.
    """

    def __init__(self) -> None:
        # Thread -> how often it is inside; a signal handler may enter once more.
        self._inside: dict[int, int] = {}
        # Held by a fork from the moment on in which nobody else is inside.
        self._gate = RLock()
        self._knows_logging = False
        self._register()

    def _register(self) -> None:
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork,
                after_in_child=self._after_fork_in_child,
            )

    def __enter__(self) -> None:
        me = get_ident()
        depth = self._inside.get(me, 0)
        self._inside[me] = depth + 1
        if depth:
            return
        if not self._knows_logging and "logging" in sys.modules:
            # What is registered last is called first: a fork that held logging's lock while it
            # waited would wait for a module that makes a logger.
            self._knows_logging = True
            self._register()
        if self._gate.acquire(timeout=_LONGEST_WAIT_S):
            self._gate.release()

    def __exit__(self, *_: object) -> None:
        me = get_ident()
        depth = self._inside.get(me, 1)
        if depth > 1:
            self._inside[me] = depth - 1
        else:
            self._inside.pop(me, None)

    def _before_fork(self) -> None:
        me = get_ident()
        for _ in range(int(_LONGEST_WAIT_S / _LOOK_EVERY_S)):
            self._gate.acquire()
            if all(each == me for each in list(self._inside)):
                return
            self._gate.release()
            pause = allocate_lock()
            pause.acquire()
            pause.acquire(timeout=_LOOK_EVERY_S)

    def _after_fork(self) -> None:
        if self._gate._is_owned():  # type: ignore[attr-defined]
            self._gate.release()

    def _after_fork_in_child(self) -> None:
        me = get_ident()
        self._gate = RLock()
        self._inside = {each: depth for each, depth in self._inside.items() if each == me}


late_imports = LateImports()


def import_late(name: str) -> Any:
    """The module `name`, imported under `late_imports`."""
    from importlib import import_module

    with late_imports:
        return import_module(name)


_modules: dict[str, Any] = {}


def imported_once(name: str) -> Any:
    """`import_late`, for what is called often: the second call costs no more than a look-up."""
    found = _modules.get(name)
    if found is None:
        found = _modules[name] = import_late(name)
    return found


def loader(
    package: str, homes: Mapping[str, str], submodules: Collection[str] = ()
) -> Callable[[str], object]:
    """A module's ``__getattr__`` (PEP 562): `homes` says which module has which name; `submodules`
    are imported when they are first used as attributes."""

    def __getattr__(name: str) -> object:  # noqa: N807 - it becomes the module's
        if name in submodules:
            return import_late(f"{package}.{name}")
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_late(home), name)
        setattr(sys.modules[package], name, value)
        return value

    module = vars(sys.modules[package])
    # Completion of names finds also what was not loaded yet.
    own = ("loader",)
    module.setdefault("__dir__", lambda: sorted({*module, *homes, *submodules}.difference(own)))
    return __getattr__

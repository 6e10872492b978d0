"""Package attributes that are loaded when they are first used, so that an import costs little.

Knows module names only. Used by packages whose names not every user of them needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping


def loader(
    package: str, homes: Mapping[str, str], submodules: Collection[str] = ()
) -> Callable[[str], object]:
    """A module's ``__getattr__`` (PEP 562): `homes` says which module has which name; `submodules`
    are imported when they are first used as attributes."""

    def __getattr__(name: str) -> object:  # noqa: N807 - it becomes the module's
        import sys
        from importlib import import_module

        if name in submodules:
            return import_module(f"{package}.{name}")
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__

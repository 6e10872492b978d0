"""mongokey in PyMongo's place: `import pymongo`, `bson` and `gridfs` give mongokey's modules.

For programs and frameworks whose imports nobody wants to rewrite. It knows how modules are found;
of the driver it knows only which module stands for which.
"""

from __future__ import annotations

import copyreg
import functools
import os
import sys
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, FunctionType, ModuleType

import mongokey
from mongokey._support.log_names import name_loggers
from mongokey.errors import ConfigurationError, InvalidOperation
from mongokey.faces import client_count

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.metadata import Distribution, DistributionFinder
    from typing import Any

__all__ = [
    "PYMONGO_VERSION",
    "VARIABLE",
    "install_as_pymongo",
    "install_if_asked",
    "uninstall_as_pymongo",
]

#: The version of PyMongo whose names and signatures mongokey has.
PYMONGO_VERSION = "4.20.1"
#: The environment variable that `mongokey.as_pymongo` looks at.
VARIABLE = "MONGOKEY_AS_PYMONGO"

# PyMongo's packages, and what stands for them.
PACKAGES = {"pymongo": "mongokey", "bson": "mongokey.bson", "gridfs": "mongokey.gridfs"}

# Modules whose classes were Python's in PyMongo and are C's here.
IN_C = ("mongokey.bson.objectid",)


def install_as_pymongo() -> None:
    """Have ``pymongo``, ``bson``, ``gridfs`` and their submodules be mongokey's from now on.

    Call it before anything imports them, whether PyMongo is installed or not. A second call does
    nothing. ``pymongo.version`` and `importlib.metadata` tell the version of PyMongo that mongokey
    has the API of. Log records come from PyMongo's loggers, such as ``pymongo.command``.

    Raises `InvalidOperation`, which names the importer, where one of them was imported already:
    classes of both packages would be mixed.
    """
    if _finder in sys.meta_path:
        return
    taken = [name for name in PACKAGES if name in sys.modules]
    if taken:
        raise InvalidOperation(
            f"{taken[0]} was imported already{_importers()}: call mongokey.install_as_pymongo() "
            f"before, in the first lines of the program, or start it by "
            f"`python -m mongokey run`"
        )
    sys.meta_path.insert(0, _finder)
    name_loggers("pymongo")
    copyreg._reconstructor = _reconstruct  # type: ignore[attr-defined]
    # PyMongo does not warn of many clients, and programs may have made errors of all warnings.
    client_count.WARNED_OF = 0


def uninstall_as_pymongo() -> None:
    """Undo `install_as_pymongo`: what is imported from now on is PyMongo's own, if it is installed.

    For tests. What was imported before stays what it is.
    """
    if _finder not in sys.meta_path:
        return
    sys.meta_path.remove(_finder)
    name_loggers("mongokey")
    copyreg._reconstructor = _reconstruct.__wrapped__  # type: ignore[attr-defined]
    client_count.WARNED_OF = client_count.MANY
    for name in list(sys.modules):
        if name.partition(".")[0] in PACKAGES:
            del sys.modules[name]


def install_if_asked() -> bool:
    """`install_as_pymongo` if the environment variable MONGOKEY_AS_PYMONGO is 1; returns whether.

    Raises `ConfigurationError` for a value that is neither 1, true, yes, on nor 0, false, no, off
    or empty.
    """
    value = os.environ.get(VARIABLE, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value not in ("1", "true", "yes", "on"):
        raise ConfigurationError(f"{VARIABLE} must be 1 or 0, not {value!r}")
    install_as_pymongo()
    return True


# -- who was first --------------------------------------------------------------------------------


def _importers() -> str:
    """Who has what PyMongo's packages define, in the order in which they were imported."""
    found = [name for name, module in list(sys.modules.items()) if _holds_pymongos(name, module)]
    if not found:
        return ""
    file = getattr(sys.modules[found[0]], "__file__", None)
    told = f" by {found[0]}" + (f" ({file})" if file else "")
    more = len(found) - 1
    return told + (f" and {more} other{'s' if more > 1 else ''}" if more else "")


def _holds_pymongos(name: str, module: object) -> bool:
    if name.partition(".")[0] in (*PACKAGES, "mongokey") or not isinstance(module, ModuleType):
        return False
    return any(_home(value).partition(".")[0] in PACKAGES for value in list(vars(module).values()))


def _home(value: object) -> str:
    """The module that a value is, or is defined by; looks at no attribute that could run code."""
    if isinstance(value, ModuleType):
        home = vars(value).get("__name__")
    elif isinstance(value, (type, FunctionType)):
        home = value.__module__
    else:
        home = type(value).__module__
    return home if isinstance(home, str) else ""


# -- pickles ---------------------------------------------------------------------------------------


@functools.wraps(copyreg._reconstructor)  # type: ignore[attr-defined]
def _reconstruct(cls: Any, base: type, state: object) -> object:
    """Also for a class in C: pickles of protocol 0 and 1 of PyMongo's classes, which are not."""
    if base is object and getattr(cls, "__module__", "") in IN_C:
        return cls.__new__(cls)
    return _reconstruct.__wrapped__(cls, base, state)


# -- how the modules are found --------------------------------------------------------------------


class _Finder:
    """Finds mongokey's modules under PyMongo's names: an item of `sys.meta_path`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = name.partition(".")
        if package not in PACKAGES:
            return None
        if name == "pymongo":
            spec = ModuleSpec(name, _Facade(), is_package=True)  # type: ignore[arg-type]
            spec.submodule_search_locations = list(mongokey.__path__)
            return spec
        own = f"{PACKAGES[package]}.{rest}" if rest else PACKAGES[package]
        if not _is_public_module(own):
            # Now, and not by the finders that follow, one of which may know PyMongo's own.
            raise ModuleNotFoundError(
                f"No module named {name!r}: mongokey stands for PyMongo in this process "
                f"(install_as_pymongo), and this version has no {own!r}{_advice(rest)}",
                name=name,
            )
        return ModuleSpec(name, _Same(own))  # type: ignore[arg-type]

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterator[Distribution]:
        """PyMongo's metadata, for `importlib.metadata`: frameworks ask for its version."""
        name = getattr(context, "name", None)
        if name is None:
            if not _is_installed():
                yield _distribution()
        elif str(name).lower() == "pymongo":
            yield _distribution()


# PyMongo's machinery, private there, that agents patch.
_MACHINERY = frozenset({"helpers", "message", "network_layer", "pool", "server", "topology"})


def _advice(rest: str) -> str:
    if rest.rpartition(".")[2] not in _MACHINERY:
        return ""
    return (
        ": that is PyMongo's machinery, which agents patch to trace it; have mongokey make the "
        "spans instead, by MongoClient(tracing={'enabled': True}) (docs/tracing.md)"
    )


def _is_public_module(own: str) -> bool:
    if any(part.startswith("_") for part in own.split(".")):
        return False
    try:
        return find_spec(own) is not None
    except ModuleNotFoundError:
        return False


# What a module has of its own, by whatever name it is imported.
_OF_ITS_OWN = frozenset({"__name__", "__spec__", "__loader__", "__package__", "__path__"})
# New Relic's agent wraps what is in these when they are imported, which PyMongo does by itself.
_HOOKED = tuple(
    f"pymongo.{face}.{module}"
    for face in ("synchronous", "asynchronous")
    for module in ("collection", "mongo_client")
)


class _Same:
    """The loader for a module that is another one, of another name: the very same object."""

    def __init__(self, own: str) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> None:
        """A new module, for the moment."""

    def get_code(self, name: str) -> CodeType | None:
        """The code of the other one: `python -m mongokey run -m NAME` runs it as the program."""
        found = find_spec(self.own)
        code: CodeType | None = None
        if found is not None and isinstance(found.loader, InspectLoader):
            code = found.loader.get_code(self.own)
        return code

    def exec_module(self, module: ModuleType) -> None:
        # What stands in sys.modules now is what the import gives; `own` keeps its spec.
        own = sys.modules[module.__name__] = import_module(self.own)
        # Agents that hook imports are handed `module`, and wrap methods of the classes in it.
        names = {name: value for name, value in vars(own).items() if name not in _OF_ITS_OWN}
        vars(module).update(names)


class _Facade:
    """The loader of `pymongo` itself: mongokey's names, and PyMongo's version."""

    def create_module(self, spec: ModuleSpec) -> None:
        """A new module."""

    def exec_module(self, module: ModuleType) -> None:
        def from_mongokey(name: str) -> Any:
            try:
                return getattr(mongokey, name)
            except AttributeError:
                raise AttributeError(
                    f"module 'pymongo' has no attribute {name!r}: mongokey stands for PyMongo in "
                    f"this process (install_as_pymongo), and this version has no such name",
                    name=name,
                    obj=module,
                ) from None

        numbers = tuple(int(part) for part in PYMONGO_VERSION.split("."))
        vars(module).update(
            __doc__=mongokey.__doc__,
            __file__=mongokey.__file__,
            __all__=list(mongokey.__all__),
            __getattr__=from_mongokey,
            __dir__=lambda: sorted({*dir(mongokey), *vars(module)}),
            __version__=PYMONGO_VERSION,
            version=PYMONGO_VERSION,
            version_tuple=numbers,
            get_version_string=lambda: PYMONGO_VERSION,
        )
        if "newrelic" in sys.modules:
            for name in _HOOKED:
                import_module(name)


def _is_installed() -> bool:
    """Whether there is a distribution of PyMongo on the path."""
    from importlib.metadata import DistributionFinder, MetadataPathFinder

    context = DistributionFinder.Context(name="pymongo")
    return any(True for _ in MetadataPathFinder.find_distributions(context))


def _distribution() -> Distribution:
    from importlib.metadata import Distribution
    from pathlib import Path

    class StandIn(Distribution):
        """What `importlib.metadata` says of pymongo."""

        def read_text(self, filename: Any) -> str | None:
            if filename in ("METADATA", "PKG-INFO"):
                return (
                    f"Metadata-Version: 2.1\nName: pymongo\nVersion: {PYMONGO_VERSION}\n"
                    f"Summary: mongokey {mongokey.__version__} in PyMongo's place\n"
                )
            return (
                "".join(f"{name}\n" for name in PACKAGES) if filename == "top_level.txt" else None
            )

        def locate_file(self, path: Any) -> Any:
            return Path(str(mongokey.__file__)).parent / path

    return StandIn()


# One in a process, whoever imports this module.
_finder: Any = _Finder()

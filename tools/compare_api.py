"""Compares the public names and signatures of mongokey with those of PyMongo, `bson` and `gridfs`.

`python tools/compare_api.py` prints the differences; with `--write` it stores them in
tests/unit/api_differences.json, which a test keeps true: what is gone leaves the file, what is new
comes under "TO BE JUDGED" until somebody mends it or writes the reason there, and the ceiling is
lowered to what is left. It is never raised by this program: the list can only shrink. Parameters
that mongokey adds on purpose stand in ADDED.

All modules are looked at whose names do not begin with an underscore, and in them the names of
`__all__` or, without that, what the module itself defines. A difference is a public name that only
one of both has, another kind (a coroutine function, a property that is awaited, a plain method),
another parameter (its name, place, kind, default), or another value. Annotations are not compared.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

STORED = Path(__file__).resolve().parent.parent / "tests" / "unit" / "api_differences.json"
TO_BE_JUDGED = "TO BE JUDGED"
#: PyMongo's packages, and where their names are in mongokey.
PACKAGES = {"pymongo": "mongokey", "bson": "mongokey.bson", "gridfs": "mongokey.gridfs"}

#: Parameters that mongokey adds on purpose, wherever they stand: by keyword only, None by default,
#: so that no call of PyMongo's means something else; and attributes that tell them. They are no
#: differences.
ADDED = {
    "timeout_ms": "timeoutMS of a database, a collection, a call, a cursor (docs/timeouts.md)",
    "timeout_mode": "what timeoutMS is for in a cursor (docs/timeouts.md)",
    "default_timeout_ms": "timeoutMS of a session (docs/timeouts.md)",
}

MISSING = "only PyMongo has it"
EXTRA = "only mongokey has it"

# What every object has, or what only a type checker or a copier asks for.
NOT_COMPARED = frozenset(dir(object)) | {
    *("__dict__", "__weakref__", "__module__", "__slots__", "__doc__", "__annotations__"),
    *("__orig_bases__", "__parameters__", "__class_getitem__", "__abstractmethods__"),
    *("__getattr__", "__reduce_cython__", "__setstate_cython__", "__pyx_vtable__", "__del__"),
    "__slotnames__",  # copyreg's note, once one was pickled
    *("__firstlineno__", "__static_attributes__", "__type_params__", "__match_args__"),
    *("__cause__", "__context__", "__setstate__", "__suppress_context__", "__traceback__"),
}


# -- modules --------------------------------------------------------------------------------------


def modules() -> Iterator[tuple[str, str]]:
    """(PyMongo's module, the one of the same path in mongokey)."""
    for package, ours in PACKAGES.items():
        found = importlib.import_module(package)
        yield package, ours
        for each in pkgutil.walk_packages(found.__path__, package + "."):
            path = each.name.removeprefix(package)
            if not any(part.startswith("_") for part in path.split(".")):
                yield each.name, ours + path


def load(name: str) -> ModuleType | None:
    """The module, or None where there is none, or one that needs what is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def public_names(module: ModuleType) -> list[str]:
    """The names that a module offers: those of `__all__`, or those that it defines itself."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(set(listed))
    if not str(module.__file__).endswith(".py"):
        return []
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    return sorted(
        name
        for name in set(_defined(tree.body))
        if not name.startswith("_") and hasattr(module, name) and not _for_types(module, name)
    )


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """What statements at a module's top define: by `class`, `def` or `=`, not by an import."""
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                for each in ast.walk(target):
                    if isinstance(each, ast.Name):
                        yield each.id
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id
        else:
            for part in ("body", "orelse", "finalbody"):
                yield from _defined(getattr(statement, part, []))
            for handler in getattr(statement, "handlers", []):
                yield from _defined(handler.body)


def _for_types(module: ModuleType, name: str) -> bool:
    """Whether a name is one for a type checker."""
    value = getattr(module, name)
    home = getattr(type(value), "__module__", "")
    return name == "TYPE_CHECKING" or (home in ("typing", "types") and not callable_of(value))


def callable_of(value: Any) -> bool:
    """Whether a value is a function, and no form of a type."""
    return inspect.isroutine(value)


def compared() -> dict[str, str]:
    """All differences: the name, as PyMongo has it, -> what differs."""
    found: dict[str, str] = {}
    seen: dict[tuple[type, type], dict[str, str]] = {}
    for theirs_path, ours_path in modules():
        theirs = load(theirs_path)
        if theirs is None:
            continue
        ours = load(ours_path)
        if ours is None:
            found[theirs_path] = MISSING
            continue
        for name, told in _of_module(theirs, ours, seen):
            found[name] = told
    for theirs, ours in _classes_in_order(seen):
        inherited = {
            (name, told)
            for mine in ours.__mro__[1:]
            for his in theirs.__mro__[1:]
            for name, told in seen.get((his, mine), {}).items()
        }
        for name, told in seen[theirs, ours].items():
            if (name, told) not in inherited:
                found[f"{theirs.__module__}.{theirs.__qualname__}.{name}"] = told
    return dict(sorted(found.items()))


def _classes_in_order(seen: dict[tuple[type, type], Any]) -> list[tuple[type, type]]:
    return sorted(seen, key=lambda pair: (pair[0].__module__, pair[0].__qualname__))


def _of_module(
    theirs: ModuleType, ours: ModuleType, seen: dict[tuple[type, type], dict[str, str]]
) -> Iterator[tuple[str, str]]:
    names = public_names(theirs)
    for name in names:
        his = getattr(theirs, name)
        mine = getattr(ours, name, MISSING)
        if mine is MISSING:
            yield f"{theirs.__name__}.{name}", MISSING
        elif isinstance(his, type) and isinstance(mine, type):
            if his.__module__.partition(".")[0] in PACKAGES and his is not mine:
                seen.setdefault((his, mine), differences(mine, his))
        else:
            told = value_difference(mine, his)
            if told:
                yield f"{theirs.__name__}.{name}", told
    for name in sorted(set(getattr(ours, "__all__", ())) - set(names)):
        if not hasattr(theirs, name):
            yield f"{theirs.__name__}.{name}", EXTRA


PLAIN = (int, float, str, bytes, bool, type(None))


def is_plain(value: Any) -> bool:
    """Whether a value means the same in both packages."""
    if type(value) in (tuple, frozenset):
        return all(is_plain(each) for each in value)
    return type(value) in PLAIN


def value_difference(ours: Any, theirs: Any) -> str:
    """What differs in two values of one name: in a function's parameters, or as values."""
    if inspect.isroutine(theirs):
        if not inspect.isroutine(ours) and not isinstance(ours, type):
            return f"{type(ours).__name__}, in PyMongo a function"
        if is_async(ours) != is_async(theirs):
            return f"{_how(ours)}, in PyMongo {_how(theirs)}"
        return parameter_difference(signature_of(ours), signature_of(theirs))
    if isinstance(theirs, frozenset) and isinstance(ours, frozenset) and ours != theirs:
        return f"only here {sorted(ours - theirs)}, only in PyMongo {sorted(theirs - ours)}"
    if is_plain(theirs) and ours != theirs:
        return f"{ours!r}, in PyMongo {theirs!r}"
    return ""


def _how(function: Any) -> str:
    return "coroutine function" if is_async(function) else "function"


# -- classes --------------------------------------------------------------------------------------


def names_of(cls: type) -> set[str]:
    """Its public names, and the special ones that it or a base other than `object` defines."""
    found = set()
    for name in dir(cls):
        special = name.startswith("__") and name.endswith("__")
        if name in NOT_COMPARED or (name.startswith("_") and not special):
            continue
        if getattr(cls, name, None) is not None:  # such as __iter__ = None
            found.add(name)
    return found


def attributes_of(cls: type) -> set[str]:
    """Attributes that only its instances have: those with an annotation."""
    return {
        name
        for base in cls.__mro__
        for name in vars(base).get("__annotations__", {})
        if not name.startswith("_")
    }


def kind_of(cls: type, name: str) -> str:
    """What a name stands for, in the words that differences are told in."""
    found = inspect.getattr_static(cls, name)
    if isinstance(found, (classmethod, staticmethod)):
        return type(found).__name__
    if isinstance(found, property):
        return "awaited property" if is_async(found.fget) else "property"
    if inspect.isgetsetdescriptor(found) or inspect.ismemberdescriptor(found):
        return "property"
    if callable(found):
        return "coroutine function" if is_async(found) else "method"
    return "value"


def is_async(function: Any) -> bool:
    """Whether it is awaited; PyMongo wraps some of its coroutine functions."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def signature_of(function: Any) -> list[str] | None:
    """The parameters after `self`; None where they cannot be known."""
    try:
        parameters = list(inspect.signature(inspect.unwrap(function)).parameters.values())
    except (TypeError, ValueError):
        return None
    if parameters and parameters[0].name in ("self", "cls"):
        del parameters[0]
    parameters = [each for each in parameters if not is_added(each)]
    return [str(each.replace(annotation=inspect.Parameter.empty)) for each in parameters]


def is_added(parameter: inspect.Parameter) -> bool:
    """Whether a parameter is one of `ADDED`, and as those have to be."""
    is_optional = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None
    return parameter.name in ADDED and is_optional


def constructor_of(cls: type) -> list[str] | None:
    """The parameters of a class when it is called; None where they cannot be known."""
    for base in cls.__mro__:
        own = vars(base).get("__init__", vars(base).get("__new__"))
        if inspect.isfunction(own):
            break
        found = in_stub(base)
        if found is not None:
            return found
    if cls.__init__ is not object.__init__:  # type: ignore[misc]
        return signature_of(cls.__init__)  # type: ignore[misc]
    return signature_of(cls)


def in_stub(cls: type) -> list[str] | None:
    """The constructor's parameters as a compiled class's stub has them; None where there is none.

    Compiled classes do not tell theirs themselves; type checkers hold stubs and callers together.
    """
    module = sys.modules.get(cls.__module__)
    path = Path(str(getattr(module, "__file__", None) or "-"))
    stub = path.with_name(path.name.partition(".")[0] + ".pyi")
    if not stub.exists():
        return None
    for statement in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ClassDef) and statement.name == cls.__name__:
            for each in statement.body:
                if isinstance(each, ast.FunctionDef) and each.name in ("__init__", "__new__"):
                    return _written(each.args)
    return None


def _written(arguments: ast.arguments) -> list[str]:
    """Parameters as a stub has them, in the words of `signature_of`."""
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        each.annotation = None
    for star in (arguments.vararg, arguments.kwarg):
        if star is not None:
            star.annotation = None
    module: dict[str, Any] = {}
    exec(f"def f({ast.unparse(arguments)}): ...", module)  # noqa: S102 - a stub of our own
    return signature_of(module["f"]) or []


def differences(ours: type, theirs: type) -> dict[str, str]:
    """Name -> how it differs."""
    found = {}
    mine, pymongos = names_of(ours), names_of(theirs)
    for name in pymongos - mine - attributes_of(ours):
        found[name] = MISSING
    for name in mine - pymongos - set(ADDED):
        found[name] = EXTRA
    for name in mine & pymongos:
        kinds = kind_of(ours, name), kind_of(theirs, name)
        if name == "__anext__":
            continue  # no coroutine function here: what it returns is a coroutine all the same
        if kinds[0] != kinds[1]:
            found[name] = f"{kinds[0]}, in PyMongo {kinds[1]}"
        elif kinds[0] != "value" and not kinds[0].endswith("property"):
            if not name.startswith("__"):  # the language calls those in one way
                told = parameter_difference(
                    signature_of(getattr(ours, name)), signature_of(getattr(theirs, name))
                )
                if told:
                    found[name] = told
        elif kinds[0] == "value":
            told = value_difference(getattr(ours, name), getattr(theirs, name))
            if told:
                found[name] = told
    told = parameter_difference(constructor_of(ours), constructor_of(theirs))
    if told:
        found["__init__"] = told
    return dict(sorted(found.items()))


def parameter_difference(ours: list[str] | None, theirs: list[str] | None) -> str:
    """What differs in the parameters, empty for nothing."""
    if ours is None or theirs is None or ours == theirs:
        return ""
    return f"({', '.join(ours)}), in PyMongo ({', '.join(theirs)})"


# -- the list -------------------------------------------------------------------------------------


class Judged:
    """The stored list: reason -> name -> difference, and how many there may be."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.ceiling: int = content["ceiling"]
        self.reasons: dict[str, dict[str, str]] = content["reasons"]

    @classmethod
    def read(cls) -> Judged:
        return cls(json.loads(STORED.read_text(encoding="utf-8")))

    @property
    def all(self) -> dict[str, str]:
        """Name -> difference."""
        return {name: told for each in self.reasons.values() for name, told in each.items()}

    def updated(self, found: dict[str, str]) -> Judged:
        """The list with what is there now: no reason is forgotten, none is invented."""
        homes = {name: reason for reason, names in self.reasons.items() for name in names}
        reasons: dict[str, dict[str, str]] = {}
        for name, told in found.items():
            reasons.setdefault(homes.get(name, TO_BE_JUDGED), {})[name] = told
        return Judged({"ceiling": min(self.ceiling, len(found)), "reasons": reasons})

    def write(self) -> None:
        content = {"ceiling": self.ceiling, "reasons": self.reasons}
        STORED.write_text(
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="store the differences for the test")
    found = compared()
    if parser.parse_args().write:
        updated = Judged.read().updated(found)
        updated.write()
        new = updated.reasons.get(TO_BE_JUDGED, {})
        print(f"{len(found)} differences, {len(new)} to be judged in {STORED}")
        return 1 if new or len(found) > updated.ceiling else 0
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

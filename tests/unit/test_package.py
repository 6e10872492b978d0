"""The package as a whole: what an import loads, what is shipped, and who may import whom."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mongokey
from mongokey import bson, wire
from tests.servers.needs import need_module

PACKAGE = Path(mongokey.__file__).parent
SOURCES = Path(__file__).parents[2] / "src" / "mongokey"

# What `import mongokey` and making a client must not load.
HEAVY = {
    "asyncio",
    "boto3",
    "botocore",
    "bson",
    "click",
    "cryptography",
    "dns",
    "email",
    "gssapi",
    "http",
    "kerberos",
    "multiprocessing",
    "pymongo",
    "rich",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "urllib",
    "winkerberos",
    "xml",
}


def loaded_by(code: str) -> set[str]:
    """The names of the modules that a fresh interpreter has loaded after `code`."""
    program = f"import sys; before = set(sys.modules)\n{code}\n"
    program += "print('\\n'.join(set(sys.modules) - before))"
    # The package of this test run, wherever it is.
    path = [str(PACKAGE.parent)]
    program = f"import sys; sys.path[:0] = {path!r}\n{program}"
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def top_level(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_package_loads_next_to_nothing() -> None:
    modules = loaded_by("import mongokey")
    assert {name for name in modules if name.startswith("mongokey")} == {
        "mongokey",
        "mongokey._support",
        "mongokey._support.lazy",
        "mongokey._version",
    }
    assert top_level(modules).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import mongokey; mongokey.MongoClient",
        "import mongokey; mongokey.MongoClient('mongodb://user:password@host/db?maxPoolSize=5')",
        "import mongokey; mongokey.MongoClient('mongodb://u%40R@host/?authMechanism=GSSAPI')",
        "import mongokey; mongokey.MongoClient().db.collection.find()",
        "import mongokey.bson; mongokey.bson.decode(mongokey.bson.encode({'a': 1}))",
        "import mongokey.errors",
    ],
)
def test_a_client_that_is_not_connected_loads_nothing_heavy(code: str) -> None:
    assert top_level(loaded_by(code)).isdisjoint(HEAVY)


def test_bson_alone_loads_no_driver() -> None:
    modules = {name for name in loaded_by("import mongokey.bson") if name.startswith("mongokey.")}
    assert {name for name in modules if not name.startswith("mongokey.bson")} <= {
        "mongokey._support",
        "mongokey._support.cython_shared",
        "mongokey._support.lazy",
        "mongokey._support.portable",
        "mongokey._support.reprs",
        "mongokey._version",
        "mongokey.errors",
    }


# What is shipped


def test_the_package_is_typed() -> None:
    assert (SOURCES / "py.typed").exists()


@pytest.mark.parametrize(
    "path", sorted(SOURCES.rglob("*.pyx")), ids=lambda p: p.relative_to(SOURCES).as_posix()
)
def test_every_extension_module_has_its_types_and_tells_what_it_is(path: Path) -> None:
    assert path.with_suffix(".pyi").exists()
    text = path.read_text()
    assert re.search(r'^"""', text, re.M), "no module docstring"


def public_modules() -> list[str]:
    found = []
    for path in SOURCES.rglob("*.py*"):
        if path.suffix not in (".py", ".pyx") or "cli" in path.parts:
            continue
        name = module_name(path)
        if not any(part.startswith("_") for part in name.split(".")):
            found.append(name)
    return sorted(found)


def module_name(path: Path) -> str:
    parts = [SOURCES.name, *path.relative_to(SOURCES).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Late imports of a package that is there without it.
BUILT_ON_BOTOCORE = {"mongokey.auth.aws.signing", "mongokey.auth.aws.sources"}


@pytest.mark.parametrize("name", public_modules())
def test_all_names_of_a_module_are_there(name: str) -> None:
    if name in BUILT_ON_BOTOCORE:
        need_module("botocore", extra="aws")
    module = importlib.import_module(name)
    for each in getattr(module, "__all__", ()):
        assert hasattr(module, each), f"{name}.{each}"
    assert module.__doc__ or not documents(module)


def documents(module: ModuleType) -> bool:
    """Whether a module's docstring has to be there at run time: not that of an empty file, nor of a
    compiled one that users do not call, whose source has it."""
    path = Path(str(module.__file__))
    if not path.name.endswith(tuple(EXTENSION_SUFFIXES)):
        return bool(path.read_bytes().strip())
    inner = module.__name__.removeprefix("mongokey.").replace(".", "/")
    source = (SOURCES / f"{inner}.pyx").read_text(encoding="utf-8")
    assert re.match(r'(#.*\n)*"""', source), f"{module.__name__}: no docstring"
    return "binding=True" in source.partition("\n")[0]


def test_the_package_lists_its_names_and_has_no_others() -> None:
    assert set(dir(mongokey)) >= set(mongokey.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        mongokey.no_such_name  # type: ignore[attr-defined]  # noqa: B018


LISTED = """
import importlib, mongokey.bson, mongokey.gridfs, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    missing = set(module.__all__) - set(dir(module))
    assert not missing, (name, missing)
"""


def test_names_that_are_loaded_late_are_listed_before() -> None:
    names = ["mongokey", "mongokey.bson", "mongokey.gridfs", "mongokey.operations", "mongokey.aio"]
    # In a process of its own, in which nothing was used yet.
    subprocess.run([sys.executable, "-c", LISTED, *names], check=True, timeout=60)


PUBLIC = sorted(
    found.name
    for found in pkgutil.iter_modules([str(PACKAGE)])
    if not found.name.startswith("_") and found.name != "cli"
)


def test_every_public_module_is_an_attribute_once_it_is_used() -> None:
    assert len(PUBLIC) >= 27
    assert set(PUBLIC) <= set(dir(mongokey))
    # In a fresh interpreter, each alone: an import of another would bring it along.
    program = "import mongokey, os\n" + "\n".join(
        f"""
if os.fork() == 0:
    try:
        assert mongokey.{name}.__name__ == "mongokey.{name}"
    except BaseException:
        os._exit(1)
    os._exit(0)
assert os.wait()[1] == 0, {name!r}
"""
        for name in PUBLIC
    )
    assert "mongokey.errors" not in loaded_by(program)


# The modules that users of PyMongo's `bson` import from.
BSON_IMPORT_PATHS = (
    *("binary", "code", "codec_options", "datetime_ms", "dbref", "decimal128", "errors", "int64"),
    *("json_util", "max_key", "min_key", "objectid", "raw_bson", "regex", "son", "timestamp"),
    *("typings", "tz_util"),
)


def test_every_public_module_of_bson_is_an_attribute_too() -> None:
    names = BSON_IMPORT_PATHS
    asked = "; ".join(f"assert mongokey.bson.{name}.__name__" for name in names)
    loaded_by(f"import mongokey; {asked}")


def test_no_other_module_is_one() -> None:
    for name in ("cli", "_version_info", "no_such_module"):
        loaded_by(f"import mongokey\nassert not hasattr(mongokey, {name!r})")


@pytest.mark.parametrize("name", ["InsertOne", "ReplaceOne", "UpdateOne", "DeleteMany"])
def test_requests_can_be_subscripted_at_run_time(name: str) -> None:
    request = getattr(mongokey, name)
    alias = request[dict]
    assert alias.__origin__ is request
    assert alias.__args__ == (dict,)
    assert mongokey.InsertOne[dict]({"a": 1}) == mongokey.InsertOne({"a": 1})  # type: ignore[misc]


# Who may import whom

# From the bottom up (DESIGN.md, "One picture"): a module may import from its own package and from
# those above it in this list. A module belongs to the package with the longest name it starts with.
LAYERS: list[set[str]] = [
    {"_version", "_support"},
    {"diagnostics"},
    {"_support.shared_errors", "_support.single_flight", "_support.waiting"},
    {"errors", "bson.errors"},
    {"bson"},
    {"_support.server_errors"},
    {"auth_oidc", "credentials"},  # what an application's callbacks get and give
    {"read_concern", "write_concern", "read_preferences", "results", "collation"},
    {"wire"},
    {"transport"},
    {"handshake", "driver_info", "server_api"},
    {"auth"},
    {"auth.kerberos", "auth.oidc"},  # these ask KDCs and token sources, in a login's work
    {"events.listeners"},  # the option `event_listeners` is checked by it
    {"options"},
    {"events"},
    {"dns"},
    {"uri_parser", "pool_options", "client_options"},
    {"connection"},
    {"pool"},
    {"topology"},
    {"server_type", "server_description", "topology_description"},
    {"monitoring"},
    {"event_loggers"},
    {"sessions"},
    {"execution"},
    {"commands", "commands.housekeeping"},
    {"crypt"},
    {"operations"},
    # What both faces stand on: cores that make operations and have them executed.
    {"encryption_shared"},
    {"faces"},
    {"aio"},
    {"client_session", "change_stream"},
    {"cursor"},
    {"collection"},
    {"database"},
    {"mongo_client"},
    {"encryption"},
    # PyMongo's import paths of what stands elsewhere.
    {"common", "cursor_shared", "database_shared", "helpers_shared", "client_session_shared"}
    | {"auth_shared", "auth_oidc_shared", "uri_parser_shared", "saslprep", "hello", "typings"}
    | {"encryption_options"},
    {"command_cursor", "asynchronous", "synchronous"},
    {"gridfs"},
    {""},
    {"stand_in"},
    {"as_pymongo"},
    {"cli"},
    {"__main__"},
]

# What a package must not know although it stands below.
UNKNOWN: dict[str, set[str]] = {
    "bson": {"wire", "transport"},
    "wire": {"_support.server_errors", "results"},
    "events": {"transport", "auth", "options", "handshake"},
    "transport": {"bson", "wire", "options", "dns", "_support.server_errors", "results"},
    "handshake": {"wire", "transport", "options", "dns"},
    "auth": {"wire", "transport", "dns"},
    "auth.kerberos": {"wire", "transport", "dns", "handshake"},
    "auth.oidc": {"wire", "transport", "dns", "handshake"},
    "options": {"wire", "dns"},
    "dns": {"wire", "bson"},
    "connection": {"options", "dns", "client_options", "results"},
    "pool": {"wire", "auth", "bson", "options", "dns", "client_options"},
    "topology": {"wire", "auth", "options", "dns", "client_options"},
    "sessions": {"wire", "topology", "pool", "connection", "transport", "auth", "options", "dns"},
    "execution": {"auth", "options", "dns", "client_options", "results"},
    "commands": {"auth", "options", "dns", "client_options", "topology", "pool", "transport"},
    "collection": {"wire", "transport", "auth", "connection", "topology", "pool", "handshake"},
    "cursor": {"wire", "transport", "auth", "connection", "topology", "handshake"},
}

# Clocks that freezegun and time-machine stop: a deadline reckoned by one would never come.
FROZEN_CLOCKS = re.compile(
    r"time\.(monotonic|perf_counter)|from time import .*(monotonic|perf_counter)"
)

# Imports inside of functions, of a package above, and why.
LATE: dict[str, set[str]] = {}

# Packages without I/O and without clocks, and the standard library that they leave to others.
PURE = (
    *("bson", "wire", "handshake", "auth", "options"),
    *("sessions", "execution", "commands", "operations", "cursor", "collection"),
)
IMPURE_MODULES = {"asyncio", "select", "selectors", "socket", "ssl", "time"}
# An ObjectId has the time in it.
IMPURE_EXCEPTIONS = {("bson.objectid", "time")}


def package_of(module: str) -> str:
    """The package of `module`, a name without the package's: "bson.errors", "wire"."""
    best = ""
    for package in set().union(*LAYERS):
        if (module == package or module.startswith(package + ".")) and len(package) > len(best):
            best = package
    assert best or not module, f"{module} belongs to no package: put it into LAYERS"
    return best


def level_of(package: str) -> int:
    return next(level for level, packages in enumerate(LAYERS) if package in packages)


CIMPORT = re.compile(r"^(\s*)(from\s+[\w.]+\s+)?c?import\s+(\([^)]*\)|[^\n]*)", re.M)


def imports_of(path: Path) -> Iterator[str]:
    """What the file imports at run time, as absolute names (also of the names it takes)."""
    text = path.read_text()
    if path.suffix == ".py":
        yield from python_imports(ast.parse(text))
        return
    # Cython is not Python's grammar: the statements are found by their form.
    for match in CIMPORT.finditer(text):
        source, names = match[2], match[3].strip("()")
        listed = [part.split(" as ")[0].split("#")[0].strip() for part in names.split(",")]
        if source is None:
            yield from filter(None, listed)
        else:
            base = source.split()[1]
            yield base
            yield from (f"{base}.{name}" for name in listed if name.isidentifier())


def python_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        yield from python_imports(node)


ALL_MODULES = {
    module_name(path) for suffix in ("py", "pyx", "pxd") for path in SOURCES.rglob(f"*.{suffix}")
}


def files() -> list[Path]:
    return sorted(p for p in SOURCES.rglob("*") if p.suffix in (".py", ".pyx", ".pxd"))


def inside(name: str) -> str:
    return name[len("mongokey") :].lstrip(".")


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(SOURCES).as_posix())
def test_imports_point_downward_only(path: Path) -> None:
    package = package_of(inside(module_name(path)))
    known = {each for each in imports_of(path) if each in ALL_MODULES}
    # `from mongokey import bson` is an import of that module, not of the package.
    if any(each.startswith("mongokey.") for each in known):
        known.discard("mongokey")
    for name in known:
        other = package_of(inside(name))
        if other == package or other in LATE.get(package, ()):
            continue
        assert level_of(other) <= level_of(package), f"{path.name} imports upward: {name}"
        assert other not in UNKNOWN.get(package, ()), f"{package} must not know {name}"


def imports_by_module() -> dict[str, set[str]]:
    """What each module of the package imports of it, late imports and cimports included."""
    found: dict[str, set[str]] = {}
    for path in files():
        name = module_name(path)
        known = {each for each in imports_of(path) if each in ALL_MODULES}
        # `from mongokey.bson import codec` is an import of that module, not of the package.
        exact = {a for a in known if not any(b.startswith(f"{a}.") for b in known)}
        found.setdefault(name, set()).update(exact - {name})
    return found


def test_no_imports_go_in_a_circle() -> None:
    imports = imports_by_module()
    # Who imports nothing that is left is in no circle; what remains in the end is, or leads there.
    while leaves := [name for name, used in imports.items() if not used & imports.keys()]:
        for name in leaves:
            del imports[name]
    circle = {name: sorted(used & imports.keys()) for name, used in imports.items()}
    assert not circle, f"these import each other, or those that do: {circle}"


@pytest.mark.parametrize("path", files(), ids=lambda p: p.relative_to(SOURCES).as_posix())
def test_packages_without_io_import_none(path: Path) -> None:
    module = inside(module_name(path))
    if package_of(module) not in PURE:
        return
    for name in imports_of(path):
        used = name.partition(".")[0]
        if (module, used) not in IMPURE_EXCEPTIONS:
            assert used not in IMPURE_MODULES, f"{path.name} imports {name}"


def test_the_layers_are_those_of_the_package() -> None:
    for package in set().union(*LAYERS) - {""}:
        assert f"mongokey.{package}" in ALL_MODULES, f"{package} is gone: take it out of LAYERS"


def test_waits_are_reckoned_by_a_clock_that_cannot_be_frozen() -> None:
    found = [
        f"{path.relative_to(SOURCES)}: {line.strip()}"
        for path in sorted(SOURCES.rglob("*.py*"))
        if path.suffix in (".py", ".pyx") and path.relative_to(SOURCES).parts[0] != "cli"
        for line in path.read_text().splitlines()
        if FROZEN_CLOCKS.search(line) and "`time.monotonic`" not in line
    ]
    assert not found, "take it from mongokey._support.system: " + "; ".join(found)


@pytest.mark.parametrize(
    ("function", "first"),
    [
        (bson.encode, "document"),
        (bson.decode, "data"),
        (bson.ObjectId.from_datetime, "generation_time"),
        (wire.encode_message, "command"),
    ],
)
def test_functions_that_users_call_have_signatures(function: Any, first: str) -> None:
    # What the driver calls itself is compiled without: see `binding` in setup.py.
    assert next(iter(inspect.signature(function).parameters)) == first

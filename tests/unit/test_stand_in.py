"""mongokey in PyMongo's place, each time in a process of its own: with PyMongo installed, and where
it cannot be imported."""

from __future__ import annotations

import ast
import base64
import datetime
import importlib
import json
import pickle
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import bson.json_util
import bson.raw_bson
import pymongo
import pymongo.errors
import pytest
from tools import compare_api, framework_imports

import mongokey
from mongokey import stand_in
from mongokey.cli.run_command import run as run_program
from mongokey.errors import ConfigurationError

SOURCES = str(Path(mongokey.__file__).parents[1])

#: Python's arguments: with this environment's packages, and with none but mongokey.
WITH, WITHOUT = "PyMongo installed", "PyMongo not installed"

Run = Callable[..., str]


def start(installed: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process; in the one without PyMongo, mongokey is what there is."""
    found = {"PYTHONPATH": SOURCES, **environment}
    options = [] if installed == WITH else ["-S"]
    return subprocess.run(
        [sys.executable, *options, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **found},
    )


@pytest.fixture(params=[WITH, WITHOUT])
def installed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(installed: str) -> Run:
    """Runs a program that begins with the call; returns what it prints."""

    def run(program: str, **environment: str) -> str:
        text = "import mongokey; mongokey.install_as_pymongo()\n" + textwrap.dedent(program)
        ended = start(installed, "-c", text, **environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def test_the_version_is_that_whose_api_is_compared() -> None:
    assert pymongo.version == stand_in.PYMONGO_VERSION


def test_pymongo_is_mongokey(run: Run) -> None:
    run(
        f"""
        import importlib.metadata
        import pymongo, bson, mongokey.errors
        from pymongo import MongoClient, AsyncMongoClient, InsertOne, ReadPreference
        from pymongo.errors import PyMongoError, DuplicateKeyError, OperationFailure
        from bson import ObjectId, encode
        from bson.codec_options import CodecOptions
        import pymongo.asynchronous.collection, pymongo.synchronous.mongo_client

        assert MongoClient is mongokey.MongoClient is pymongo.mongo_client.MongoClient
        assert bson is mongokey.bson and ObjectId is mongokey.bson.objectid.ObjectId
        assert pymongo.asynchronous.collection is mongokey.asynchronous.collection
        assert pymongo.version == pymongo.__version__ == {pymongo.version!r}
        assert pymongo.get_version_string() == {pymongo.version!r}
        assert pymongo.version_tuple == {pymongo.version_tuple!r}
        assert pymongo.has_c() is bson.has_c() is True
        assert importlib.metadata.version("pymongo") == {pymongo.version!r}
        assert importlib.metadata.distribution("PyMongo").metadata["Name"] == "pymongo"
        names = [each.metadata["Name"] for each in importlib.metadata.distributions()]
        assert sum(str(name).lower() == "pymongo" for name in names) == 1
        assert mongokey.__version__ == mongokey.version != pymongo.version
        assert issubclass(DuplicateKeyError, PyMongoError)
        assert PyMongoError is mongokey.errors.MongoError
        try:
            raise mongokey.errors.DuplicateKeyError("no", 11000)
        except OperationFailure as error:
            assert error.code == 11000
        assert isinstance(MongoClient("h"), pymongo.synchronous.mongo_client.MongoClient)
        assert {{"MongoClient", "errors", "version"}} <= set(dir(pymongo))
        assert pymongo.collation.Collation("en") == mongokey.collation.Collation("en")
        # The modules are told as what they are, and know how to be loaded anew.
        assert mongokey.errors.__spec__.name == mongokey.errors.__name__ == "mongokey.errors"
        import importlib
        assert importlib.reload(pymongo) is pymongo and pymongo.version == {pymongo.version!r}
        from pymongo import *
        """
    )


def test_every_module_of_pymongo_that_is_here_is_found(run: Run) -> None:
    here = [
        (theirs, ours)
        for theirs, ours in compare_api.modules()
        if compare_api.load(ours) is not None and theirs != "pymongo"
    ]
    assert len(here) > 50
    run(
        f"""
        import importlib
        for theirs, ours in {here!r}:
            assert importlib.import_module(theirs) is importlib.import_module(ours), theirs
        """
    )


MISSING = [
    ("import pymongo.message", "No module named 'pymongo.message': mongokey stands for PyMongo"),
    ("from pymongo.pool import Connection", "cannot import name 'Connection' from 'mongokey.pool'"),
    ("from bson._cbson import x", "no 'mongokey.bson._cbson'"),
    ("import pymongo._csot", "no 'mongokey._csot'"),
    ("from pymongo.server.further import x", "'pymongo.server'"),
    ("import pymongo; pymongo.no_such_name", "module 'pymongo' has no attribute 'no_such_name'"),
    ("from pymongo import no_such_name", "cannot import name 'no_such_name' from 'pymongo'"),
]


def test_what_is_missing_is_told(run: Run) -> None:
    run(
        f"""
        for program, words in {MISSING!r}:
            try:
                exec(program)
            except (ImportError, AttributeError) as error:
                assert words in str(error), (program, error)
                assert isinstance(error, ImportError) is ("import pymongo;" not in program)
            else:
                raise AssertionError(program)
        """
    )


def test_a_second_call_does_nothing_and_uninstall_undoes_it() -> None:
    text = """
        import mongokey, sys
        mongokey.uninstall_as_pymongo()
        mongokey.install_as_pymongo()
        mongokey.install_as_pymongo()
        import pymongo.errors, bson.son
        ours = pymongo
        mongokey.install_as_pymongo()
        assert pymongo.errors is mongokey.errors
        mongokey.uninstall_as_pymongo()
        mongokey.uninstall_as_pymongo()
        import pymongo, bson, pymongo.errors, importlib.metadata
        assert pymongo is not ours and pymongo.MongoClient is not mongokey.MongoClient
        assert "site-packages" in bson.__file__ and bson is not mongokey.bson
        assert pymongo.errors.__name__ == "pymongo.errors"
        assert type(sys.meta_path[0]).__module__ != "mongokey.stand_in"
        assert mongokey.errors.__spec__.name == "mongokey.errors"
    """
    ended = start(WITH, "-c", textwrap.dedent(text))
    assert ended.returncode == 0, ended.stderr


# Logs

LOGS = """
import logging, mongokey
seen = {}
class Names(logging.Handler):
    def emit(self, record):
        seen.setdefault(self.name, set()).add(record.name)

def names(**levels):
    "What each logger's handler gets of a ping that finds no server."
    seen.clear()
    for name in (*levels, "mongokey", "pymongo"):
        handler = Names()
        handler.name = name
        logging.getLogger(name).handlers[:] = [handler]
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    logging.getLogger("pymongo.serverSelection").handlers[:] = [Names()]
    try:
        client.admin.command("ping")
    except mongokey.errors.ServerSelectionTimeoutError:
        return dict(seen)
    raise AssertionError("a server at port 1?")

client = mongokey.MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=50)
"""


@pytest.mark.parametrize("used_before", [False, True])
def test_log_records_come_from_pymongos_loggers(used_before: bool) -> None:
    text = f"""
{LOGS}
if {used_before}:
    assert "mongokey.serverSelection" in names(mongokey=logging.DEBUG)["mongokey"]
mongokey.install_as_pymongo()
found = names(pymongo=logging.DEBUG)
assert "pymongo.serverSelection" in found["pymongo"], found
assert found["mongokey"] == found["pymongo"]  # it is told, too
assert found[None] == {{"pymongo.serverSelection"}}
assert "pymongo.serverSelection" in names(mongokey=logging.DEBUG)["mongokey"]
assert not names(mongokey=logging.DEBUG, pymongo=logging.WARNING)
mongokey.uninstall_as_pymongo()
assert not names(pymongo=logging.DEBUG)
assert "mongokey.serverSelection" in names(mongokey=logging.DEBUG)["mongokey"]
"""
    ended = start(WITH, "-c", text)
    assert ended.returncode == 0, ended.stderr


# What frameworks import

#: (module, name) of PyMongo's that some import and mongokey does not have, and why.
NOT_HERE = {
    ("pymongo.binary", "Binary"): "PyMongo has had none since 3: Celery tries another place next",
    **dict.fromkeys(
        [
            ("pymongo.asynchronous.pool", "AsyncConnection"),
            ("pymongo.asynchronous.server", "Server"),
            ("pymongo.helpers", "_unpack_response"),
            ("pymongo.message", "_GetMore"),
            ("pymongo.message", "_Query"),
            ("pymongo.pool", "Connection"),
            ("pymongo.pool", "SocketInfo"),
            ("pymongo.server", "Server"),
            ("pymongo.synchronous.pool", "Connection"),
            ("pymongo.synchronous.server", "Server"),
        ],
        "ddtrace patches PyMongo's machinery: docs/tracing.md has how Datadog gets spans",
    ),
}


def test_what_frameworks_import_is_here() -> None:
    """`tools/framework_imports.py` has read it out of their packages."""
    stored = json.loads(framework_imports.STORED.read_text(encoding="utf-8"))
    assert len(stored["versions"]) >= 15
    asked = 0
    for path, names in stored["imports"].items():
        package, _, rest = path.partition(".")
        own = ".".join(filter(None, (stand_in.PACKAGES[package], rest)))
        for name in names:
            asked += 1
            try:
                module = importlib.import_module(own)
                if name and not hasattr(module, name):
                    importlib.import_module(f"{own}.{name}")
            except ModuleNotFoundError:
                assert (path, name) in NOT_HERE, names[name]
    assert asked > 100


def test_imports_are_read_out_of_sources() -> None:
    source = """
import os, bson.son, pymongo as p
from bson import ObjectId as O, encode
from . import pymongo
from pymongo.errors import *
from pymongos import x
def f():
    from gridfs import GridFS
"""
    assert sorted(framework_imports.imports_of(source)) == [
        ("bson", "ObjectId"),
        ("bson", "encode"),
        ("bson.son", ""),
        ("gridfs", "GridFS"),
        ("pymongo", ""),
        ("pymongo.errors", ""),
    ]


# Agents


def test_an_agent_that_patches_pymongos_machinery_is_told_what_to_do(run: Run) -> None:
    run(
        """
        for name in ("pymongo.message", "pymongo.synchronous.server", "pymongo.asynchronous.pool"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                assert "MongoClient(tracing={'enabled': True})" in str(error), error
            else:
                raise AssertionError(name)
        try:
            import pymongo.nonsense
        except ModuleNotFoundError as error:
            assert "tracing" not in str(error), error
        """
    )


def test_an_agent_that_hooks_imports_wraps_methods(run: Run) -> None:
    """As New Relic's: its finder is the first, and its loader hands hooks the module."""
    run(
        """
        import sys
        from importlib.util import find_spec
        from types import ModuleType

        hooked = {}
        looking = set()

        class Loader:
            def __init__(self, loader):
                self.create_module, self.loader = loader.create_module, loader
            def exec_module(self, module):
                self.loader.exec_module(module)
                hooked[module.__name__] = module

        class Finder:
            def find_spec(self, name, path=None, target=None):
                if not name.startswith("pymongo.") or name in looking:
                    return None
                looking.add(name)
                try:
                    spec = find_spec(name)
                finally:
                    looking.remove(name)
                spec.loader = Loader(spec.loader)
                return spec

        sys.modules["newrelic"] = ModuleType("newrelic")
        sys.meta_path.insert(0, Finder())
        import pymongo

        found = hooked["pymongo.synchronous.collection"].Collection
        assert found is type(pymongo.MongoClient(connect=False).a.b)
        found.find_one = lambda self: "wrapped"
        assert pymongo.MongoClient(connect=False).a.b.find_one() == "wrapped"
        found = hooked["pymongo.asynchronous.collection"].AsyncCollection
        assert found is type(pymongo.AsyncMongoClient(connect=False).a.b)
        """
    )


# Pickles

VALUES: dict[str, Any] = {
    "ObjectId": bson.ObjectId("65f0c0ffee65f0c0ffee65f0"),
    "Decimal128": bson.Decimal128("1.50"),
    "Binary": bson.Binary(b"data", 128),
    "Code": bson.Code("f()", {"a": 1}),
    "DBRef": bson.DBRef("c", 5, "d", extra=1),
    "Int64": bson.Int64(2**40),
    "MaxKey": bson.MaxKey(),
    "MinKey": bson.MinKey(),
    "Regex": bson.Regex("^a", "ix"),
    "Timestamp": bson.Timestamp(100, 2),
    "SON": bson.SON([("b", 1), ("a", bson.ObjectId("65f0c0ffee65f0c0ffee65f1"))]),
    "DatetimeMS": bson.DatetimeMS(1234567890123),
    "a document": {
        "_id": bson.ObjectId("65f0c0ffee65f0c0ffee65f0"),
        "when": datetime.datetime(2020, 1, 2, tzinfo=bson.tz_util.utc),
        "uuid": bson.Binary.from_uuid(uuid.UUID(int=5)),
        "list": [bson.Int64(1), None, {"x": bson.MinKey()}],
    },
}


def test_pickles_of_pymongos_bson_are_read(run: Run) -> None:
    written = {
        (name, protocol): base64.b64encode(pickle.dumps(value, protocol)).decode()
        for name, value in VALUES.items()
        # PyMongo itself pickles only some of its classes by the two oldest protocols.
        for protocol in range(0 if name in ("ObjectId", "SON") else 2, pickle.HIGHEST_PROTOCOL + 1)
    }
    assert {("ObjectId", 0), ("SON", 1), ("ObjectId", 5)} <= set(written)
    encoded = {name: bson.encode({"": value}).hex() for name, value in VALUES.items()}
    run(
        f"""
        import base64, pickle, mongokey
        mongokey.install_as_pymongo()
        import mongokey.bson
        encoded = {encoded!r}
        for (name, protocol), text in {written!r}.items():
            value = pickle.loads(base64.b64decode(text))
            home = type(value).__module__
            assert home == "builtins" or home.startswith("mongokey.bson."), (name, home)
            assert mongokey.bson.encode({{"": value}}).hex() == encoded[name], (name, protocol)
            again = pickle.loads(pickle.dumps(value, protocol))
            assert again == value, name
        """
    )


def test_pickles_of_pymongos_errors_are_read(run: Run) -> None:
    errors = [
        pymongo.errors.DuplicateKeyError("twice", 11000, {"keyValue": {"a": 1}}),
        pymongo.errors.AutoReconnect("gone", ["reason"]),
        pymongo.errors.InvalidName("no"),
    ]
    texts = [base64.b64encode(pickle.dumps(each)).decode() for each in errors]
    run(
        f"""
        import base64, pickle, mongokey.errors
        made = [pickle.loads(base64.b64decode(text)) for text in {texts!r}]
        assert [type(each).__name__ for each in made] == {[type(e).__name__ for e in errors]!r}
        assert all(isinstance(each, mongokey.errors.MongoError) for each in made)
        assert str(made[2]) == "no"
        """
    )


# Refusals


def test_pymongo_that_was_imported_is_refused_and_the_importer_named(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("from bson.objectid import ObjectId\nimport pymongo\n")
    (tmp_path / "views.py").write_text("import models\nfrom pymongo import MongoClient as C\n")
    text = (
        "import views, mongokey, os; import mongokey.errors\ntry: mongokey.install_as_pymongo()\n"
    )
    text += "except mongokey.errors.InvalidOperation as error: print(error)"
    ended = start(WITH, "-c", text, PYTHONPATH=f"{SOURCES}:{tmp_path}")
    assert ended.returncode == 0, ended.stderr
    expected = (
        f"pymongo was imported already by models ({tmp_path / 'models.py'}) and 1 other: call"
    )
    assert expected in ended.stdout
    assert "python -m mongokey run" in ended.stdout


def test_the_program_itself_is_named() -> None:
    ended = start(WITH, "-c", "import bson, mongokey\nmongokey.install_as_pymongo()")
    assert ended.returncode == 1
    assert "bson was imported already by __main__: call" in ended.stderr


def test_another_package_called_bson_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "bson.py").write_text("def dumps(): ...\n")
    (tmp_path / "app.py").write_text("from bson import dumps\n")
    text = "import app, mongokey\nmongokey.install_as_pymongo()"
    ended = start(WITHOUT, "-c", text, PYTHONPATH=f"{tmp_path}:{SOURCES}")
    assert ended.returncode == 1
    assert "bson was imported already by app" in ended.stderr


def test_nobody_is_named_where_nobody_holds_it() -> None:
    text = "import sys, mongokey\n__import__('bson')\nmongokey.install_as_pymongo()"
    ended = start(WITH, "-c", text)
    assert "bson was imported already: call" in ended.stderr


# The environment variable


def test_the_variable_asks_for_it(installed: str) -> None:
    text = "import mongokey.as_pymongo, pymongo; print(pymongo.MongoClient is mongokey.MongoClient)"
    ended = start(installed, "-c", text, MONGOKEY_AS_PYMONGO="1")
    assert ended.stdout == "True\n", ended.stderr


def test_without_it_nothing_changes() -> None:
    text = "import mongokey.as_pymongo, pymongo; print(pymongo.MongoClient.__module__)"
    ended = start(WITH, "-c", text)
    assert ended.stdout == "pymongo.synchronous.mongo_client\n", ended.stderr


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        *(("1", True), ("true", True), ("YES", True), (" on ", True)),
        *(
            (None, False),
            ("", False),
            ("0", False),
            ("no", False),
            ("False", False),
            ("off", False),
        ),
    ],
)
def test_its_values(monkeypatch: pytest.MonkeyPatch, value: str | None, asked: bool) -> None:
    calls: list[int] = []
    monkeypatch.setattr(stand_in, "install_as_pymongo", lambda: calls.append(1))
    monkeypatch.delenv(stand_in.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(stand_in.VARIABLE, value)
    assert stand_in.install_if_asked() is asked
    assert len(calls) == asked


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stand_in.VARIABLE, "please")
    with pytest.raises(
        ConfigurationError, match="MONGOKEY_AS_PYMONGO must be 1 or 0, not 'please'"
    ):
        stand_in.install_if_asked()


def test_it_is_a_plugin_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_it():\n    import bson, mongokey\n    assert bson is mongokey.bson\n"
    )
    arguments = ("-m", "pytest", "-q", "-p", "mongokey.as_pymongo", "-p", "no:cacheprovider")
    ended = start(WITH, *arguments, str(tmp_path), MONGOKEY_AS_PYMONGO="1")
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr


# python -m mongokey run

PROGRAM = """\
import os, pickle, sys
import beside, pymongo

class Made:
    def __init__(self, value): self.value = value

if __name__ == "__main__":
    import mongokey
    assert pymongo.MongoClient is mongokey.MongoClient
    made = pickle.loads(pickle.dumps(Made(5)))
    assert type(made) is Made and sys.modules["__main__"].Made is Made
    print(beside.WORD, sys.argv[1:], os.path.basename(sys.argv[0]), os.path.basename(__file__))
    if "fail" in sys.argv: raise SystemExit(7)
    if "raise" in sys.argv: raise KeyError("from the program")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "beside.py").write_text("WORD = 'beside'\n")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "__main__.py").write_text(PROGRAM)
    return folder


def test_a_script_runs_with_its_arguments(installed: str, folder: Path) -> None:
    script = str(folder / "program.py")
    ended = start(installed, "-m", "mongokey", "run", script, "-m", "--help", "x")
    assert ended.stdout == "beside ['-m', '--help', 'x'] program.py program.py\n", ended.stderr
    assert ended.returncode == 0
    assert start(installed, "-m", "mongokey", "run", script, "fail").returncode == 7


def test_a_scripts_error_is_its_own(folder: Path) -> None:
    ended = start(WITH, "-m", "mongokey", "run", str(folder / "program.py"), "raise")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "KeyError: 'from the program'"
    assert 'program.py", line 14, in <module>' in ended.stderr


def test_a_module_runs_as_one(installed: str, folder: Path) -> None:
    text = (
        f"import os, sys; os.chdir({str(folder)!r}); sys.argv[1:] = ['run', '-m', 'package', 'y']\n"
    )
    text += "sys.path[0] = ''; from mongokey.cli.main import main; main()"
    ended = start(installed, "-c", text)
    assert ended.stdout == "beside ['y'] __main__.py __main__.py\n", ended.stderr


def test_a_folder_runs_too(folder: Path) -> None:
    (folder / "package" / "beside.py").write_text("WORD = 'within'\n")
    ended = start(WITH, "-m", "mongokey", "run", str(folder / "package"), "z")
    assert ended.stdout == "within ['z'] package __main__.py\n", ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "usage: python -m mongokey run script.py"),
        (("--help",), 0, "usage: python -m mongokey run script.py"),
        (("-c", "pass"), 2, "mongokey run: -c is not known"),
        (("-m",), 2, "mongokey run: -m is not known"),
        (("no/such/file.py",), 2, "mongokey run: there is no file 'no/such/file.py'"),
    ],
)
def test_wrong_usage_is_told(
    arguments: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(arguments)
    assert ended.value.code == code
    told = capsys.readouterr()
    assert words in (told.err if code else told.out)


def test_the_command_is_listed_with_the_others() -> None:
    ended = start(WITH, "-m", "mongokey", "--help")
    assert re.search(r"^ +run +Run a Python program", ended.stdout, re.M), ended.stdout
    assert start(WITH, "-m", "mongokey", "explain", "--help").returncode == 0


def test_a_module_that_is_a_program_runs(installed: str) -> None:
    uri = (
        "mongodb://ada:Sec-Ret7@db.example.com/app?tls=true&tlsCertificateKeyFilePassword=Sec-Ret8"
    )
    command = ("-m", "mongokey", "run", "-m", "pymongo.uri_parser")
    found = start(installed, *command, uri)
    assert found.returncode == 0, found.stderr
    read = ast.literal_eval(found.stdout)
    assert read["nodelist"] == [("db.example.com", 27017)]
    assert read["database"] == "app"
    assert "Sec-Ret" not in found.stdout + found.stderr
    wrong = start(installed, *command, "not-a-uri")
    assert wrong.returncode == 0
    assert "must begin with" in wrong.stdout
    assert start(installed, *command).returncode == 2


def test_many_clients_are_no_warning_in_pymongos_place(run: Run) -> None:
    """PyMongo has none there, and a program may have made errors of all warnings."""
    printed = run(
        """
        import warnings
        import pymongo
        warnings.simplefilter("error")
        for _ in range(4):
            pymongo.MongoClient("mongodb://127.0.0.1:1").close()
        mongokey.uninstall_as_pymongo()
        try:
            for _ in range(3):
                mongokey.MongoClient("mongodb://127.0.0.1:1").close()
        except mongokey.errors.ManyClientsWarning:
            print("warned")
        """
    )
    assert printed == "warned\n"

"""The command line without a server: its entry, its exit codes, what a demo makes of failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from click.testing import CliRunner

from mongokey import __version__
from mongokey.auth.login import LoginResult
from mongokey.cli import demo, demo_server, exit_codes, main
from mongokey.cli.app import cli
from mongokey.errors import OperationFailure
from mongokey.handshake import HelloReply

PACKAGE = Path(demo.__file__).parents[1]
HELLO = HelloReply({"ok": 1, "isWritablePrimary": True, "maxWireVersion": 21})


def run(*arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(cli, arguments, **options)


class FakeServer:
    """Stands where the demo's server stands; what it is asked comes from `demo.run`."""

    version = "0"
    address = ("127.0.0.1", 1)
    tls_address = ("127.0.0.1", 2)
    certificates = None
    stopped = 0

    def __init__(self, users: Any) -> None:
        self.users = users

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        type(self).stopped += 1


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the demo's steps come to: fill the list. An exception in it is raised."""
    planned: list[Any] = []

    def play(address: Any, users: Any, *certificates: Any) -> Iterator[Any]:
        for step in planned:
            if isinstance(step, BaseException):
                raise step
            yield step

    FakeServer.stopped = 0
    monkeypatch.setattr(demo, "run", play)
    monkeypatch.setattr(demo_server, "DemoServer", FakeServer)
    return planned


def login(way: demo.Way, warm: bool, mechanism: str, round_trips: int) -> demo.LoginStep:
    return demo.LoginStep(way, warm, LoginResult(HELLO, mechanism, round_trips, True), 1_500_000)


# ---------------------------------------------------------------- the entry


@pytest.mark.parametrize("package", ["click", "rich"])
def test_entry_without_its_packages_says_what_to_install(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None;"
        "from mongokey.cli.main import main; main(['demo'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == exit_codes.NOT_INSTALLED
    assert done.stdout == ""
    assert done.stderr == (
        f"mongokey: the command line needs {package}, which is not installed: "
        "pip install 'mongokey[cli]'\n"
    )


@pytest.mark.parametrize("package", ["click", "rich"])
def test_check_without_its_packages_has_no_step_s_exit_code(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None;"
        "from mongokey.cli.main import main; main(['check', 'mongodb://h'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == exit_codes.FAILED
    assert "pip install 'mongokey[cli]'" in done.stderr


def test_entry_does_not_hide_that_a_module_of_its_own_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "mongokey.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "mongokey.cli.explain", None)

    with pytest.raises(ModuleNotFoundError, match="explain"):
        main.main(["demo"])


def test_entry_runs_the_arguments_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--version"])

    assert caught.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_wrong_usage_has_the_exit_code_2() -> None:
    assert run("explain").exit_code == 2
    assert run("no-such-command").exit_code == 2


def test_module_runs_as_the_console_script_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mongokey.cli", "explain", "localhost"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.startswith("localhost:27017\n")


def test_library_imports_neither_command_line_nor_server() -> None:
    code = (
        "import sys, mongokey; mongokey.MongoClient('localhost');"
        "tops = {n.partition('.')[0] for n in sys.modules};"
        "print(sorted(tops & {'click', 'rich', 'secantus'}), 'mongokey.cli' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "[] False\n"


def test_only_the_demo_server_names_secantus() -> None:
    naming = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py*")
        if path.suffix in (".py", ".pyx") and '"secantus"' in path.read_text()
    }

    assert naming == {"cli/demo_server.py"}


# ---------------------------------------------------------------- demo


def test_demo_without_secantus_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_server, "find_spec", lambda name: None)

    result = run("demo")

    assert result.exit_code == exit_codes.NOT_INSTALLED
    assert "pip install 'mongokey[demo]'" in result.stderr


@pytest.mark.parametrize(("version", "older"), [((3, 13, 1), False), ((3, 14, 0), True)])
def test_demo_without_secantus_knows_which_pythons_have_none(
    version: tuple[int, ...], older: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_server, "find_spec", lambda name: None)
    monkeypatch.setattr(demo_server.sys, "version_info", version)

    with pytest.raises(demo_server.ServerMissing) as caught:
        demo_server.DemoServer(()).__enter__()

    monkeypatch.undo()
    assert ("older Python" in str(caught.value)) is older


def test_demo_without_secantus_says_it_in_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_server, "find_spec", lambda name: None)

    result = run("demo", "--json")

    assert result.exit_code == exit_codes.NOT_INSTALLED
    told = json.loads(result.stdout)
    assert told["ok"] is False
    assert told["error"] == "ServerMissing"
    assert "mongokey[demo]" in told["message"]


def test_demo_whose_server_does_not_come_up_shows_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "secantus.py"
    broken.write_text("raise RuntimeError('no room on the disk')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(demo_server, "find_spec", lambda name: True)

    result = run("demo")

    assert result.exit_code == exit_codes.FAILED
    assert "SecantusDB did not start" in result.stderr
    assert "no room on the disk" in result.stderr


def test_demo_with_right_results_ends_with_exit_code_0(steps: list[Any]) -> None:
    way = demo.WAYS[0]
    steps.append(login(way, True, way.mechanism, demo.WARM_ROUND_TRIPS))

    result = run("demo")

    assert result.exit_code == 0
    assert "1.5 ms" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("All was right: 1 logins")


@pytest.mark.parametrize(
    ("warm", "mechanism", "round_trips", "problem"),
    [
        (True, demo.SHA_256, 3, "took 3 round trips, not 2"),
        (False, demo.SHA_256, 4, "took 4 round trips, not 2"),
        (True, demo.SHA_1, 2, "logged in with SCRAM-SHA-1, not SCRAM-SHA-256"),
    ],
)
def test_demo_with_an_unexpected_login_fails_and_says_why(
    warm: bool, mechanism: str, round_trips: int, problem: str, steps: list[Any]
) -> None:
    steps.append(login(demo.WAYS[0], warm, mechanism, round_trips))

    result = run("demo")
    as_json = run("demo", "--json")

    assert result.exit_code == as_json.exit_code == exit_codes.FAILED
    assert f"WRONG: SCRAM-SHA-256, {'warm' if warm else 'cold'}: {problem}" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Not all was right")
    told = json.loads(as_json.stdout)
    assert told["ok"] is False
    assert problem in told["problems"][0]


def test_demo_that_lets_a_wrong_password_in_fails(steps: list[Any]) -> None:
    steps.append(demo.RefusalStep(None, ["a wrong password was let in"]))

    assert run("demo").exit_code == exit_codes.FAILED
    assert json.loads(run("demo", "--json").stdout)["refusals"] == [{"error": None}]


def test_demo_stops_its_server_when_a_step_fails(steps: list[Any]) -> None:
    steps.append(OperationFailure("not today", 13))

    result = run("demo")

    assert result.exit_code == exit_codes.FAILED
    assert result.stderr.startswith("mongokey: not today")
    assert FakeServer.stopped == 1


def test_demo_stops_its_server_on_ctrl_c(steps: list[Any]) -> None:
    steps.append(KeyboardInterrupt())

    assert run("demo").exit_code == 1
    assert FakeServer.stopped == 1


def test_demo_users_get_new_passwords_each_time_and_never_show_them() -> None:
    first, second = demo.make_users(), demo.make_users()

    assert {user.password for user in first}.isdisjoint(user.password for user in second)
    for user in first:
        assert user.password not in repr(user)


def test_no_color_switches_colours_off_and_force_color_on(
    steps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    way = demo.WAYS[0]
    steps.append(login(way, True, way.mechanism, 2))
    green = "\x1b[32m"

    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" not in run("demo").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert green in run("demo", color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert green not in run("demo", color=True).stdout

"""`mongokey check` as people see it: on a terminal, into a pipe, and stopped by Ctrl-C.

The command runs in a process of its own; the terminal is a pseudo-terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.checks import ANSWERS
from tests.servers.dns import HOST
from tests.servers.dns_script import ScriptedDNS, silent
from tests.servers.scripted import Close, Delay, Login, ScriptedServer, Silence

pty = pytest.importorskip("pty", reason="needs pseudo-terminals")

SECONDS = 30.0
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a pseudo-terminal, and what was shown on it up to now."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, wide: int = 100) -> None:
        import fcntl
        import struct
        import termios

        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, wide, 0, 0))
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI", "MONGODB_URI")
        }
        environment.update(
            TERM="xterm-256color", PYTHONPATH=os.pathsep.join(sys.path), PYTHONUTF8="1"
        )
        environment.update(env or {})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mongokey.cli", "check", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, found: Callable[[str], object] = lambda _: False) -> str:
        """Read until `found` of all that was shown, or the end."""
        import select

        end = time.monotonic() + SECONDS
        while not found(self.shown):
            left = end - time.monotonic()
            assert left > 0, self.shown
            if not select.select([self._ours], [], [], left)[0]:
                continue
            try:
                part = os.read(self._ours, 65536)
            except OSError:  # Linux: nobody has the other end open any more
                break
            if not part:
                break
            self.shown += part.decode("utf-8", "backslashreplace")
        return self.shown

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        os.close(self._ours)


@contextlib.contextmanager
def terminal(*arguments: str, **options: Any) -> Iterator[Terminal]:
    made = Terminal(*arguments, **options)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def slow() -> Iterator[ScriptedServer]:
    """A server that takes half a second to tell its version."""
    on = {**ANSWERS, "buildInfo": Delay(0.5, ANSWERS["buildInfo"])}
    with ScriptedServer(login=Login("ada", "pencil"), on=on) as server:
        yield server


def uri(server: ScriptedServer, password: str = "wrong-one") -> str:
    return f"mongodb://ada:{password}@127.0.0.1:{server.port}/?authSource=admin"


def test_a_terminal_gets_steps_as_they_come_colours_and_a_spinner(slow: ScriptedServer) -> None:
    with terminal(uri(slow)) as shown:
        # While one step waits, those before it are shown already, and it has a spinner.
        text = shown.read_until(lambda text: "hello: asking the servers" in text)
        plain = ESCAPE.sub("", text)
        assert "✓ string" in plain
        assert "✓ tcp" in plain
        assert "The login fails" not in plain
        assert re.search("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] hello: asking", plain)
        assert "\x1b[?25l" in text  # the cursor is hidden beside a spinner
        text = shown.read_until()
        assert shown.process.wait(SECONDS) == 6
    plain = ESCAPE.sub("", text)
    assert "\x1b[32m✓" in text
    assert "\x1b[1;31m✗" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "[AUTH-PASSWORD-WRONG, likely]" in plain
    order = [plain.index(f"\n  {word}") for word in ("seen", "means", "do")]
    assert order == sorted(order)
    assert plain.rstrip().endswith("mongokey explain AUTH-PASSWORD-WRONG")
    assert "wrong-one" not in text


def test_no_color_has_no_colours(slow: ScriptedServer) -> None:
    with terminal(uri(slow), env={"NO_COLOR": "1"}) as shown:
        text = shown.read_until()
    assert "✓ string" in ESCAPE.sub("", text)
    colours = {code for each in re.findall(r"\x1b\[([0-9;]*)m", text) for code in each.split(";")}
    assert colours <= {"", "0", "1", "2"}  # bold and dim are no colours


def test_a_terminal_that_is_no_utf_8_one(slow: ScriptedServer) -> None:
    with terminal(uri(slow), env={"PYTHONIOENCODING": "ascii"}) as shown:
        text = shown.read_until()
        assert shown.process.wait(SECONDS) == 6
    assert text.isascii()
    assert "ok     string" in ESCAPE.sub("", text)
    assert "Traceback" not in text


@pytest.mark.parametrize("wide", [10, 20, 60])
def test_a_narrow_terminal(slow: ScriptedServer, wide: int) -> None:
    with terminal(uri(slow), wide=wide) as shown:
        text = shown.read_until()
        assert shown.process.wait(SECONDS) == 6
    # Nothing is cut off: the terminal itself breaks lines.
    plain = "".join(ESCAPE.sub("", text).split())
    assert f"mongodb://ada:***@127.0.0.1:{slow.port}" in plain
    assert "mongokeyexplainAUTH-PASSWORD-WRONG" in plain


def test_a_pipe_gets_neither_colours_nor_a_spinner(slow: ScriptedServer) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mongokey.cli", "check", uri(slow)],
        capture_output=True,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"},
    )
    text = done.stdout.decode()
    assert done.returncode == 6
    assert "\x1b" not in text
    assert "asking the servers" not in text
    assert done.stderr == b""


# ---------------------------------------------------------------- Ctrl-C


@contextlib.contextmanager
def waiting_in(name: str) -> Iterator[list[str]]:
    """Arguments of a check that waits for ever in the step of that name."""
    if name == "dns":
        with ScriptedDNS(udp=silent, tcp=silent) as server:
            yield ["mongodb+srv://c.example.test", "--name-server", f"{HOST}:{server.port}"]
        return
    if name in ("tcp", "tls"):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0 if name == "tcp" else 5)
            place = listener.getsockname()
            held = [socket.socket() for _ in range(4 if name == "tcp" else 0)]
            for sock in held:
                sock.setblocking(False)
                sock.connect_ex(place)
            time.sleep(0.05)
            try:
                yield [f"mongodb://127.0.0.1:{place[1]}/", "--tls"]
            finally:
                for sock in held:
                    sock.close()
        return
    on: dict[str, Any] = {
        "hello": {"buildInfo": Silence()},
        "login": {"saslStart": Silence()},
        "identity": {"connectionStatus": Silence()},
        "read": {"find": Silence()},
    }[name]
    with ScriptedServer(login=Login("ada", "pencil"), on={**ANSWERS, **on}) as server:
        yield [uri(server, "pencil")]


STEPS = ["dns", "tcp", "tls", "hello", "login", "identity", "read"]


@pytest.mark.parametrize("name", STEPS)
def test_ctrl_c_ends_a_check_in_each_step(name: str) -> None:
    with waiting_in(name) as arguments:
        with terminal(*arguments, "--timeout", "60") as shown:
            shown.read_until(lambda text: re.search(rf"[^a-z]{name}: ", text))
            shown.process.send_signal(signal.SIGINT)
            text = shown.read_until()
            assert shown.process.wait(SECONDS) == 130
    assert "Traceback" not in text
    assert "interrupted" in text
    assert "pencil" not in text
    # The terminal is as it was: the cursor is shown again.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_ctrl_c_with_json_prints_no_half_of_one() -> None:
    with ScriptedServer(on={"hello": Silence()}) as server:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mongokey.cli", "check", "--json"),
                f"mongodb://127.0.0.1:{server.port}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert server.wait_for(lambda: server.count() > 0, SECONDS)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert output == b""
    assert b"Traceback" not in errors


def test_a_server_that_hangs_up_in_the_midst_of_a_login() -> None:
    with ScriptedServer(login=Login("ada", "x"), on={**ANSWERS, "saslStart": Close()}) as server:
        with terminal(uri(server)) as shown:
            text = shown.read_until()
            assert shown.process.wait(SECONDS) == 6
    assert "Traceback" not in text

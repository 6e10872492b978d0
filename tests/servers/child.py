"""A real server as a child process: started, waited for, stopped by its own process id.

Knows processes, their output and ports. Must not know what the program does, nor the code under
test.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
STOP_TIMEOUT = 10.0
POLL = 0.01
#: So much of the end of what a program said is told.
SAID = 4000


class Child:
    """A program that runs until `stop`; `log` gets what it prints.

    `environment` replaces this process's own. `signal` sends it a signal.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid
        self.signal = self._process.send_signal

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until `condition` holds; False when it does not in time, or the program ended."""
        deadline = time.monotonic() + timeout
        while self._process.poll() is None and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(POLL)
        return False

    def failed(self, name: str, *logs: Path) -> RuntimeError:
        """The error of a program that did not come up, with what its log files say."""
        status = self._process.poll()
        said = "".join(log.read_text(errors="replace") for log in logs if log.exists())
        how = "did not come up" if status is None else f"ended with status {status}"
        return RuntimeError(f"{name} {how}:\n{said[-SAID:]}")

    def stop(self) -> None:
        """Stop the program and wait for it."""
        self._process.terminate()
        wait_or_kill(self._process)


def wait_or_kill(process: subprocess.Popen[Any], timeout: float = STOP_TIMEOUT) -> None:
    """Wait for a process that was told to end; kill it when it does not."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout)


def listens(port: int) -> bool:
    """Whether somebody takes TCP connections at a loopback port."""
    with contextlib.suppress(OSError):
        socket.create_connection((HOST, port), timeout=1.0).close()
        return True
    return False


def free_port() -> int:
    """A loopback port that is free for UDP and TCP."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different loopback ports that are free for UDP and TCP."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        for _ in range(50 * count):
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp.bind((HOST, 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind((HOST, port))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise RuntimeError("no port is free for both UDP and TCP")

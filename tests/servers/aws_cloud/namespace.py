"""A network of its own, for addresses that a machine must not have: ECS's 169.254.170.2.

A thread moves into a new network namespace (Linux, root) and gives its loopback interface more
addresses; sockets it opens stay there, whoever serves them, and programs it starts live there.
Knows nothing of AWS.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

from tests.servers.managed_server import ManagedServer
from tests.servers.needs import need_program

CLONE_NEWNET = 0x40000000
TIMEOUT = 30.0

T = TypeVar("T")


class Namespace(ManagedServer):
    """A network namespace whose only interface is loopback, with `addresses` besides its own.

    Skips the test where the kernel does not let the user make one.
    """

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._live, name="network namespace", daemon=True)
        self._open = contextlib.ExitStack()

    def start(self) -> Namespace:
        if sys.platform != "linux":
            pytest.skip("network namespaces are Linux's")
        ip = need_program("ip", package="iproute2")
        self._thread.start()
        try:
            self.do(_move)
        except OSError as error:
            pytest.skip(f"this user may not make a network namespace: {error}")
        for arguments in (
            ["link", "set", "lo", "up"],
            *(["address", "add", f"{address}/32", "dev", "lo"] for address in self._addresses),
        ):
            self.run([ip, *arguments])
        return self

    def stop(self) -> None:
        self._open.close()
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join(TIMEOUT)

    def do(self, job: Callable[[], T]) -> T:
        """The result of `job`, done by the thread that lives there."""
        done: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

        def work() -> None:
            try:
                done.put((job(), None))
            except BaseException as error:
                done.put((None, error))

        self._jobs.put(work)
        result, error = done.get(timeout=TIMEOUT)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def listen(self, host: str, port: int) -> socket.socket:
        """A listening socket there."""
        return self.do(lambda: socket.create_server((host, port), backlog=16))

    def run(self, command: Sequence[str], **options: Any) -> str:
        """Run a program there, and give its output; raises `AssertionError` when it fails."""
        ended = self.do(
            lambda: subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options
            )
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        output: str = ended.stdout
        return output

    def lead_out(self, target: tuple[str, int]) -> int:
        """A port on its 127.0.0.1 that leads to `target` outside."""
        listener = self.listen("127.0.0.1", 0)
        self._open.callback(_close, listener)
        port: int = listener.getsockname()[1]
        threading.Thread(
            target=_pass_on, args=(listener, target), name="way out", daemon=True
        ).start()
        return port

    def _live(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _move() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _pass_on(listener: socket.socket, target: tuple[str, int]) -> None:
    """Accept clients and join each to a connection of its own to `target`."""
    while True:
        try:
            inside, _ = listener.accept()
        except OSError:
            return
        outside = socket.create_connection(target, timeout=TIMEOUT)
        outside.settimeout(None)
        threading.Thread(target=_join, args=(inside, outside), daemon=True).start()


def _join(inside: socket.socket, outside: socket.socket) -> None:
    with inside, outside:
        back = threading.Thread(target=_copy, args=(outside, inside), daemon=True)
        back.start()
        _copy(inside, outside)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _close(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()

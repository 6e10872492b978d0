"""A server in a process of its own that is asked over its standard input: a line of JSON for each
question, one for each answer, and one of its own when it has come up.

Knows the process, its lines and what it prints. Must not know what is asked.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.child import SAID, wait_or_kill
from tests.servers.managed_server import ManagedServer

ROOT = Path(__file__).resolve().parents[2]


class LineServer(ManagedServer):
    """What `python -m module arguments` serves; the process ends when its input does.

    `name` is what errors call it. So many seconds (`answer_timeout`) an answer may take, and
    (`stop_timeout`) the end. Raises RuntimeError when the process ends or does not answer in time.
    """

    name: str
    module: str
    answer_timeout: float
    stop_timeout: float

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self._log: Any = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The process's id."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._process.pid

    def _begin(self) -> dict[str, Any]:
        """Start the process; gives what it says of itself once it is up."""
        # The process must not outlive `stop`, so the file is closed there and not by a `with`.
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *self._arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        try:
            return self._read_line()
        except BaseException:
            self._end()
            raise

    def _end(self) -> tuple[int, str]:
        """Stop the process and wait for it; gives its status and what it printed as errors."""
        process, self._process = self._process, None
        log, self._log = self._log, None
        if process is None:
            return 0, ""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            wait_or_kill(process, self.stop_timeout)
            process.stdout.close()
            log.seek(0)
            return process.returncode, log.read()
        finally:
            log.close()

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question; RuntimeError if that is an object with `failed`."""
        with self._lock:
            if self._process is None or self._process.stdin is None:
                raise RuntimeError(f"{self.name} is not started")
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._read_line()
        if "failed" in answer:
            raise RuntimeError(f"{self.name} could not do {question}: {answer['failed']}")
        return answer

    def _read_line(self) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        timer = threading.Timer(self.answer_timeout, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
            timer.join()
        if not line:
            process.wait(self.stop_timeout)
            self._log.seek(0)
            raise RuntimeError(
                f"{self.name} ended with status {process.returncode} or said nothing for "
                f"{self.answer_timeout:g} s:\n{self._log.read()[-SAID:]}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

"""tests.servers.line_server: what becomes of a server process that does not do as it should."""

from __future__ import annotations

import pytest

from tests.servers.line_server import LineServer


class Server(LineServer):
    name = "the server"
    answer_timeout = 20.0
    stop_timeout = 20.0

    def __init__(self, module: str, *arguments: str) -> None:
        super().__init__(arguments)
        self.module = module

    def start(self) -> Server:
        self.first = self._begin()
        return self

    def stop(self) -> None:
        self.ended = self._end()


def test_one_that_does_not_come_up_says_why_and_leaves_no_process() -> None:
    server = Server("tests.servers.no_such_module")
    with pytest.raises(RuntimeError, match=r"the server ended with status 1(?s:.*)no_such_module"):
        server.start()
    with pytest.raises(RuntimeError, match="the server is not started"):
        _ = server.pid
    server.stop()
    assert server.ended == (0, "")


def test_one_that_says_nothing_is_killed() -> None:
    # It reads its input to the end before it says anything.
    server = Server("json.tool")
    server.answer_timeout = 0.2
    with pytest.raises(RuntimeError, match=r"said nothing for 0\.2 s"):
        server.start()


def test_one_that_is_not_started_is_not_asked() -> None:
    with pytest.raises(RuntimeError, match="the server is not started"):
        Server("json.tool")._ask({"question": 1})


def test_an_answer_that_it_failed_is_an_error() -> None:
    # Gives each line back, in a line.
    program = (
        "import sys; print('{}', flush=True); [print(i, end='', flush=True) for i in sys.stdin]"
    )
    with Server("timeit", "-n1", "-r1", program) as server:
        assert server.first == {}
        assert server._ask({"a": 1}) == {"a": 1}
        with pytest.raises(RuntimeError, match=r"the server could not do .*: no room"):
            server._ask({"failed": "no room"})
    assert server.ended == (0, "")

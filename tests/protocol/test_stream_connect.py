"""Connecting: addresses of every kind, raced under one deadline, with errors that name each."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from mongokey.errors import AutoReconnect, ConfigurationError, NetworkTimeout
from mongokey.transport import connect
from tests.deadlines import within

FAR = 20.0
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a full backlog hangs only on Linux")


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


@contextlib.contextmanager
def listening(host: str = "127.0.0.1", port: int = 0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        listener.settimeout(FAR)
        yield listener


@contextlib.contextmanager
def refusing(host: str = "127.0.0.1", port: int = 0):
    """An address that is taken but not listened on: a connect to it is refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, port))
        yield taken.getsockname()[:2]


@contextlib.contextmanager
def hanging(host: str = "127.0.0.1"):
    """An address whose queue is full: Linux drops what asks to connect, as a dead route does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[:2]


def talks(stream, listener) -> bool:
    far, _ = listener.accept()
    with far:
        far.settimeout(FAR)
        stream.send_all(b"ping")
        same = far.recv(10) == b"ping"
        far.sendall(b"pong")
        return same and stream.receive(10) == b"pong"


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=IPV6), "localhost"])
def test_a_host_is_reached(host):
    with listening("::1" if host == "::1" else "127.0.0.1") as listener:
        port = listener.getsockname()[1]
        stream = connect(host, port, timeout=FAR)
        assert stream.peer == (f"[::1]:{port}" if host == "::1" else f"{host}:{port}")
        assert talks(stream, listener)
        stream.close()


@IPV6
def test_an_ipv6_literal_with_a_zone_is_reached():
    with listening("::1") as listener:
        stream = connect("::1%1", listener.getsockname()[1], timeout=FAR)
        assert talks(stream, listener)
        stream.close()


@IPV6
def test_localhost_is_reached_on_either_family():
    with listening("::1") as listener:
        port = listener.getsockname()[1]
        addresses = [("127.0.0.1", port), ("::1", port)]
        stream = connect("localhost", port, timeout=FAR, resolver=lambda *_: addresses)
        assert stream.peer == f"localhost:{port}"
        assert talks(stream, listener)
        stream.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
def test_a_unix_socket_is_reached(tmp_path):
    path = str(tmp_path / "mongodb-27017.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        stream = connect(path, None, timeout=FAR)
        assert stream.peer == path
        assert talks(stream, listener)
        stream.close()


@LINUX
def test_a_unix_socket_with_a_full_queue_is_waited_for(tmp_path):
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(NetworkTimeout, match=r"timed out after 0\.\d+ s \(connectTimeoutMS=9"):
            connect(path, deadline=within(99, "connectTimeoutMS"))
        accepted = []
        accepting = threading.Timer(0.2, lambda: accepted.append(listener.accept()))
        accepting.start()
        connect(path, timeout=FAR).close()
        accepting.join()
        accepted[0][0].close()


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
def test_a_missing_unix_socket_is_named(tmp_path):
    path = str(tmp_path / "none.sock")
    with pytest.raises(AutoReconnect, match=f"cannot connect to {path}: No such file"):
        connect(path, timeout=FAR)


@pytest.mark.parametrize(
    ("host", "port"),
    [("", 1), ("a\0b", 1), ("h", 0), ("h", 65536), ("h", None), ("/x" * 200, None), ("\udcff", 1)],
)
def test_what_cannot_be_an_address_is_refused_before_anything_is_tried(host, port):
    with pytest.raises(ConfigurationError):
        connect(host, port, timeout=FAR)


def test_a_timeout_and_a_deadline_together_are_refused():
    with pytest.raises(ValueError, match="not both"):
        connect("127.0.0.1", 1, timeout=1, deadline=within(1))
    with pytest.raises(ValueError, match="more than 0"):
        connect("127.0.0.1", 1, timeout=0)


def test_a_refusal_names_the_address():
    with refusing() as (host, port):
        with pytest.raises(AutoReconnect) as caught:
            connect(host, port, timeout=FAR)
        assert not isinstance(caught.value, NetworkTimeout)
        assert str(caught.value) == (
            f"cannot connect to {host}:{port}: connection to {host}:{port} refused "
            "(is a server listening there?) [TCP-REFUSED]"
        )
        assert caught.value.details == {f"{host}:{port}": "refused"}


def test_sockets_are_set_up_for_commands_and_dead_peers():
    with listening() as listener:
        stream = connect(*listener.getsockname(), timeout=FAR)
        far, _ = listener.accept()
        with far, socket.socket(fileno=stream.fileno()) as view:
            assert view.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert view.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for name, most in (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 9)):
                if hasattr(socket, name):
                    assert view.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) <= most
            view.detach()
        stream.close()


@LINUX
def test_a_host_that_does_not_answer_ends_in_the_deadline():
    with hanging() as (host, port):
        started = time.monotonic()
        with pytest.raises(NetworkTimeout) as caught:
            connect(
                host,
                port,
                deadline=within(300, "connectTimeoutMS"),
            )
        assert 0.29 <= time.monotonic() - started < FAR / 2
        message = str(caught.value)
        assert message.startswith(
            f"cannot connect to {host}:{port}: connection to {host}:{port} timed out after 0.3"
        )
        assert message.endswith(" s (connectTimeoutMS=300) [TCP-TIMEOUT]")


@LINUX
@pytest.mark.parametrize("dead", ["127.0.0.1", pytest.param("::1", marks=IPV6)])
def test_a_dead_first_address_costs_a_head_start_and_not_the_timeout(dead):
    with hanging(dead) as nowhere, listening() as listener:
        started = time.monotonic()
        stream = connect(
            "db",
            1,
            timeout=FAR,
            resolver=lambda *_: [nowhere, listener.getsockname()],
        )
        assert 0.24 <= time.monotonic() - started < FAR / 2
        assert talks(stream, listener)
        stream.close()


def test_a_refused_first_address_costs_no_head_start():
    with contextlib.ExitStack() as stack, listening() as listener:
        # Fifty head starts would be longer than the timeout.
        refused = [stack.enter_context(refusing()) for _ in range(50)]
        stream = connect(
            "db", 1, timeout=10, resolver=lambda *_: [*refused, listener.getsockname()]
        )
        assert talks(stream, listener)
        stream.close()


@LINUX
def test_a_slow_first_address_still_wins_when_it_is_first_to_connect():
    with (
        hanging() as silent,
        refusing() as refused,
        contextlib.ExitStack() as fillers,
        socket.socket() as late,
    ):
        late.bind(("127.0.0.1", 0))
        late.listen(0)
        late.settimeout(0.05)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(late.getsockname())
        time.sleep(0.05)

        def make_room():
            fillers.close()
            with contextlib.suppress(OSError):
                while True:
                    late.accept()[0].close()

        # The kernel asks again after 1 s; by then there is room.
        accepting = threading.Timer(0.4, make_room)
        accepting.start()
        addresses = [late.getsockname(), refused, silent]
        stream = connect("db", 1, timeout=FAR, resolver=lambda *_: addresses)
        accepting.join()
        with socket.socket(fileno=stream.fileno()) as view:
            winner = view.getpeername()
            view.detach()
        assert winner == late.getsockname()
        stream.close()


@LINUX
@IPV6
def test_when_all_fail_each_address_has_its_own_reason():
    with hanging("::1") as (_, silent), refusing() as (_, refused):
        with pytest.raises(NetworkTimeout) as caught:
            connect(
                "db",
                27017,
                deadline=within(400, "connectTimeoutMS"),
                resolver=lambda *_: [("127.0.0.1", refused), ("::1", silent)],
            )
        message = str(caught.value)
        assert message.startswith(
            f"cannot connect to db:27017: connection to 127.0.0.1:{refused} refused; "
            f"connection to [::1]:{silent} timed out after 0."
        )
        assert message.endswith("(connectTimeoutMS=400) [TCP-REFUSED]")
        assert set(caught.value.details) == {f"127.0.0.1:{refused}", f"[::1]:{silent}"}


@LINUX
def test_addresses_whose_turn_never_came_are_told_so():
    with hanging() as silent:
        with pytest.raises(NetworkTimeout) as caught:
            connect("db", 1, timeout=0.1, resolver=lambda *_: [silent, ("127.0.0.1", 9)])
        assert caught.value.details["127.0.0.1:9"] == "was not tried"


def test_a_name_without_addresses_is_told():
    with pytest.raises(AutoReconnect, match=r"^db:1: the host name has no address"):
        connect("db", 1, timeout=FAR, resolver=lambda *_: [])


def test_a_name_that_does_not_resolve_is_told_in_the_resolvers_words():
    with pytest.raises(AutoReconnect, match=r"^no-such\.invalid:1: the host name cannot be res"):
        connect("no-such.invalid", 1, timeout=FAR)


def test_a_resolver_that_hangs_ends_in_the_deadline():
    over = threading.Event()
    started = time.monotonic()
    with pytest.raises(NetworkTimeout, match=r"of resolving the host name \(timeout=0\.2 s\)"):
        connect("db", 1, timeout=0.2, resolver=lambda *_: over.wait(FAR))
    assert 0.19 <= time.monotonic() - started < FAR / 2
    over.set()


def test_what_a_resolver_raises_comes_out():
    def resolver(host, port):
        raise LookupError(f"{host} {port}")

    with pytest.raises(LookupError, match="db 5"):
        connect("db", 5, timeout=FAR, resolver=resolver)
    with pytest.raises(ValueError, match="no IP address"):
        connect("db", 5, timeout=FAR, resolver=lambda *_: [("name", 1)])


@LINUX
def test_look_up_and_race_share_one_deadline():
    with hanging() as silent:
        started = time.monotonic()

        def slow(*_):
            time.sleep(1.0)
            return [silent]

        with pytest.raises(NetworkTimeout):
            connect("db", 1, timeout=1.5, resolver=slow)
        # Two deadlines one after the other would make 2.5 s.
        assert 1.49 <= time.monotonic() - started < 2.4


def test_importing_the_room_loads_neither_ssl_nor_socket():
    script = (
        "import sys, mongokey.transport\n"
        "print(sorted({'ssl', '_ssl', 'socket', '_socket', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=FAR,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")

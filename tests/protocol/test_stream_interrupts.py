"""What reaches a stream from outside its call: signals, other threads' closes, forks, leaks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mongokey.errors import AutoReconnect, NetworkTimeout
from mongokey.transport import SocketStream, connect
from tests.deadlines import timeout_of, within

MS = 1_000_000
FAR = 20.0
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and forks")


def make_pair() -> tuple[SocketStream, socket.socket]:
    near, far = socket.socketpair()
    far.settimeout(FAR)
    return SocketStream(near.detach(), "server:27017"), far


def run_script(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


@pytest.fixture
def alarms():
    """Signals every 20 ms, counted by a handler that does nothing else."""
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    yield seen
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("bound", ["none", "timeout", "deadline"])
def test_a_read_goes_on_after_signals_and_their_handlers_run(alarms, bound):
    stream, far = make_pair()
    with far:
        if bound == "timeout":
            stream.set_timeout(timeout_of(10_000))
        answer = threading.Timer(0.2, far.sendall, [b"x"])
        answer.start()
        deadline = within(10_000) if bound == "deadline" else None
        assert stream.receive(1, deadline) == b"x"
        answered = time.monotonic()
        answer.join()
    assert sum(when < answered for when in alarms) >= 2
    stream.close()


@pytest.mark.parametrize("bound", ["timeout", "deadline"])
def test_signals_do_not_put_a_timeout_off(alarms, bound):
    stream, far = make_pair()
    with far:
        started = time.monotonic()
        if bound == "timeout":
            stream.set_timeout(timeout_of(200))
        with pytest.raises(NetworkTimeout):
            stream.receive(1, within(200) if bound == "deadline" else None)
        assert 0.19 <= time.monotonic() - started < FAR / 2


def test_a_write_goes_on_after_signals(alarms):
    stream, far = make_pair()
    received = []

    def read():
        time.sleep(0.1)
        size = 0
        while size < 4 << 20:
            size += len(far.recv(1 << 16))
        received.append(size)

    with far:
        reader = threading.Thread(target=read)
        reader.start()
        stream.send_all(bytes(4 << 20))
        reader.join(FAR)
    assert received == [4 << 20]
    stream.close()


@pytest.mark.parametrize("what", ["read", "bounded read", "write", "connect", "unix", "lookup"])
def test_control_c_ends_a_wait_at_once(what, tmp_path):
    script = """
        import os, signal, socket, sys, threading, time
        from mongokey._support.deadline import Timeout
        from mongokey.transport import SocketStream, connect

        signal.signal(signal.SIGINT, signal.default_int_handler)
        what = sys.argv[1]
        near, far = socket.socketpair()
        stream = SocketStream(near.detach(), "server:27017")
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        address = listener.getsockname()
        fill = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(address)
            fill.append(s)
        queue = socket.socket(socket.AF_UNIX)
        queue.bind(sys.argv[2])
        queue.listen(0)
        first = socket.socket(socket.AF_UNIX)
        first.connect(sys.argv[2])
        waits = {
            "read": lambda: stream.receive(1),
            "bounded read": lambda: stream.receive(1, Timeout(60_000_000_000).start()),
            "write": lambda: stream.send_all(bytes(30 << 20)),
            "connect": lambda: connect(*address, timeout=60),
            "unix": lambda: connect(sys.argv[2], timeout=60),
            "lookup": lambda: connect("slow", 1, timeout=60, resolver=lambda *_: time.sleep(60)),
        }

        def interrupt():
            time.sleep(0.3)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        sent = []
        threading.Thread(target=interrupt).start()
        try:
            waits[what]()
            print("no interrupt")
        except KeyboardInterrupt:
            late = time.monotonic() - sent[0]
            closed = stream.closed or what in ("connect", "unix", "lookup")
            print("interrupted" if late < 5 and closed else f"late: {late}, closed: {closed}")
        sys.stdout.flush()
        os._exit(0)
    """
    process = run_script(script, what, str(tmp_path / "s.sock"))
    out, err = process.communicate(timeout=FAR)
    assert (out, err) == ("interrupted\n", "")


def test_what_a_signal_handler_raises_comes_out_and_closes_the_stream():
    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough

    stream, far = make_pair()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with far:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Enough):
                stream.receive(1)
            assert far.recv(1) == b""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stream.closed


def test_a_signal_handler_that_closes_the_stream_ends_the_wait():
    stream, far = make_pair()
    before = signal.signal(signal.SIGALRM, lambda *_: stream.close())
    try:
        with far:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(AutoReconnect, match="connection is closed"):
                stream.receive(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("what", ["read", "bounded read", "write"])
def test_a_close_by_another_thread_ends_a_wait_and_frees_the_socket(what):
    stream, far = make_pair()
    number = stream.fileno()
    waits = {
        "read": lambda: stream.receive(1),
        "bounded read": lambda: stream.receive(1, within(60_000)),
        "write": lambda: stream.send_all(bytes(30 << 20)),
    }
    with far:
        closer = threading.Timer(0.1, stream.close)
        closer.start()
        with pytest.raises(AutoReconnect, match="closed here while it was in use"):
            waits[what]()
        assert stream.closed
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        closer.join(FAR)


def test_a_call_never_meets_a_number_that_was_given_to_somebody_else():
    # Readers are closed under while new sockets, all with bytes to read, take free numbers.
    decoys = []
    stop = threading.Event()

    def take_numbers():
        while not stop.is_set():
            near, far = socket.socketpair()
            far.sendall(b"not yours")
            decoys.append((near, far))
            if len(decoys) > 50:
                for pair in decoys:
                    pair[0].close()
                    pair[1].close()
                decoys.clear()

    taker = threading.Thread(target=take_numbers)
    taker.start()
    try:
        for turn in range(100):
            stream, far = make_pair()
            with far:
                closer = threading.Timer(0.002, stream.close)
                closer.start()
                with pytest.raises(AutoReconnect):
                    stream.receive(100, within(20_000) if turn % 2 else None)
                closer.join(FAR)
    finally:
        stop.set()
        taker.join(FAR)
        for pair in decoys:
            pair[0].close()
            pair[1].close()


def test_closing_from_many_threads_releases_the_socket_once():
    for _ in range(50):
        stream, far = make_pair()
        with far:
            start = threading.Barrier(5)

            def close(stream=stream, start=start):
                start.wait(FAR)
                stream.close()

            threads = [threading.Thread(target=close) for _ in range(4)]
            for thread in threads:
                thread.start()
            start.wait(FAR)
            with pytest.raises(AutoReconnect):
                stream.receive(1)
            for thread in threads:
                thread.join(FAR)
            assert far.recv(1) == b""


def test_a_close_in_a_forked_child_leaves_the_parents_connection_alone():
    script = """
        import os, socket
        from mongokey.transport import SocketStream
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname(), timeout=10)
            far, _ = listener.accept()
        far.settimeout(10)
        number = near.fileno()
        stream = SocketStream(near.detach(), "server:27017")
        pid = os.fork()
        if pid == 0:
            stream.close()
            try:
                os.fstat(number)
            except OSError:
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        stream.send_all(b"ping")
        assert far.recv(10) == b"ping"
        far.sendall(b"pong")
        assert stream.receive(10) == b"pong"
        assert not stream.stale()
        print("intact")
    """
    out, err = run_script(script).communicate(timeout=FAR)
    assert (out, err) == ("intact\n", "")


def test_a_fork_while_another_thread_reads_leaves_that_read_alone():
    script = """
        import os, socket, threading, time, warnings
        from mongokey.transport import SocketStream
        near, far = socket.socketpair()
        far.settimeout(10)
        number = near.fileno()
        stream = SocketStream(near.detach(), "server:27017")
        got = []
        reader = threading.Thread(target=lambda: got.append(stream.receive(10)))
        reader.start()
        time.sleep(0.2)
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point
        pid = os.fork()
        if pid == 0:
            stream.close()
            try:
                os.fstat(number)
            except OSError:
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        far.sendall(b"answer")
        reader.join(10)
        print(got)
    """
    out, err = run_script(script).communicate(timeout=FAR)
    assert (out, err) == ("[b'answer']\n", "")


def test_a_program_that_is_started_does_not_inherit_a_socket():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = connect(*listener.getsockname(), timeout=FAR)
        far, _ = listener.accept()
        far.settimeout(FAR)
        with far:
            script = f"import os; os.fstat({stream.fileno()})"
            done = subprocess.run(
                [sys.executable, "-c", script], capture_output=True, close_fds=False, timeout=FAR
            )
            assert b"Bad file descriptor" in done.stderr
            stream.close()
            assert far.recv(1) == b""


def open_numbers() -> int:
    return len(os.listdir("/dev/fd"))


def test_no_sockets_leak(tmp_path):
    path = str(tmp_path / "s.sock")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as unix_listener,
        socket.socket() as refusing,
    ):
        unix_listener.bind(path)
        unix_listener.listen()
        refusing.bind(("127.0.0.1", 0))

        def once():
            for host, port in ((path, None), listener.getsockname(), ("localhost", None)):
                if host == "localhost":
                    port = listener.getsockname()[1]
                stream = connect(host, port, timeout=FAR)
                far, _ = (unix_listener if host == path else listener).accept()
                far.close()
                with pytest.raises(AutoReconnect):
                    stream.receive(1)
            with pytest.raises(AutoReconnect):
                connect(*refusing.getsockname(), timeout=FAR)
            with pytest.raises(AutoReconnect):
                connect(path + ".none", timeout=FAR)
            stream, far = make_pair()
            with far, pytest.raises(NetworkTimeout):
                stream.receive(1, within(0))

        once()
        before = open_numbers()
        for _ in range(20):
            once()
        assert open_numbers() == before

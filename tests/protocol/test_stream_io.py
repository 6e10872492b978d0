"""Reading and writing on a connected stream: partial writes, deadlines, ends and errors."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from mongokey._support.deadline import Timeout
from mongokey.errors import AutoReconnect, NetworkTimeout
from mongokey.transport import SocketStream
from tests.deadlines import timeout_of, within

MS = 1_000_000
# A wait that is bounded must end well before this; a wait that is not would reach it.
FAR = 20.0
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as Linux writes a time")


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=FAR)
        far, _ = listener.accept()
    near.settimeout(None)
    far.settimeout(FAR)
    return near, far


def unix_pair() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    far.settimeout(FAR)
    return near, far


@pytest.fixture(params=[tcp_pair, unix_pair], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[SocketStream, socket.socket]]:
    near, far = request.param()
    stream = SocketStream(near.detach(), "server:27017")
    with far:
        yield stream, far
    stream.close()


@pytest.fixture
def tcp() -> Iterator[tuple[SocketStream, socket.socket]]:
    near, far = tcp_pair()
    stream = SocketStream(near.detach(), "server:27017")
    with far:
        yield stream, far
    stream.close()


def receive_exactly(sock: socket.socket, size: int, pause: float = 0.0) -> bytes:
    chunks = []
    while size:
        chunk = sock.recv(min(size, 1 << 18))
        assert chunk
        chunks.append(chunk)
        size -= len(chunk)
        time.sleep(pause)
    return b"".join(chunks)


@pytest.mark.parametrize("deadline", [False, True])
def test_bytes_go_both_ways(pair, deadline):
    stream, far = pair
    until = within(10_000) if deadline else None
    stream.send_all(b"question", until)
    assert far.recv(100) == b"question"
    far.sendall(b"answer")
    assert stream.receive(100, until) == b"answer"


def test_a_read_takes_no_more_than_it_was_given_room_for(pair):
    stream, far = pair
    far.sendall(b"abcdef")
    assert stream.receive(4) == b"abcd"
    assert stream.receive(4) == b"ef"


def test_any_bytes_like_object_can_be_sent(pair):
    stream, far = pair
    for data in (b"a", bytearray(b"b"), memoryview(b"xcx")[1:2]):
        stream.send_all(data)
    assert receive_exactly(far, 3) == b"abc"
    stream.send_all(b"")
    with pytest.raises(TypeError):
        stream.send_all("text")


def test_a_read_of_nothing_is_refused(pair):
    stream, _ = pair
    with pytest.raises(ValueError, match="at least 1 byte"):
        stream.receive(0)


@pytest.mark.parametrize("bound", ["none", "timeout", "deadline"])
def test_a_big_write_reaches_a_slow_reader_whole(pair, bound):
    stream, far = pair
    data = os.urandom(1 << 20) * 10
    received = []
    reader = threading.Thread(
        target=lambda: received.append(receive_exactly(far, len(data), pause=0.002))
    )
    reader.start()
    if bound == "timeout":
        stream.set_timeout(timeout_of(10_000))
    stream.send_all(data, within(20_000) if bound == "deadline" else None)
    reader.join(FAR)
    assert received == [data]


@pytest.mark.parametrize("size", [1000, 300_000])
def test_many_writes_that_fill_the_socket_arrive_in_order(tcp, size):
    stream, far = tcp
    blocks = [bytes([n]) * size for n in range(60)]
    received = []
    reader = threading.Thread(
        target=lambda: received.append(receive_exactly(far, 60 * size, pause=0.0005))
    )
    reader.start()
    for block in blocks:
        stream.send_all(block)
    reader.join(FAR)
    assert received == [b"".join(blocks)]


def expect_timeout(stream, act, least, text):
    started = time.monotonic()
    with pytest.raises(NetworkTimeout) as caught:
        act()
    elapsed = time.monotonic() - started
    assert least <= elapsed < FAR / 2
    message = str(caught.value)
    assert message.startswith("server:27017: timed out after ")
    assert text in message
    assert caught.value.timeout
    assert stream.closed


def test_a_silent_server_ends_in_the_streams_timeout(pair):
    stream, _ = pair
    stream.set_timeout(timeout_of(150, "socketTimeoutMS"))
    expect_timeout(stream, lambda: stream.receive(10), 0.15, "(socketTimeoutMS=150)")


def test_a_silent_server_ends_in_the_calls_deadline(pair):
    stream, _ = pair
    stream.set_timeout(timeout_of(0.000001, "socketTimeoutMS"))
    deadline = within(150, "connectTimeoutMS")
    expect_timeout(stream, lambda: stream.receive(10, deadline), 0.14, "(connectTimeoutMS=150)")


def test_a_timeout_without_a_known_source_names_none(pair):
    stream, _ = pair
    with pytest.raises(NetworkTimeout, match=r"waiting for the server's answer$"):
        stream.receive(10, within(10))


def test_a_timeout_can_be_taken_away_again(pair):
    stream, far = pair
    stream.set_timeout(timeout_of(50))
    assert stream.timeout.ns == 50 * MS
    stream.set_timeout(None)
    assert stream.timeout is None
    answer = threading.Timer(0.3, far.sendall, [b"late"])
    answer.start()
    assert stream.receive(10) == b"late"
    answer.join()


@linux
@pytest.mark.parametrize("deadline_ms", [None, 60_000], ids=["no-deadline", "late-deadline"])
def test_a_wait_goes_on_where_the_kernels_own_ends(pair, deadline_ms):
    # It ends after ten seconds; here after a moment.
    stream, far = pair
    with socket.socket(fileno=os.dup(stream.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
    answer = threading.Timer(0.3, far.sendall, [b"late"])
    answer.start()
    deadline = None if deadline_ms is None else within(deadline_ms)
    assert stream.receive(10, deadline) == b"late"
    answer.join()


@linux
def test_the_kernels_wait_is_short_without_a_timeout_of_the_streams(pair):
    stream, _ = pair

    def limit() -> tuple[int, int]:
        with socket.socket(fileno=os.dup(stream.fileno())) as same:
            return struct.unpack("ll", same.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))

    assert limit() == (10, 0)
    stream.set_timeout(timeout_of(2_500))
    assert limit() == (2, 500_000)
    stream.set_timeout(None)
    assert limit() == (10, 0)


@pytest.mark.parametrize("wrong", [-1, 150, 0.5, "150"])
def test_a_number_is_no_timeout_and_no_deadline(pair, wrong):
    stream, _ = pair
    for act in (stream.set_timeout, partial(stream.receive, 1), partial(stream.send_all, b"x")):
        with pytest.raises(TypeError):
            act(wrong)
    assert not stream.closed


def test_a_server_that_drips_does_not_outlive_the_deadline(pair):
    stream, far = pair
    over = threading.Event()

    def drip():
        while not over.wait(0.01):
            try:
                far.sendall(b".")
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    started = time.monotonic()
    deadline = within(300)
    received = bytearray()

    def read_on():
        while True:
            received.extend(stream.receive(1, deadline))

    with pytest.raises(NetworkTimeout):
        read_on()
    elapsed = time.monotonic() - started
    over.set()
    dripping.join(FAR)
    assert len(received) > 1
    assert 0.29 <= elapsed < FAR / 2


def test_a_deadline_in_the_past_ends_a_read_even_if_bytes_are_there(pair):
    stream, far = pair
    far.sendall(b"x")
    with pytest.raises(NetworkTimeout):
        stream.receive(1, Timeout(0).start())


@pytest.mark.parametrize("own", [True, False])
def test_a_server_that_takes_no_data_ends_in_a_timeout(pair, own):
    stream, _ = pair
    data = bytes(30 << 20)
    if own:
        stream.set_timeout(timeout_of(150, "whichMS"))
    deadline = None if own else within(150, "whichMS")
    expect_timeout(
        stream,
        lambda: stream.send_all(data, deadline),
        0.14,
        "waiting for the server to take data (whichMS=150)",
    )


def test_a_server_that_takes_data_slowly_does_not_outlive_the_deadline(tcp):
    stream, far = tcp
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    over = threading.Event()

    def sip():
        while not over.wait(0.005):
            far.recv(1000)

    sipping = threading.Thread(target=sip)
    sipping.start()
    started = time.monotonic()
    with pytest.raises(NetworkTimeout):
        stream.send_all(bytes(30 << 20), within(300))
    elapsed = time.monotonic() - started
    over.set()
    sipping.join(FAR)
    assert 0.29 <= elapsed < FAR / 2


@pytest.mark.parametrize("bound", ["none", "timeout", "deadline"])
def test_an_end_of_the_stream_raises_at_once(pair, bound):
    stream, far = pair
    if bound == "timeout":
        stream.set_timeout(timeout_of(60_000))
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(AutoReconnect, match=r"^server:27017: connection closed by the server"):
        stream.receive(10, within(60_000) if bound == "deadline" else None)
    assert stream.closed


def test_bytes_before_the_end_are_still_read(pair):
    stream, far = pair
    far.sendall(b"last words")
    far.shutdown(socket.SHUT_WR)
    assert stream.receive(100) == b"last words"
    with pytest.raises(AutoReconnect, match="closed by the server"):
        stream.receive(100)


@pytest.mark.parametrize("deadline", [False, True])
def test_a_reset_is_told_in_the_systems_words(tcp, deadline):
    stream, far = tcp
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    with pytest.raises(AutoReconnect, match="Connection reset by peer") as caught:
        stream.receive(10, within(10_000) if deadline else None)
    assert not isinstance(caught.value, NetworkTimeout)
    assert stream.closed


def test_writing_to_a_server_that_is_gone_raises_and_sends_no_signal(pair):
    stream, far = pair
    far.close()

    def send_on():
        for _ in range(1000):
            stream.send_all(bytes(1000))
            time.sleep(0.001)

    with pytest.raises(AutoReconnect, match=r"^server:27017: .*\(while sending\)"):
        send_on()
    assert stream.closed


def test_a_closed_stream_refuses_everything(pair):
    stream, _ = pair
    stream.close()
    stream.close()
    assert stream.closed
    assert stream.fileno() == -1
    assert stream.stale()
    assert repr(stream) == "<SocketStream to server:27017, closed>"
    for act in (
        lambda: stream.send_all(b"x"),
        lambda: stream.receive(1),
        lambda: stream.receive(1, within(1)),
        lambda: stream.set_timeout(timeout_of(5)),
    ):
        with pytest.raises(AutoReconnect, match="server:27017: the connection is closed"):
            act()


def test_the_peer_sees_a_close(pair):
    stream, far = pair
    stream.close()
    assert far.recv(1) == b""


def test_a_stream_is_stale_when_the_peer_closes_or_speaks_unasked(pair):
    stream, far = pair
    assert not stream.stale()
    far.sendall(b"?")
    assert stream.stale()
    assert stream.receive(1) == b"?"
    assert not stream.stale()
    far.close()
    assert stream.stale()
    assert not stream.closed


def test_a_stream_that_is_forgotten_closes_its_socket():
    near, far = socket.socketpair()
    far.settimeout(FAR)
    with far:
        stream = SocketStream(near.detach(), "server:27017")
        del stream
        assert far.recv(1) == b""


def test_a_number_that_is_no_socket_is_refused():
    with pytest.raises(OSError, match="Bad file descriptor"):
        SocketStream(-1, "nowhere")


def test_a_socket_in_non_blocking_mode_is_taken_over(pair):
    near, far = socket.socketpair()
    with far:
        near.setblocking(False)
        stream = SocketStream(near.detach(), "server:27017")
        threading.Timer(0.05, far.sendall, [b"x"]).start()
        assert stream.receive(1) == b"x"
        stream.close()

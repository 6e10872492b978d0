"""Monitors that are told to begin and end at random, of servers that answer at random, with TLS or
without, in a process that forks: nothing is left behind, and no child dies of it."""

from __future__ import annotations

import gc
import os
import random
import socket
import ssl
import time
from pathlib import Path

import pytest
import trustme
from bson import ObjectId

from mongokey._support.deadline import Timeout
from mongokey.client_options import ClientOptions
from mongokey.connection.settings import ConnectionSettings
from mongokey.handshake import ClientMetadata
from mongokey.transport.tls.context import ClientTLS
from tests.monitors import FACES, make_monitors, monitors_face_fixture
from tests.protocol.test_monitors import soon
from tests.servers.scripted import (
    Answer,
    Close,
    Raw,
    Reply,
    Request,
    ScriptedServer,
    Silence,
    standalone,
)

monitors_face = pytest.fixture(params=FACES)(monitors_face_fixture)

LASTS_S = 4.0


def opened() -> tuple[int, int]:
    """The numbers of this process's descriptors and threads."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux counts them")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("monitors_face")
def test_a_storm_leaves_nothing_behind(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    authority = trustme.CA()
    trusted, key = tmp_path / "ca.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(str(trusted))
    key.write_bytes(authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key)

    def hello(_: Request) -> Answer:
        return chance.choices(
            [
                Close(),
                Reply(keep=20),
                Silence(),
                Raw(os.urandom(40)),
                Reply(standalone(topologyVersion={"processId": ObjectId(), "counter": 1})),
            ],
            (2, 1, 1, 1, 5),
        )[0]

    def settings() -> ConnectionSettings:
        tls = None
        if chance.random() < 0.6:
            options = ClientOptions.build("localhost", tls=True, tlsCAFile=str(trusted)).tls
            assert options is not None
            tls = ClientTLS(options, bindings=chance.random() < 0.5)
        limit = Timeout(200_000_000, "connectTimeoutMS")
        return ConnectionSettings(metadata=ClientMetadata(), connect_timeout=limit, tls=tls)

    with (
        ScriptedServer(on={"hello": hello}) as plain,
        ScriptedServer(on={"hello": hello}, tls=context) as encrypted,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        addresses = [
            ("127.0.0.1", plain.port),
            ("localhost", plain.port),
            ("127.0.0.1", encrypted.port),
            silent.getsockname(),
            ("127.0.0.1", 1),
        ]
        settings()  # what is loaded once opens files
        before = opened()
        deadline = time.monotonic() + LASTS_S
        while time.monotonic() < deadline:
            mode = chance.choice(["stream", "poll"])
            monitors = make_monitors(
                settings(), lambda _: None, heartbeat_ns=500_000_000, mode=mode
            )
            ends = time.monotonic() + chance.random()
            while time.monotonic() < ends:
                methods = (
                    monitors.watch,
                    monitors.unwatch,
                    monitors.request_check,
                    monitors.cancel_check,
                )
                chance.choices(methods, (4, 2, 2, 2))[0](chance.choice(addresses))
                if chance.random() < 0.04:
                    child = os.fork()
                    if child == 0:
                        code = 1
                        try:
                            monitors.watch(addresses[0])
                            time.sleep(0.02)
                            monitors.close()
                            code = 0
                        finally:
                            os._exit(code)
                    _, status = os.waitpid(child, 0)
                    assert os.waitstatus_to_exitcode(status) == 0, f"seed {seed}"
                time.sleep(chance.random() / 100)
            if chance.random() < 0.5:
                monitors.close()
            del monitors, methods
        gc.collect()
        # The servers have a thread for each connection that they have not given up yet.
        assert soon(lambda: plain.open == encrypted.open == 0), f"seed {seed}"
        assert soon(lambda: all(now <= then for now, then in zip(opened(), before, strict=True))), (
            f"seed {seed}: {before} -> {opened()}"
        )

"""Client CPU of TLS: of a new connection with its MONGODB-X509 login, and of a command.

Connections stand beside PyMongo's and beside the floor: connect, handshake with the same checks
(the host's name or address too) and close, by the same OpenSSL with its defaults on the same
certificates. Resumed, the floor has one small exchange, which brings the ticket; the full one is
shown with and without. The floor makes the hybrid key share of OpenSSL's defaults, which mongokey
leaves out for a server that did not take it: the two are not quite the same work. Commands stand
beside PyMongo's and beside plain TCP, for either engine.
Rounds are paired, and the ratio of a round is what counts, as the machine's speed changes.

    python -m bench.tls [--rounds 9] [--connections 30] [--only connections|commands]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.bindings._rust import _openssl
from tests.servers.certificates import Authority

from bench.child import end

ROOT = Path(__file__).resolve().parents[1]
lib, ffi = _openssl.lib, _openssl.ffi


class Server:
    """The tests' TLS server in a process of its own, on another core where there is one."""

    def __init__(self, certificate: str, authority: str, version: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.tls_server", certificate, authority, version],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(self._process.pid, {cores[-1]})
        assert self._process.stdout is not None
        self.port: int = json.loads(self._process.stdout.readline())["port"]

    def counts(self) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._process.stdout.readline())
        return counts

    def close(self) -> None:
        end(self._process)


def bare(
    port: int, pem: str, ca: str, *, resume: bool, exchange: bool = False
) -> Callable[[], None]:
    """The handshake alone; `exchange` adds one small question and answer."""
    import bson

    context = ffi.gc(lib.SSL_CTX_new(lib.TLS_method()), lib.SSL_CTX_free)
    assert lib.SSL_CTX_use_certificate_chain_file(context, pem.encode()) == 1
    assert lib.SSL_CTX_use_PrivateKey_file(context, pem.encode(), lib.SSL_FILETYPE_PEM) == 1
    assert lib.SSL_CTX_load_verify_locations(context, ca.encode(), ffi.NULL) == 1
    lib.SSL_CTX_set_verify(context, lib.SSL_VERIFY_PEER, ffi.NULL)
    document = b"\0\0\0\0\0" + bson.encode({"ping": 1, "$db": "admin"})
    message = (16 + len(document)).to_bytes(4, "little") + b"\1\0\0\0\0\0\0\0\xdd\7\0\0" + document
    buffer = ffi.new("char[]", 4096)
    session: list[Any] = [ffi.NULL]

    def once() -> None:
        plain = socket.socket()
        plain.connect(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ssl = lib.SSL_new(context)
        lib.SSL_set_fd(ssl, plain.fileno())
        lib.SSL_set_connect_state(ssl)
        lib.X509_VERIFY_PARAM_set1_ip(lib.SSL_get0_param(ssl), b"\x7f\0\0\1", 4)
        if session[0] != ffi.NULL:
            lib.SSL_set_session(ssl, session[0])
            lib.SSL_SESSION_free(session[0])
        if lib.SSL_do_handshake(ssl) != 1:
            raise RuntimeError("the bare handshake failed")
        if resume or exchange:
            lib.SSL_write(ssl, message, len(message))
            if lib.SSL_read(ssl, buffer, 4096) <= 0:
                raise RuntimeError("no answer")
        if resume:
            session[0] = lib.SSL_get1_session(ssl)
        lib.SSL_shutdown(ssl)
        lib.SSL_set_shutdown(ssl, 3)
        lib.SSL_free(ssl)
        plain.close()

    return once


def connection(port: int, pem: str, ca: str, *, resume: bool) -> Callable[[], None]:
    """mongokey's connection and login, nothing else."""
    from mongokey.auth.credential import MongoCredential
    from mongokey.client_options import ClientOptions
    from mongokey.connection.establish import open_connection
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.handshake import ClientMetadata
    from mongokey.transport.tls.context import ClientTLS

    given = ClientOptions.build("h", tls=True, tlsCAFile=ca, tlsCertificateKeyFile=pem).tls
    tls: Any = ClientTLS(given)
    settings = ConnectionSettings(
        metadata=ClientMetadata("bench", None),
        credential=MongoCredential("MONGODB-X509", "$external"),
        tls=tls,
    )

    def once() -> None:
        if not resume:
            tls._context.forget_sessions()
        open_connection(("127.0.0.1", port), settings)[0].close()

    return once


def ping(module: Any, port: int, pem: str, ca: str) -> Callable[[], None]:
    """A ping whose connection was closed for being idle, as either driver does it by itself."""
    client = module.MongoClient(
        "127.0.0.1",
        port,
        tls=True,
        tlsCAFile=ca,
        tlsCertificateKeyFile=pem,
        authMechanism="MONGODB-X509",
        maxIdleTimeMS=1,
        directConnection=True,
        heartbeatFrequencyMS=600_000,
    )
    command = client.admin.command
    command("ping")

    def once() -> None:
        command("ping")

    return once


def cpu(once: Callable[[], None], connections: int) -> float:
    """Microseconds of this process's CPU, each; the pause between lets connections grow idle."""
    spent = 0
    for _ in range(connections):
        time.sleep(0.002)
        started = time.process_time_ns()
        once()
        spent += time.process_time_ns() - started
    return spent / connections / 1000


def measure(kind: str, version: str, folder: Path, rounds: int, connections: int) -> None:
    import pymongo

    import mongokey

    authority = Authority(folder, f"authority-{kind}", kind)
    ca = authority.certificate_file
    server = Server(authority.issue(f"server-{kind}", "127.0.0.1").pem, ca, version)
    pem = authority.issue(f"client-{kind}", server=False).pem
    try:
        port = server.port
        ways = {
            "bare full": bare(port, pem, ca, resume=False),
            "bare full, exchange": bare(port, pem, ca, resume=False, exchange=True),
            "login full": connection(port, pem, ca, resume=False),
            "bare resumed": bare(port, pem, ca, resume=True),
            "login resumed": connection(port, pem, ca, resume=True),
            "mongokey ping": ping(mongokey, port, pem, ca),
            "pymongo ping": ping(pymongo, port, pem, ca),
        }
        for once in ways.values():
            cpu(once, 5)
        before = server.counts()
        figures: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, once in ways.items():
                figures[name].append(cpu(once, connections))
        after = server.counts()
    finally:
        server.close()
    middle = {name: statistics.median(each) for name, each in figures.items()}

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(figures[one], figures[other], strict=True))

    print(f"{kind} {version}: " + ", ".join(f"{n} {v:.0f} us" for n, v in middle.items()))
    print(
        f"  login/bare full {ratio('login full', 'bare full'):.2f} "
        f"(with an exchange {ratio('login full', 'bare full, exchange'):.2f}), "
        f"resumed {ratio('login resumed', 'bare resumed'):.2f}; "
        f"mongokey/PyMongo ping on a new connection {ratio('mongokey ping', 'pymongo ping'):.2f}; "
        f"handshakes {after['handshakes'] - before['handshakes']}, "
        f"resumed {after['resumed'] - before.get('resumed', 0)}",
        flush=True,
    )


def command_cpu(command: Callable[[str], Any], what: str, commands: int) -> float:
    """Microseconds of this process's CPU, each, without pauses."""
    started = time.process_time_ns()
    for _ in range(commands):
        command(what)
    return (time.process_time_ns() - started) / commands / 1000


def measure_commands(version: str, folder: Path, rounds: int, commands: int) -> None:
    """A ping, and a reply of a megabyte, over both engines, plain TCP, and PyMongo's both."""
    from unittest.mock import patch

    import pymongo

    import mongokey

    authority = Authority(folder, f"commands-{version}")
    certificate = authority.issue("server", "127.0.0.1").pem
    servers = {True: Server(certificate, "-", version), False: Server("-", "-", version)}
    options = {"directConnection": True, "heartbeatFrequencyMS": 600_000}
    secure = {**options, "tls": True, "tlsCAFile": authority.certificate_file}

    def connect(module: Any, tls: bool) -> Any:
        given = secure if tls else options
        client = module.MongoClient("127.0.0.1", servers[tls].port, **given)
        client.admin.command("ping")
        return client

    try:
        with patch("mongokey.transport.tls.openssl_context.load_functions", lambda lib, ffi: False):
            by_ssl = connect(mongokey, True)
        clients = {
            "openssl": connect(mongokey, True),
            "ssl": by_ssl,
            "plain": connect(mongokey, False),
            "pymongo": connect(pymongo, True),
            "pymongo plain": connect(pymongo, False),
        }
        for what, times in (("ping", commands), ("megabyte", commands // 50)):
            ways = {name: each.admin.command for name, each in clients.items()}
            figures: dict[str, list[float]] = {name: [] for name in ways}
            for command in ways.values():
                command(what)
            for _ in range(rounds):
                for name, command in ways.items():
                    figures[name].append(command_cpu(command, what, times))

            def ratio(one: str, other: str, figures: Any = figures) -> float:
                pairs = zip(figures[one], figures[other], strict=True)
                return statistics.median(a / b for a, b in pairs)

            least = ", ".join(f"{name} {min(each):.1f} us" for name, each in figures.items())
            print(f"{what} {version}, least: {least}")
            print(
                f"  openssl/plain {ratio('openssl', 'plain'):.2f}, ssl/plain "
                f"{ratio('ssl', 'plain'):.2f}, openssl/ssl {ratio('openssl', 'ssl'):.2f}, "
                f"openssl/PyMongo {ratio('openssl', 'pymongo'):.2f}, ssl/PyMongo "
                f"{ratio('ssl', 'pymongo'):.2f}, plain/PyMongo plain "
                f"{ratio('plain', 'pymongo plain'):.2f}",
                flush=True,
            )
        for client in clients.values():
            client.close()
    finally:
        for server in servers.values():
            server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--connections", type=int, default=30)
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--only", choices=["connections", "commands"])
    parser.add_argument("--kinds", nargs="+", default=["rsa", "ec"])
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != "connections":
            for version in ("TLSv1_2", "TLSv1_3"):
                measure_commands(version, Path(folder), arguments.rounds, arguments.commands)
        if arguments.only == "commands":
            return
        for kind in arguments.kinds:
            for version in ("TLSv1_2", "TLSv1_3"):
                measure(kind, version, Path(folder), arguments.rounds, arguments.connections)


if __name__ == "__main__":
    main()

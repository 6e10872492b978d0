"""A TLS server that says hello and lets any client certificate log in, in one round trip.

This module knows just enough of MongoDB's protocol (OP_MSG, and PyMongo's bson) to answer a
driver, and counts what it sees. It must not know the code under test. SecantusDB does not answer
MONGODB-X509 speculatively, and has no say in TLS versions: MongoDB does and has.

`python -m tests.servers.tls_server CERTIFICATE AUTHORITY VERSION` serves until its input ends; "-"
for AUTHORITY asks clients for no certificate, "-" for CERTIFICATE speaks without TLS.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from typing import Any

import bson

HELLO = {
    "isWritablePrimary": True,
    "helloOk": True,
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "ok": 1.0,
}


_MEGABYTE = bytes(1_000_000)


class TLSServer:
    """Serves on a free loopback port from `with` on; `counts` has what it saw.

    `version` is ``TLSv1_2`` or ``TLSv1_3``. Counted: ``handshakes``, ``resumed`` and each command.
    """

    def __init__(
        self,
        certificate: str | None,
        authority: str | None,
        version: str,
        *,
        speculates: bool = True,
    ) -> None:
        self._encrypts = certificate is not None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate is not None:
            self._context.load_cert_chain(certificate)
        self._context.minimum_version = self._context.maximum_version = ssl.TLSVersion[version]
        if authority is not None:
            self._context.load_verify_locations(authority)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._speculates = speculates
        self.counts: Counter[str] = Counter()
        self.commands: list[dict[str, Any]] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> TLSServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client that goes away in between is the tests' own.
        with contextlib.suppress(OSError), accepted:
            if not self._encrypts:
                while (message := _read(accepted)) is not None:
                    accepted.sendall(self._answer(*message))
                return
            with self._context.wrap_socket(accepted, server_side=True) as stream:
                with self._lock:
                    self.counts["handshakes"] += 1
                    self.counts["resumed"] += bool(stream.session_reused)
                while (message := _read(stream)) is not None:
                    stream.sendall(self._answer(*message))

    def _answer(self, request: int, command: dict[str, Any]) -> bytes:
        name = next(iter(command))
        with self._lock:
            self.counts[name] += 1
            self.commands.append(command)
        reply: dict[str, Any] = {"ok": 1.0}
        if name in ("hello", "ismaster", "isMaster"):
            reply = dict(HELLO)
            asked = command.get("speculativeAuthenticate")
            if asked and self._speculates:
                reply["speculativeAuthenticate"] = {"dbname": "$external", "user": "", "ok": 1.0}
        if name == "megabyte":
            reply["bytes"] = _MEGABYTE
        body = b"\0\0\0\0\0" + bson.encode(reply)
        return struct.pack("<iiii", 16 + len(body), 1, request, 2013) + body


def _read(stream: socket.socket) -> tuple[int, dict[str, Any]] | None:
    header = _exactly(stream, 16)
    if header is None:
        return None
    length, request, _, code = struct.unpack("<iiii", header)
    body = _exactly(stream, length - 16)
    if body is None or code != 2013:
        return None
    size = int.from_bytes(body[5:9], "little")
    return request, bson.decode(body[5 : 5 + size])


def _exactly(stream: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def main() -> None:
    certificate, authority = (None if each == "-" else each for each in sys.argv[1:3])
    with TLSServer(certificate, authority, sys.argv[3]) as server:
        print(json.dumps({"port": server.port}), flush=True)
        for _ in sys.stdin:
            print(json.dumps(server.counts), flush=True)


if __name__ == "__main__":
    main()

"""A KMIP server on loopback, over TLS: it registers, activates and gives secret data (OASIS Key
Management Interoperability Protocol 1.x, TTLV encoding).

It knows no more of the protocol than these three operations. It must not know the code under test.
"""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.certificates import Authority
from tests.servers.managed_server import ManagedServer

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
#: Tags of the protocol, without their first byte, 0x42.
TAGS = {
    "BatchCount": 0x0D,
    "BatchItem": 0x0F,
    "KeyBlock": 0x40,
    "KeyFormatType": 0x42,
    "KeyMaterial": 0x43,
    "KeyValue": 0x45,
    "ObjectType": 0x57,
    "Operation": 0x5C,
    "ProtocolVersion": 0x69,
    "Major": 0x6A,
    "Minor": 0x6B,
    "RequestPayload": 0x79,
    "ResponseHeader": 0x7A,
    "ResponseMessage": 0x7B,
    "ResponsePayload": 0x7C,
    "ResultReason": 0x7E,
    "ResultStatus": 0x7F,
    "SecretData": 0x85,
    "SecretDataType": 0x86,
    "TimeStamp": 0x92,
    "UniqueIdentifier": 0x94,
}
STRUCTURE, INTEGER, ENUMERATION, TEXT, BYTES, DATETIME = 1, 2, 5, 7, 8, 9
REGISTER, GET, ACTIVATE = 3, 10, 18


def item(tag: str, kind: int, value: Any) -> bytes:
    """One item: tag, type, length, value, padded to eight bytes."""
    if kind == STRUCTURE:
        data = b"".join(value)
    elif kind in (INTEGER, ENUMERATION):
        data = struct.pack(">I", value)
    elif kind == DATETIME:
        data = struct.pack(">q", value)
    else:
        data = value.encode() if kind == TEXT else value
    head = struct.pack(">BHBI", 0x42, TAGS[tag], kind, len(data))
    return head + data + bytes(-len(data) % 8)


def items(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(tag, type, value) of the items in `data`."""
    at = 0
    while at < len(data):
        _, tag, kind, size = struct.unpack_from(">BHBI", data, at)
        yield tag, kind, data[at + 8 : at + 8 + size]
        at += 8 + size + -size % 8


def find(data: bytes, tag: str) -> bytes | None:
    """The value of the first item with that tag, at any depth."""
    for each, kind, value in items(data):
        if each == TAGS[tag]:
            return value
        if kind == STRUCTURE and (found := find(value, tag)) is not None:
            return found
    return None


class KMIPServer(ManagedServer):
    """It, from `with` on. `operations` are those that were asked for, `secrets` what it keeps."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder, "kmip-authority")
        self.authority = authority.certificate_file
        self.operations: list[int] = []
        self.secrets: dict[str, bytes] = {}
        self.active: set[str] = set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.issue("kmip", HOST).pem)
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, EOFError):
                    self.request.settimeout(30)
                    with context.wrap_socket(self.request, server_side=True) as stream:
                        while True:
                            head = self.read(stream, 8)
                            size = struct.unpack_from(">I", head, 4)[0]
                            stream.sendall(outer.answer(self.read(stream, size)))

            def read(self, stream: ssl.SSLSocket, size: int) -> bytes:
                data = b""
                while len(data) < size:
                    piece = stream.recv(size - len(data))
                    if not piece:
                        raise EOFError
                    data += piece
                return data

        self._server = socketserver.ThreadingTCPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address = f"{HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="kmip", daemon=True
        )

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def answer(self, request: bytes) -> bytes:
        """The answer to the items of a request message, whose own head is read already."""
        operation = struct.unpack(">I", find(request, "Operation") or b"")[0]
        self.operations.append(operation)
        name = (find(request, "UniqueIdentifier") or b"").decode()
        if operation == REGISTER:
            name = str(len(self.secrets) + 1)
            self.secrets[name] = find(request, "KeyMaterial") or b""
        elif operation == ACTIVATE:
            self.active.add(name)
        known = name in self.secrets
        payload = [item("UniqueIdentifier", TEXT, name)]
        if operation == GET and known:
            payload = [item("ObjectType", ENUMERATION, 7), *payload, self._secret(name)]
        result = [item("ResultStatus", ENUMERATION, 0 if known else 1)]
        if known:
            result.append(item("ResponsePayload", STRUCTURE, payload))
        else:
            result.append(item("ResultReason", ENUMERATION, 1))
        version = [item("Major", INTEGER, 1), item("Minor", INTEGER, 2)]
        header = [
            item("ProtocolVersion", STRUCTURE, version),
            item("TimeStamp", DATETIME, int(time.time())),
            item("BatchCount", INTEGER, 1),
        ]
        batch = [item("Operation", ENUMERATION, operation), *result]
        return item(
            "ResponseMessage",
            STRUCTURE,
            [item("ResponseHeader", STRUCTURE, header), item("BatchItem", STRUCTURE, batch)],
        )

    def _secret(self, name: str) -> bytes:
        value = item("KeyValue", STRUCTURE, [item("KeyMaterial", BYTES, self.secrets[name])])
        block = [item("KeyFormatType", ENUMERATION, 2), value]
        return item(
            "SecretData",
            STRUCTURE,
            [item("SecretDataType", ENUMERATION, 2), item("KeyBlock", STRUCTURE, block)],
        )

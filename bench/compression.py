"""`python -m bench.compression`: what compressed answers cost and save, beside PyMongo.

A `find` of 10 000 documents, whose answer comes in one message that was compressed beforehand, by
each compressor and by none: the message's bytes, and the client's CPU time to read it into a list.
Both drivers run in processes of their own and take turns; what counts is the median of the rounds'
ratios. This module knows OP_COMPRESSED and the commands of a connection that does not log in; it
must not know how either driver reads.
"""

from __future__ import annotations

import argparse
import importlib
import json
import socket
import statistics
import struct
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from bench.runner import _Process, worker_environment
from bench.server import document

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = 10_000
COMPRESSORS = ("none", "snappy", "zlib", "zstd")
IDS = {"snappy": 1, "zlib": 2, "zstd": 3}
DRIVERS = ("mongokey", "pymongo")
OP_MSG, OP_COMPRESSED = 2013, 2012
HELLO: dict[str, Any] = {
    "ok": 1.0,
    "isWritablePrimary": True,
    "ismaster": True,
    "helloOk": True,
    "minWireVersion": 0,
    "maxWireVersion": 25,
    "maxBsonObjectSize": 16 * 1024 * 1024,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
}


def _zstd() -> Any:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return importlib.import_module(name)


def compressed(data: bytes, name: str) -> bytes:
    """As a server does it: zlib's and Zstandard's own levels."""
    if name == "zlib":
        return zlib.compress(data)
    if name == "zstd":
        return bytes(_zstd().compress(data))
    return bytes(importlib.import_module("snappy").compress(data))


def message(body: dict[str, Any], name: str) -> bytes:
    """An answer, to request 0, in the compressor called `name`."""
    import bson

    data = b"\0\0\0\0\0" + bson.encode(body)
    if name == "none":
        return struct.pack("<iiii", 16 + len(data), 1, 0, OP_MSG) + data
    small = compressed(data, name)
    head = struct.pack(
        "<iiiiiiB", 25 + len(small), 1, 0, OP_COMPRESSED, OP_MSG, len(data), IDS[name]
    )
    return head + small


class Server:
    """Answers each `find` with the message for the compressor that its connection agreed on."""

    def __init__(self) -> None:
        documents = [{"_id": number, **document(number)} for number in range(DOCUMENTS)]
        found = {"cursor": {"id": 0, "ns": "bench.docs", "firstBatch": documents}, "ok": 1.0}
        self.answers = {name: message(found, name) for name in COMPRESSORS}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        """Until the process ends."""
        while True:
            accepted, _ = self.listener.accept()
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve_one, args=(accepted,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        import bson

        agreed = "none"
        stream = connection.makefile("rb")
        while len(header := stream.read(16)) == 16:
            length, request_id, _, opcode = struct.unpack("<iiii", header)
            data = stream.read(length - 16)
            if opcode == OP_COMPRESSED:
                _, _, number = struct.unpack_from("<iiB", data)
                data = self._inflated(data[9:], number)
            at = data.index(b"\0", 4) + 9 if opcode == 2004 else 5
            command = bson.decode(data[at : at + struct.unpack_from("<i", data, at)[0]])
            name = next(iter(command))
            if name == "find":
                answer = self.answers[agreed]
            else:
                body = {"ok": 1.0}
                if name.lower() in ("hello", "ismaster"):
                    offered = command.get("compression") or []
                    body = HELLO | ({"compression": offered} if offered else {})
                    agreed = offered[0] if offered else agreed
                answer = message(body, "none")
            if opcode == 2004:
                answer = (
                    struct.pack("<iiiiiqii", len(answer) + 15, 1, 0, 1, 8, 0, 0, 1) + answer[21:]
                )
            answer = answer[:8] + struct.pack("<i", request_id) + answer[12:]
            connection.sendall(answer)

    def _inflated(self, data: bytes, number: int) -> bytes:
        if number == IDS["zlib"]:
            return zlib.decompress(data)
        if number == IDS["zstd"]:
            return bytes(_zstd().decompress(data))
        return bytes(importlib.import_module("snappy").uncompress(data))


def serve() -> None:
    """The server's process: says where it is, and how long its answers are."""
    server = Server()
    sizes = {name: len(answer) for name, answer in server.answers.items()}
    threading.Thread(target=server.serve, daemon=True).start()
    for _ in sys.stdin:
        print(json.dumps({"address": server.address, "sizes": sizes}), flush=True)


def work(driver: str, compressor: str, address: str) -> None:
    """A driver's process: for each line of input so many finds, and what one took in ms of CPU."""
    options = "" if compressor == "none" else f"/?compressors={compressor}"
    client = importlib.import_module(driver).MongoClient(f"mongodb://{address}{options}")
    docs = client.bench.docs
    for line in sys.stdin:
        before = time.process_time()
        for _ in range(int(line)):
            assert len(list(docs.find())) == DOCUMENTS
        print(json.dumps((time.process_time() - before) * 1e3 / int(line)), flush=True)
    client.close()


def child(*arguments: str) -> _Process:
    """A process of this module's."""
    command = [sys.executable, "-m", "bench.compression", *arguments]
    return _Process(command, worker_environment(sys.executable))


def measure(rounds: int, finds: int) -> list[dict[str, Any]]:
    """One row for each compressor."""
    rows = []
    children = [child("--serve")]
    try:
        told = children[0].exchange("where")
        for compressor in COMPRESSORS:
            workers = {d: child("--work", d, compressor, told["address"]) for d in DRIVERS}
            children += workers.values()
            for worker in workers.values():
                worker.exchange("1")
            times: dict[str, list[float]] = {driver: [] for driver in DRIVERS}
            for number in range(rounds):
                # Neither is always the first.
                for driver in DRIVERS if number % 2 else reversed(DRIVERS):
                    times[driver].append(workers[driver].exchange(str(finds)))
            ratios = [a / b for a, b in zip(*times.values(), strict=True)]
            rows.append(
                {
                    "compressor": compressor,
                    "ratio": statistics.median(ratios),
                    "ratios": [min(ratios), max(ratios)],
                    "bytes": told["sizes"][compressor],
                    "cpu_ms": {driver: statistics.median(times[driver]) for driver in DRIVERS},
                }
            )
    finally:
        for each in children:
            each.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compression")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--finds", type=int, default=5, help="in one turn (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    if arguments.work:
        return work(*arguments.work)
    rows = measure(arguments.rounds, arguments.finds)
    plain = rows[0]["bytes"]
    print(f"find of {DOCUMENTS} documents: client CPU in ms, and bytes of the answer")
    print("| compressor | ratio | spread | mongokey | PyMongo | bytes | of none |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        low, high = row["ratios"]
        cpu = row["cpu_ms"]
        print(
            f"| {row['compressor']} | {row['ratio']:.2f} | {low:.2f}..{high:.2f} | "
            f"{cpu['mongokey']:.1f} | {cpu['pymongo']:.1f} | {row['bytes']:,} | "
            f"{row['bytes'] / plain:.2f} |",
            flush=True,
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()

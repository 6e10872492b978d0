"""A real DNS server for the tests of mongodb+srv: nsd, in its own process on a free loopback port.

This module knows how to write nsd's files, how to start and stop it, and how to read the records of
the public initial-dns-seedlist-discovery suite (which are read where they are, never copied). It
must not know the code under test.

From a shell, `python -m tests.servers.dns` serves the suite's records to play with.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.servers.child import Child, free_port
from tests.servers.managed_server import ManagedServer
from tests.servers.needs import need_program

HOST = "127.0.0.1"
START_TIMEOUT = 10.0

#: The zone that all names of the suite are in.
SUITE_ZONE = "10gen.cc"
LOCALHOST = f"localhost.test.build.{SUITE_ZONE}."


def require() -> str:
    """The path of nsd; without it the test is skipped (under CI: fails)."""
    return need_program("nsd", package="nsd")


def suite_records(records: Path) -> list[str]:
    """The suite's records.txt as lines of a zone file.

    Its SRV records leave out priority and weight, and one name has lost its last dot. The second
    host that replica-set/srv-service-name.json expects is not among them (nor in the suite's
    README), so it is added.
    """
    lines = [f"_customname._tcp.test22.test.build.{SUITE_ZONE}. 86400 IN SRV 0 0 27018 {LOCALHOST}"]
    for line in records.read_text(encoding="utf-8").splitlines():
        name, ttl, in_class, kind, rest = line.split(None, 4)
        if kind == "SRV":
            rest = f"0 0 {rest}"
        lines.append(f"{name.rstrip('.')}. {ttl} {in_class} {kind} {rest}")
    return lines


class DNSServer(ManagedServer):
    """nsd with the zones given, from `start` to `stop`; a context manager.

    :param zones: name of a zone -> lines of its zone file, or None for a zone that nsd cannot
        load and therefore answers with SERVFAIL
    """

    def __init__(self, zones: Mapping[str, Iterable[str] | None]) -> None:
        self.zones = {name: None if lines is None else list(lines) for name, lines in zones.items()}
        self.port = 0
        self._child: Child | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self, port: int | None = None) -> DNSServer:
        """Write the files, start nsd, by default on a free port, and wait until it answers."""
        nsd = require()
        # A free port may be taken by another before nsd has it.
        for _ in range(5):
            self.port = free_port() if port is None else port
            self._folder = tempfile.TemporaryDirectory(prefix="mongokey-nsd-")
            folder = Path(self._folder.name)
            config = self._write(folder)
            output = folder / "output"
            self._child = Child([nsd, "-d", "-c", str(config)], output)
            if self._child.wait_for(self._answers, START_TIMEOUT):
                return self
            failed = self._child.failed("nsd", folder / "nsd.log", output)
            self.stop()
        raise failed

    def stop(self) -> None:
        """Stop nsd, by its process id, and wait for it; its files go with it."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def pid(self) -> int | None:
        """nsd's process id while it runs."""
        return None if self._child is None else self._child.pid

    def change(self, zone: str, lines: Iterable[str] | None) -> None:
        """Serve other records of `zone` from now on, at the same port; None: it can no longer be
        loaded. Returns once they are served."""
        self.zones[zone] = None if lines is None else list(lines)
        port = self.port
        self.stop()
        self.start(port)

    def _write(self, folder: Path) -> Path:
        lines = [
            "server:",
            f"  ip-address: {HOST}@{self.port}",
            "  server-count: 1",
            "  do-ip6: no",
            '  username: ""',
            f'  zonesdir: "{folder}"',
            f'  pidfile: "{folder}/nsd.pid"',
            '  database: ""',
            f'  xfrdfile: "{folder}/xfrd.state"',
            f'  xfrdir: "{folder}"',
            f'  zonelistfile: "{folder}/zone.list"',
            f'  logfile: "{folder}/nsd.log"',
            "  hide-version: yes",
            "  rrl-ratelimit: 0",
            "  ipv4-edns-size: 4096",
            "remote-control:",
            "  control-enable: no",
        ]
        for name, records in self.zones.items():
            lines += ["zone:", f'  name: "{name}"', f'  zonefile: "{name}.zone"']
            if records is not None:
                text = [
                    f"$ORIGIN {name}.",
                    "$TTL 60",
                    f"@ IN SOA ns.{name}. hostmaster.{name}. 1 3600 600 86400 60",
                    f"@ IN NS ns.{name}.",
                    f"ns.{name}. IN A {HOST}",
                    *records,
                ]
                (folder / f"{name}.zone").write_text("\n".join(text) + "\n", encoding="utf-8")
        config = folder / "nsd.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return config

    def _answers(self) -> bool:
        # CHAOS TXT version.server: nsd answers it (with REFUSED, the version being hidden).
        question = struct.pack(">6H", 1, 0, 1, 0, 0, 0) + b"\7version\6server\0\0\x10\0\3"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect((HOST, self.port))
            udp.settimeout(0.1)
            with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                udp.send(question)
                return bool(udp.recv(512))
        return False


def suite_server(records: Path) -> DNSServer:
    """A server of the public suite's records."""
    return DNSServer({SUITE_ZONE: suite_records(records)})


def main() -> None:
    from tests.specifications import folder

    parser = argparse.ArgumentParser(prog="python -m tests.servers.dns", description=__doc__)
    parser.add_argument(
        "--records",
        type=Path,
        help="records.txt of the suite; default: where MONGODB_SPECIFICATIONS leads",
    )
    arguments = parser.parse_args()
    records: Path | None = arguments.records
    if records is None and (found := folder()) is not None:
        records = found / "initial-dns-seedlist-discovery" / "records.txt"
    if records is None or not records.is_file():
        parser.error("no records.txt: give --records, or set MONGODB_SPECIFICATIONS")
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with suite_server(records) as server:
        print(
            f"nsd (pid {server.pid}) on {HOST}:{server.port}; Ctrl-C ends it\n\n"
            f"  dig @{HOST} -p {server.port} SRV _mongodb._tcp.test1.test.build.10gen.cc\n"
            "  MongoClient('mongodb+srv://test1.test.build.10gen.cc', srv_resolver="
            f"Resolver(name_servers=['{HOST}'], port={server.port}))",
            flush=True,
        )
        over.wait()


if __name__ == "__main__":
    main()

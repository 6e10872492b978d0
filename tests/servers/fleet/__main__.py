"""The fleet's process: serves members, and does what the lines on its standard input say.

`python -m tests.servers.fleet --members 3` also starts a SecantusDB, prints the connection string
and takes commands from a person; `help` lists them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from typing import Any

from tests.servers.fleet.control import carry_out, help_text
from tests.servers.fleet.deployment import MAX_WIRE_VERSION, Deployment
from tests.servers.fleet.member import HOST


def members_of(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The members asked for, as `Deployment.add` takes them."""
    if arguments.roles is None:
        roles = ["primary"] + ["secondary"] * (arguments.members - 1)
        return [{"role": role} for role in roles]
    return [json.loads(each) if each[:1] == "{" else {"role": each} for each in arguments.roles]


def tls_of(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if arguments.tls_cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.tls_cert_file, arguments.tls_key_file)
    return context


async def lines(person: bool) -> AsyncIterator[str]:
    """The lines of standard input, until it ends or somebody interrupts."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    # Ctrl-C is the parent's to handle, which then ends the input.
    for number in (signal.SIGTERM, signal.SIGINT):
        ends = person or number == signal.SIGTERM
        loop.add_signal_handler(number, reader.feed_eof if ends else lambda: None)
    try:
        while line := await reader.readline():
            yield line.decode()
    finally:
        transport.close()


async def serve(arguments: argparse.Namespace, backend: tuple[str, int], person: bool) -> None:
    deployment = Deployment(
        backend,
        set_name=arguments.set_name,
        election_ms=arguments.election_ms,
        tls=tls_of(arguments),
        max_wire_version=arguments.max_wire_version,
        streaming=not arguments.no_streaming,
    )
    try:
        await deployment.start(members_of(arguments))
        status = deployment.status()
        if person:
            hosts = ",".join(each["host"] for each in status["members"])
            more = f"/?replicaSet={arguments.set_name}" if status["primary"] is not None else "/"
            print(f"mongodb://{hosts}{more}\n`help` lists what can be done; Ctrl-D ends it")
        else:
            print(json.dumps(status), flush=True)
        async for line in lines(person):
            if not line.strip():
                continue
            if person and line.strip() == "help":
                print(help_text(), flush=True)
                continue
            print(json.dumps(carry_out(deployment, line), indent=2 if person else None), flush=True)
    finally:
        await deployment.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.fleet", description=__doc__)
    parser.add_argument("--members", type=int, default=3, help="a primary and secondaries")
    parser.add_argument(
        "--roles", nargs="+", metavar="ROLE", help='roles instead, or {"role": ..., "tags": ...}'
    )
    parser.add_argument("--set-name", default="fleet")
    parser.add_argument("--election-ms", type=float, help="a set without primary elects one")
    parser.add_argument("--max-wire-version", type=int, default=MAX_WIRE_VERSION)
    parser.add_argument("--no-streaming", action="store_true", help="hello as before MongoDB 4.4")
    parser.add_argument("--backend-port", type=int, help="with --serve: where SecantusDB is")
    parser.add_argument("--tls-cert-file")
    parser.add_argument("--tls-key-file")
    parser.add_argument("--serve", action="store_true", help="serve a parent process")
    arguments = parser.parse_args()
    # A client that is gone while its answer is written is no news here.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    if arguments.serve:
        asyncio.run(serve(arguments, (HOST, arguments.backend_port), person=False))
        return
    from tests.servers.secantus import SecantusServer

    with SecantusServer(require_auth=False) as server:
        asyncio.run(serve(arguments, (server.host, server.port), person=True))


if __name__ == "__main__":
    main()

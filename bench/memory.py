"""Memory: what an idle client and a large result need, each asked of a fresh process.

Knows two questions and how to read a process's own resident size from /proc. It must not know
the other driver: `compare` asks once for each.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
from collections.abc import Callable
from pathlib import Path

from bench.case import APIS, Api
from bench.worker import prepare_api

LARGE = 100_000


def process_status(field: str) -> int:
    """Bytes that /proc says of this process, such as `VmRSS`."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, field
    return int(found[1]) * 1024


def idle(api: Api, uri: str) -> int:
    """Resident bytes of a process with one client that has sent a ping."""
    with api.client(uri) as client:
        client.admin.command("ping")
        gc.collect()
        return process_status("VmRSS")


def find(api: Api, uri: str) -> int:
    """Resident bytes at the highest point of `list(find())` of 100 000 documents."""
    with api.client(uri) as client:
        found = list(client["bench"][f"docs{LARGE}"].find())
        assert len(found) == LARGE, len(found)
        return process_status("VmHWM")


QUESTIONS: dict[str, tuple[str, Callable[[Api, str], int]]] = {
    "memory_idle": ("memory, idle client", idle),
    "memory_find": ("memory, list(find()) of 100 000", find),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory")
    parser.add_argument("--api", choices=sorted(APIS), required=True)
    parser.add_argument("--question", choices=sorted(QUESTIONS), required=True)
    parser.add_argument("--uri", required=True)
    arguments = parser.parse_args()
    _, question = QUESTIONS[arguments.question]
    print(json.dumps(question(prepare_api(arguments.api), arguments.uri)))


if __name__ == "__main__":
    main()

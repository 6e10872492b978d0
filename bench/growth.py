"""`python -m bench.growth`: what a document costs among 100 000, beside one among 100.

A list of documents that fits into memory used before costs the decoding alone; a large one has to
be given fresh memory by the system, page after page, and may be read by the garbage collector. How
much of that is the driver's is told by what no driver can save: the pages that the documents'
own objects fill ("needed"), and a row of `marshal`, a loop in C of the interpreter's own, that
makes the same dicts from bytes. Knows the drivers' module names; must not know how either decodes.
"""

from __future__ import annotations

import argparse
import gc
import marshal
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.case import APIS, FEW, MOST
from bench.server import CannedServer, document

#: So many documents are made in one measurement, however many at a time.
EACH = MOST


def bare_dicts(count: int) -> Callable[[], list[Any]]:
    """What makes dicts as the documents of `bench.server` are, with nothing of a driver: bytes and
    an int stand for what `marshal` has not, `_id` and the date."""
    made = []
    for number in range(count):
        each = document(number)
        each["created"] = 10**12 + number
        # As from a server: not the same object in all of them.
        each["text"] = f"{number:0100d}"
        each["tags"] = [f"{tag}{number}" for tag in each["tags"]]
        made.append({"_id": number.to_bytes(12, "big"), **each})
    encoded = marshal.dumps(made)
    del made
    return lambda: list(marshal.loads(encoded))


def pages(documents: list[Any]) -> float:
    """The pages that the objects of one of `documents` fill, without those that others share."""
    seen: dict[int, int] = {}
    waiting: list[Any] = [*documents[:50], *documents[-50:]]
    own = len(waiting)
    while waiting:
        each = waiting.pop()
        seen[id(each)] = seen.get(id(each), 0) + 1
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        if seen[id(each)] > 1:
            continue
        # The interpreter's allocator gives out multiples of 16 bytes.
        seen[-id(each)] = -(-sys.getsizeof(each) // 16) * 16
    sizes = sum(seen[-each] for each, times in seen.items() if each > 0 and times == 1)
    return sizes / own / resource.getpagesize()


def measured(make: Callable[[], list[Any]], count: int) -> tuple[float, float, float]:
    """For one document: microseconds of CPU, page faults, and runs of the collector (of all
    generations, in thousandths)."""
    make()
    gc.collect()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    collections = sum(each["collections"] for each in gc.get_stats())
    began = time.process_time()
    for _ in range(EACH // count):
        kept = make()
    cpu = time.process_time() - began
    if len(kept) != count:
        raise AssertionError(f"{len(kept)} documents, not {count}")
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    collections = sum(each["collections"] for each in gc.get_stats()) - collections
    return cpu / EACH * 1e6, faults / EACH, collections / EACH * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-gc", action="store_true", help="with the collector switched off")
    arguments = parser.parse_args()
    if arguments.no_gc:
        gc.disable()
    with CannedServer() as server:
        clients = {name: APIS[name].client(server.uri()) for name in ("mongokey", "pymongo")}
        rows: dict[str, Callable[[int], Callable[[], list[Any]]]] = {
            f"{name}: list(find())": lambda count, client=client: (  # type: ignore[misc]
                lambda: list(client["bench"][f"docs{count}"].find())
            )
            for name, client in clients.items()
        }
        rows["bare dicts (marshal)"] = bare_dicts
        print(f"{'a document':24} {'':>10} {'us':>8} {'faults':>8} {'needed':>8} {'gc/1000':>8}")
        for name, prepare in rows.items():
            costs = {}
            for count in (FEW, MOST):
                make = prepare(count)
                found = [measured(make, count) for _ in range(arguments.rounds)]
                figures = [statistics.median(each) for each in zip(*found, strict=True)]
                costs[count] = figures[0]
                needed = pages(make()) if count == MOST else 0.0
                print(
                    f"{name:24} {f'of {count}':>10} {figures[0]:8.2f} {figures[1]:8.3f} "
                    f"{needed:8.3f} {figures[2]:8.3f}"
                )
            grown = costs[MOST] - costs[FEW]
            print(f"{name:24} {'':>10} {grown:+8.2f}, {costs[MOST] / costs[FEW]:.2f} times")
        for client in clients.values():
            client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.arrow`: the client's CPU time for PyMongoArrow's `find_arrow_all` of 10 000
documents, mongokey beside PyMongo, each in processes of its own, by turns.

It needs pymongoarrow, and SecantusDB as the server; that is another process, whose time is not
counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from statistics import median

from tests.servers.secantus import SecantusServer

DOCUMENTS = 10_000
ROUNDS = 3
REPEATS = 10
DRIVERS = ("pymongo", "mongokey")


def work(driver: str, uri: str) -> None:
    """Print the CPU milliseconds of one call."""
    import importlib
    import time

    if driver == "mongokey":
        importlib.import_module("mongokey").install_as_pymongo()
    api = importlib.import_module("pymongoarrow.api")
    client = importlib.import_module("pymongo").MongoClient(uri)
    things = client["bench_arrow"]["things"]
    schema = api.Schema({"_id": int, "x": float, "name": str})
    assert api.find_arrow_all(things, {}, schema=schema).num_rows == DOCUMENTS
    start = time.process_time()
    for _ in range(REPEATS):
        api.find_arrow_all(things, {}, schema=schema)
    print((time.process_time() - start) / REPEATS * 1000)
    client.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.arrow")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        work(*arguments.work)
        return 0
    from mongokey import MongoClient

    taken: dict[str, list[float]] = {driver: [] for driver in DRIVERS}
    with SecantusServer() as server:
        uri = server.uri("both")
        with MongoClient(uri) as client:
            client["bench_arrow"]["things"].insert_many(
                [{"_id": n, "x": n / 2, "name": f"thing {n}"} for n in range(DOCUMENTS)]
            )
        for _ in range(ROUNDS):
            for driver in DRIVERS:
                command = [sys.executable, "-W", "ignore", "-m", "bench.arrow"]
                command += ["--work", driver, uri]
                ended = subprocess.run(command, capture_output=True, text=True, check=True)
                taken[driver].append(float(ended.stdout))
    for driver in DRIVERS:
        print(f"{driver:<10}{median(taken[driver]):8.2f} ms of CPU (median of {ROUNDS})")
    print(f"mongokey's share: {median(taken['mongokey']) / median(taken['pymongo']):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.bson`: mongokey's codec beside PyMongo's C extension, on the official documents.

The documents are those of the driver-benchmark specification, read where the public
specifications' data stand. Both codecs run in this one process in turns (A B B A), so that a
core that changes speed or a busy neighbour meets both; a round's ratio is of CPU time, and what
is shown is the median over rounds. It knows how to measure and to draw, and nothing of a server.

    python -m bench.bson [--rounds N] [--json FILE] [--svg FILE] [--into docs/bson.md]

`--into` puts the table between the lines `<!-- bench -->` and `<!-- /bench -->` of a file.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib
import importlib.metadata
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.compare import machine
from bench.report import put_into

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {
    "flat": "extended_bson/flat_bson",
    "deep": "extended_bson/deep_bson",
    "full": "extended_bson/full_bson",
    "tweet": "single_and_multi_document/tweet",
    "small": "single_and_multi_document/small_doc",
    "large": "single_and_multi_document/large_doc",
}
#: What issue 11 asks for: the geometric mean, and the least of any document.
GOALS = {"encode": 4.0, "decode": 2.0}
LEAST = 1.5
#: So long should a turn take: the cores change speed within milliseconds.
TURN_NS = 2_000_000
BATCH_BYTES = 16 * 1024 * 1024
BATCHES = ("tweet", "small")
PACKAGES = {"mongokey": "mongokey.bson", "pymongo": "bson"}


def folder() -> Path:
    """The folder of the benchmark's documents. Raises `SystemExit` when it is not there."""
    named = os.environ.get("MONGODB_SPECIFICATIONS")
    base = Path(named) if named else ROOT.parent / "shared" / "specifications"
    if not (base / "benchmarking").is_dir():
        raise SystemExit(
            f"{base}/benchmarking is missing: set MONGODB_SPECIFICATIONS to a folder with the"
            " JSON files of github.com/mongodb/specifications"
        )
    return base / "benchmarking"


def document(package: str, name: str) -> dict[str, Any]:
    """A document of the benchmark with the package's own types, as an application has it.

    The nulls of `deep` and the subdocuments are as the file has them; numbers too.
    """
    json_util = importlib.import_module(f"{package}.json_util")
    found: dict[str, Any] = json_util.loads((folder() / f"{DOCUMENTS[name]}.json").read_text())
    return found


def batch(name: str, size: int = BATCH_BYTES) -> bytes:
    """Copies of a document one after another, as many as `size` bytes hold."""
    import bson

    data = bson.encode(document("bson", name))
    return data * (size // len(data))


@dataclass
class Row:
    """One question: microseconds of each codec, and how many times as fast ours is."""

    name: str
    kind: str
    size: int
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def _turn(call: Callable[[], Any], times: int) -> int:
    start = time.thread_time_ns()
    for _ in range(times):
        call()
    return time.thread_time_ns() - start


def _times(call: Callable[[], Any]) -> int:
    """How often the call goes into a turn."""
    call()
    times = 1
    while True:
        took = min(_turn(call, times) for _ in range(3))
        if took >= TURN_NS / 4:
            return max(1, round(times * TURN_NS / took))
        times *= 4


def compare(
    name: str,
    kind: str,
    size: int,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    rounds: int,
) -> Row:
    """Let the two take turns; the median of the rounds' ratios, and its quartiles."""
    mine, other = _times(ours), _times(theirs)
    ratios, first, second = [], [], []
    for _ in range(rounds):
        gc.collect()
        a = _turn(ours, mine)
        b = _turn(theirs, other) + _turn(theirs, other)
        a += _turn(ours, mine)
        first.append(a / 2 / mine)
        second.append(b / 2 / other)
        ratios.append(second[-1] / first[-1])
    low, _, high = statistics.quantiles(ratios, n=4)
    return Row(
        name,
        kind,
        size,
        statistics.median(first) / 1e3,
        statistics.median(second) / 1e3,
        statistics.median(ratios),
        low,
        high,
    )


def measure(name: str, rounds: int) -> list[Row]:
    """Encoding and decoding of one document."""
    import bson

    import mongokey.bson

    mine, theirs = document("mongokey.bson", name), document("bson", name)
    data = bson.encode(theirs)
    if mongokey.bson.encode(mine) != data:
        raise SystemExit(f"{name}: the two codecs write different bytes")
    encode, their_encode = mongokey.bson.encode, bson.encode
    decode, their_decode = mongokey.bson.decode, bson.decode
    return [
        compare(
            name, "encode", len(data), lambda: encode(mine), lambda: their_encode(theirs), rounds
        ),
        compare(
            name, "decode", len(data), lambda: decode(data), lambda: their_decode(data), rounds
        ),
    ]


def measure_batch(name: str, rounds: int) -> Row:
    """`decode_all` of 16 MB."""
    import bson

    import mongokey.bson

    data = batch(name)
    ours, theirs = mongokey.bson.decode_all, bson.decode_all
    # Each turn takes a second or so: fewer of them.
    rounds = max(3, rounds // 8)
    return compare(
        f"{name} x {len(data) // len(bson.encode(document('bson', name)))}",
        "decode_all",
        len(data),
        lambda: ours(data),
        lambda: theirs(data),
        rounds,
    )


# ---- Memory ----


def _peak() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def decode_batch(package: str, name: str) -> int:
    """What runs in a process of its own: by how many bytes decoding a batch raises the peak."""
    data = batch(name)
    decode_all = importlib.import_module(package).decode_all
    before = _peak()
    found = decode_all(data)
    after = _peak()
    assert found
    return after - before


def memory(name: str) -> dict[str, int]:
    """Of each package, by how many bytes decoding a 16 MB batch raises the peak of a process."""
    # As this process finds them: an interpreter may have its packages by way of PYTHONPATH.
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, sys.path)])
    result = {}
    for label, package in PACKAGES.items():
        output = subprocess.run(
            [sys.executable, "-m", "bench.bson", "--peak", package, name],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout
        result[label] = int(output)
    return result


# ---- The report ----


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def _micros(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.1f} ms"
    return f"{value:.0f} µs" if value >= 100 else f"{value:.2f} µs"


def caption(report: dict[str, Any]) -> str:
    versions, computer = report["versions"], report["machine"]
    return (
        f"mongokey {versions['mongokey']} and PyMongo {versions['pymongo']} (C extension),"
        f" Python {versions['python']}, {computer['cpu']}, {computer['cores']} cores,"
        f" {computer['system']}, {report['date'][:10]}"
    )


def markdown(report: dict[str, Any]) -> str:
    """The table: how many times as fast, with the quartiles of the rounds."""
    lines = [
        "How many times as fast as PyMongo's C extension (CPU time; median of the rounds, and"
        " their quartiles): more is better.",
        "",
        "| document | bytes | | times as fast | quartiles | mongokey | PyMongo |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    for row in report["rows"]:
        lines.append(
            f"| {row['name']} | {row['size']} | {row['kind']} | **{row['ratio']:.2f}** |"
            f" {row['low']:.2f}..{row['high']:.2f} | {_micros(row['ours'])} |"
            f" {_micros(row['theirs'])} |"
        )
    for kind, mean in report["means"].items():
        lines.append(f"| geometric mean | | {kind} | **{mean:.2f}** | | | |")
    lines += ["", "| peak memory of decode_all, 16 MB | mongokey | PyMongo |", "|---|--:|--:|"]
    for name, sizes in report["memory"].items():
        mine, theirs = (f"{sizes[package] / 2**20:.1f} MB" for package in PACKAGES)
        lines.append(f"| {name} | {mine} | {theirs} |")
    lines += ["", f"{caption(report)}. Made by `python -m bench.bson`."]
    return "\n".join(lines)


def svg(report: dict[str, Any]) -> str:
    """The chart: two bars for each document, a line at PyMongo and one at each goal."""
    width, label, bar, gap, top = 760, 110, 15, 14, 70
    rows = [row for row in report["rows"] if row["kind"] != "decode_all"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    full = max(6.0, math.ceil(max(row["ratio"] for row in rows)))
    bottom = top + len(names) * (2 * bar + gap)

    def x(ratio: float) -> float:
        return label + ratio / full * (width - label - 60)

    colours = {"encode": "#0969da", "decode": "#2da44e"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 60}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{width}" height="{bottom + 60}" fill="#ffffff"/>',
        '<text x="20" y="26" font-size="17" font-weight="600" fill="#1b1f24">'
        "BSON: times as fast as PyMongo's C extension</text>",
    ]
    for at, (kind, colour) in enumerate(colours.items()):
        parts.append(
            f'<rect x="{20 + 210 * at}" y="39" width="12" height="12" fill="{colour}"/>'
            f'<text x="{38 + 210 * at}" y="50" fill="#57606a">{kind}: mean '
            f"{report['means'][kind]:.2f}, goal {GOALS[kind]:g}</text>"
        )
    for ratio in range(int(full) + 1):
        colour = "#57606a" if ratio == 1 else "#d8dee4"
        parts.append(
            f'<line x1="{x(ratio):.1f}" x2="{x(ratio):.1f}" y1="{top - 6}" y2="{bottom}" '
            f'stroke="{colour}"/><text x="{x(ratio):.1f}" y="{bottom + 16}" fill="#57606a" '
            f'text-anchor="middle">{ratio}x</text>'
        )
    for row in rows:
        at = names.index(row["name"])
        y = top + at * (2 * bar + gap) + (bar if row["kind"] == "decode" else 0)
        if row["kind"] == "encode":
            parts.append(
                f'<text x="{label - 10}" y="{y + bar + 4}" text-anchor="end" fill="#1b1f24">'
                f"{escape(row['name'])}</text>"
            )
        parts.append(
            f'<rect x="{label}" y="{y}" width="{x(row["ratio"]) - label:.1f}" height="{bar - 1}" '
            f'fill="{colours[row["kind"]]}"/><text x="{x(row["ratio"]) + 6:.1f}" y="{y + 12}" '
            f'fill="#1b1f24">{row["ratio"]:.2f}</text>'
        )
    parts.append(
        f'<text x="20" y="{bottom + 44}" fill="#57606a" font-size="11">'
        f"{escape(caption(report))}</text></svg>"
    )
    return "\n".join(parts) + "\n"


def run(names: list[str], rounds: int) -> dict[str, Any]:
    """Measure, printing each row as it comes."""
    rows: list[Row] = []
    print(f"{'':27} {'times as fast':>13}  {'(quartiles)':>14} {'mongokey':>11} {'PyMongo':>11}")

    def add(row: Row) -> None:
        rows.append(row)
        print(
            f"{row.name:16} {row.kind:10} {row.ratio:13.2f}  {row.low:6.2f}..{row.high:6.2f}"
            f" {_micros(row.ours):>11} {_micros(row.theirs):>11}",
            flush=True,
        )

    for name in names:
        for row in measure(name, rounds):
            add(row)
    means = {
        kind: geometric_mean([row.ratio for row in rows if row.kind == kind]) for kind in GOALS
    }
    for kind, mean in means.items():
        least = min(row.ratio for row in rows if row.kind == kind)
        met = mean >= GOALS[kind] and least >= LEAST
        print(
            f"{kind}: geometric mean {mean:.2f} (goal {GOALS[kind]:g}), least {least:.2f}"
            f" (goal {LEAST:g}): {'met' if met else 'MISSED'}"
        )
    batches = [name for name in BATCHES if name in names]
    for name in batches:
        add(measure_batch(name, rounds))
    peaks = {name: memory(name) for name in batches}
    for name, sizes in peaks.items():
        shown = ", ".join(f"{label} {size / 2**20:.1f} MB" for label, size in sizes.items())
        print(f"peak memory of decode_all of 16 MB of {name}: {shown}")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {
            "mongokey": importlib.import_module("mongokey").__version__,
            "pymongo": importlib.import_module("pymongo").__version__,
            "python": sys.version.split()[0],
        },
        "rounds": rounds,
        "rows": [asdict(row) for row in rows],
        "means": means,
        "memory": peaks,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bson", description=__doc__)
    parser.add_argument("--documents", nargs="+", choices=list(DOCUMENTS), default=list(DOCUMENTS))
    parser.add_argument("--rounds", type=int, default=80, help="of each document (default 80)")
    parser.add_argument("--core", type=int, help="pin to this core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--from", dest="source", type=Path, help="what --json wrote: only draw")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the chart there")
    parser.add_argument("--into", type=Path, metavar="FILE", help="put the table there")
    parser.add_argument("--peak", nargs=2, metavar=("PACKAGE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak is not None:
        print(decode_batch(*arguments.peak))
        return 0
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    if arguments.source is not None:
        report = json.loads(arguments.source.read_text())
    else:
        if not importlib.import_module("bson").has_c():
            print("PyMongo is here without its C extension", file=sys.stderr)
            return 2
        report = run(arguments.documents, arguments.rounds)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    if arguments.svg is not None:
        arguments.svg.write_text(svg(report))
    if arguments.into is not None:
        put_into(arguments.into, markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

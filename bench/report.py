"""`python -m bench.report`: the comparison as a Markdown table and an SVG chart.

Without a file it runs `bench.compare` first. It knows the JSON that `compare` writes, and how to
draw; it must not measure anything itself.

    python -m bench.report [--from FILE] [--svg FILE] [--into README.md]

`--into` puts the table between the lines `<!-- bench -->` and `<!-- /bench -->` of a file
(`<!-- bench async -->` and `<!-- /bench async -->` with `--face async`); otherwise it is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

#: Where a file has the tables, by face.
MARKS = {
    "blocking": ("<!-- bench -->", "<!-- /bench -->"),
    "async": ("<!-- bench async -->", "<!-- /bench async -->"),
}
WIDTH, LABEL, BAR, GAP, TOP, BOTTOM = 860, 300, 16, 10, 64, 54
#: Where the chart ends; a longer bar is cut there and its number tells.
FULL_SCALE = 1.2


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 2**20:.1f} MB"
    if value >= 10_000:
        return f"{value / 1000:.1f} ms"
    return f"{value:.0f} µs" if value >= 100 else f"{value:.2f} µs"


def caption(report: dict[str, Any]) -> str:
    """One line: versions, machine, date."""
    versions, machine = report["versions"], report["machine"]
    subject, baseline = versions[report["subject"]], versions[report["baseline"]]
    others = [
        f", {name} {version['version']}"
        for name, version in versions.items()
        if name not in (report["subject"], report["baseline"])
    ]
    return (
        f"{report['subject']} {subject['version']} and {report['baseline']} "
        f"{baseline['version']} (C extension){''.join(others)}, Python {subject['python']}, "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, {report['date'][:10]}"
    )


def _ratio(case: dict[str, Any] | None, name: str) -> str:
    ratio = None if case is None else case["ratios"].get(name)
    return "" if ratio is None else f"{ratio['median']:.2f}"


def markdown(report: dict[str, Any]) -> str:
    """The table, ratio first, with what is needed to judge it."""
    return async_markdown(report) if report.get("face") == "async" else blocking_markdown(report)


def async_markdown(report: dict[str, Any]) -> str:
    """The asyncio face's table: a line for each operation, with both event loops."""
    subject, baseline = report["subject"], report["baseline"]
    by_name: dict[str, dict[str, Any]] = {}
    for case in report["cases"]:
        by_name.setdefault(case["name"], {})[case["loop"]] = case
    lines = [
        f"Client CPU of one operation as a share of {baseline}'s asyncio client: less is better. "
        "Client and server share one core.",
        "",
        f"| operation | share | spread | target | {subject} | {baseline} | mongojet "
        "| of mongojet | share, uvloop | of mongojet, uvloop |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for loops in by_name.values():
        case, uvloop = loops.get("asyncio"), loops.get("uvloop")
        for each in filter(None, (case, uvloop)):
            if each["problems"]:
                lines.append(f"| {each['title']} | failed: {each['problems'][0]} |{' |' * 8}")
        if case is None or case["problems"]:
            continue
        if uvloop is not None and uvloop["problems"]:
            uvloop = None
        ratio, figures = case["ratios"][baseline], case["figures"]
        share, target = f"{ratio['median']:.2f}", case["target"]
        cells = [
            case["title"],
            f"**{share}**" if target is None or ratio["median"] <= target else share,
            f"{ratio['low']:.2f}..{ratio['high']:.2f}",
            "" if target is None else f"≤ {target:g}",
            *(
                _amount(figures[name]["cpu"], "us") if name in figures else ""
                for name in (subject, baseline, "mongojet")
            ),
            _ratio(case, "mongojet"),
            _ratio(uvloop, baseline),
            _ratio(uvloop, "mongojet"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{caption(report)}. Made by `python -m bench.report`."])


def blocking_markdown(report: dict[str, Any]) -> str:
    """The blocking face's table."""
    subject, baseline = report["subject"], report["baseline"]
    lines = [
        f"Client CPU of one operation as a share of {baseline}'s: less is better. "
        "Client and server share one core; the floor is a bare C socket loop over the same bytes, "
        "plain Python is PyMongo without its C extension.",
        "",
        f"| operation | share | spread | target | {subject} | {baseline} | floor "
        "| two cores | of plain Python |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case in report["cases"]:
        if case["problems"]:
            lines.append(f"| {case['title']} | failed: {case['problems'][0]} | | | | | | | |")
            continue
        ratio, figures, unit = case["ratios"][baseline], case["figures"], case["unit"]
        target, floor = case["target"], figures.get("floor")
        met = target is None or ratio["median"] <= target
        share = f"{ratio['median']:.2f}"
        cells = [
            case["title"],
            f"**{share}**" if met else share,
            f"{ratio['low']:.2f}..{ratio['high']:.2f}",
            "" if target is None else f"≤ {target:g}",
            _amount(figures[subject]["cpu"], unit),
            _amount(figures[baseline]["cpu"], unit),
            "" if floor is None else f"{floor['cpu'] / figures[baseline]['cpu']:.2f}",
            _ratio(case["two_cores"], baseline),
            _ratio(case, "pymongo-plain"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{caption(report)}. Made by `python -m bench.report`."])


def svg(report: dict[str, Any]) -> str:
    """The chart: a bar for each case, ticks for its target and its floor, a line at PyMongo."""
    baseline = report["baseline"]
    cases = [case for case in report["cases"] if not case["problems"]]
    plot = WIDTH - LABEL - 70
    height = TOP + len(cases) * (BAR + GAP) + BOTTOM

    def x(share: float) -> float:
        return LABEL + min(share, FULL_SCALE) / FULL_SCALE * plot

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="26" font-size="17" font-weight="600" fill="#1b1f24">'
        f"Client CPU per operation, {escape(baseline)} = 1</text>",
        '<text x="20" y="46" fill="#57606a">less is better; '
        "black tick: target, red tick: bare C socket loop</text>",
    ]
    bottom = height - BOTTOM + 4
    for share in (0, 0.25, 0.5, 0.75, 1.0):
        colour = "#57606a" if share == 1.0 else "#d8dee4"
        parts.append(
            f'<line x1="{x(share):.1f}" x2="{x(share):.1f}" y1="{TOP - 6}" y2="{bottom}" '
            f'stroke="{colour}"/><text x="{x(share):.1f}" y="{bottom + 15}" fill="#57606a" '
            f'text-anchor="middle">{share:g}</text>'
        )
    for index, case in enumerate(cases):
        y = TOP + index * (BAR + GAP)
        share, target = case["ratios"][baseline]["median"], case["target"]
        colour = "#2da44e" if target is None or share <= target else "#bf8700"
        parts.append(
            f'<text x="{LABEL - 10}" y="{y + 13}" text-anchor="end" fill="#1b1f24">'
            f"{escape(case['title'])}</text>"
            f'<rect x="{LABEL}" y="{y}" width="{x(share) - LABEL:.1f}" height="{BAR}" '
            f'fill="{colour}"/><text x="{x(share) + 8:.1f}" y="{y + 13}" fill="#1b1f24">'
            f"{share:.2f}</text>"
        )
        ticks = [] if target is None else [(target, "#1b1f24")]
        floor = case["figures"].get("floor")
        if floor is not None:
            ticks.append((floor["cpu"] / case["figures"][baseline]["cpu"], "#cf222e"))
        for at, colour in ticks:
            parts.append(
                f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y - 2}" y2="{y + BAR + 2}" '
                f'stroke="{colour}" stroke-width="2"/>'
            )
    parts.append(
        f'<text x="20" y="{height - 12}" fill="#57606a" font-size="11">'
        f"{escape(caption(report))}</text></svg>"
    )
    return "\n".join(parts) + "\n"


def put_into(path: Path, table: str, face: str = "blocking") -> None:
    """Replace what stands between a face's marks in a file. Raises `ValueError` without them."""
    begin, end = MARKS[face]
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{path} needs one line {begin} and one line {end}")
    before, rest = text.split(begin)
    path.write_text(f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report")
    parser.add_argument("--from", dest="source", type=Path, help="what compare --json wrote")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--into", type=Path)
    arguments, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as directory:
        source = arguments.source
        if source is None:
            # What is not known here is compare's: cases, rounds, the interpreter.
            source = Path(directory) / "compare.json"
            command = [sys.executable, "-m", "bench.compare", "--json", str(source), *rest]
            status = subprocess.run(command, stdout=sys.stderr).returncode
            if not source.exists():
                return status
        elif rest:
            parser.error(f"unknown arguments: {' '.join(rest)}")
        report = json.loads(source.read_text())
    if arguments.svg is not None:
        arguments.svg.write_text(svg(report))
    if arguments.into is not None:
        put_into(arguments.into, markdown(report), report.get("face", "blocking"))
    else:
        print(markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The table of docs/frameworks.md: a row for each library, of the last time that it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.frameworks.libraries import LIBRARIES

__all__ = ["PAGE", "write_table"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "frameworks.md"
BEGIN = "<!-- begin: python -m tools.frameworks --write -->"
END = "<!-- end -->"
HEADING = (
    "Library", "Version", "Tests", "Run", "Pass with PyMongo", "Pass with mongokey",
    "Only with PyMongo", "Tried",
)  # fmt: skip


def write_table(name: str, cells: Sequence[str], page: Path = PAGE) -> None:
    """Put a library's row in place of its last one; the rows stay in the order of `LIBRARIES`."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {row[0]: row[1:] for row in map(_cells, old.splitlines()) if row[0] in _order()}
    rows[name] = list(cells)
    lines = [_line(HEADING), "|".join(["", *(" --- " for _ in HEADING), ""])]
    lines += [_line([key, *rows[key]]) for key in _order() if key in rows]
    table = "\n".join(lines)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _order() -> list[str]:
    return [library.name for library in LIBRARIES.values()]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] or [""]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

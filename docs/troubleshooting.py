"""Writes troubleshooting.md from the table of diagnoses, which the driver and `mongokey` read too.

`python docs/troubleshooting.py` rewrites the page; `--check` only says whether it would change.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mongokey.diagnostics import AREAS
from mongokey.diagnostics.entry import Entry

PAGE = Path(__file__).with_name("troubleshooting.md")

_HEAD = """\
# Troubleshooting

Every cause that mongokey knows of a failed connection, login or read, by its code. A code never
changes; texts may. `mongokey check URI` finds out which one it is ([check.md](check.md)),
exceptions carry them as `diagnoses` ([errors.md](errors.md#diagnoses)), `mongokey explain CODE`
prints an entry and `mongokey explain --list` all of them. This page is made by
`python docs/troubleshooting.py` from the table they all read.

*Sure* says how sure it can be: `certain` where nothing else explains what was seen, `likely`, or
`possible`. *Seen* is the evidence without which it is not said.
"""


def written() -> str:
    """The page as it should be."""
    parts = [_HEAD]
    for area, entries in AREAS.items():
        parts.append(f"\n## {area}\n")
        parts += [_entry(each) for each in entries]
    return "".join(parts)


def _entry(entry: Entry) -> str:
    more = ""
    page = entry.docs.removeprefix("docs/")
    if not page.startswith(PAGE.name):
        more = f"\nMore: [{page.partition('#')[0]}]({page})\n"
    return (
        f"\n### {entry.code}\n\n`{entry.code}`: {entry.means}.\n\n"
        f"- *Sure*: {entry.sure}\n- *Seen*: {entry.seen}\n- *Do*: {entry.fix}\n{more}"
    )


def main() -> None:
    page = written()
    if "--check" in sys.argv[1:]:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page
        raise SystemExit(None if same else "run: python docs/troubleshooting.py")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

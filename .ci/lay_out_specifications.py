"""Lay out the test data of a checkout of mongodb/specifications as mongokey's tests read it.

`python .ci/lay_out_specifications.py CHECKOUT TARGET` copies source/SUITE/tests to TARGET/SUITE
for every suite that has tests, and writes the DNS records that one suite lists in its README to
a records.txt of their own. MONGODB_SPECIFICATIONS=TARGET then names it to the tests.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

DNS_SUITE = "initial-dns-seedlist-discovery"


def dns_records(readme: str) -> str:
    """The lines of the README's table of records, without its headings and blank lines."""
    table = re.search(r"^```dns\n(Record .*?)^```$", readme, re.MULTILINE | re.DOTALL)
    if table is None:
        raise SystemExit(f"{DNS_SUITE}: the README has no table of DNS records any more")
    lines = table[1].splitlines(keepends=True)
    return "".join(each for each in lines if each.strip() and not each.startswith("Record "))


def main(checkout: Path, target: Path) -> int:
    """Copy the suites and say how many there were."""
    suites = sorted(checkout.glob("source/*/tests"))
    if not suites:
        print(f"{checkout} is no checkout of mongodb/specifications", file=sys.stderr)
        return 1
    for tests in suites:
        shutil.copytree(tests, target / tests.parent.name, dirs_exist_ok=True)
    readme = target / DNS_SUITE / "README.md"
    records = dns_records(readme.read_text(encoding="utf-8"))
    readme.with_name("records.txt").write_text(records, encoding="utf-8")
    print(f"{len(suites)} suites are in {target}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

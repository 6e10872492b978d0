"""Public test suites of frameworks, with PyMongo and with mongokey, on SecantusDB.

Each library has an environment of its own (pip, from PyPI) in a cache folder. A test that passes
with PyMongo has to pass with mongokey; what fails with both is the server's, or the test's. Exit
status 1 tells that one did not, or that nothing passed at all.

    python -m tools.frameworks --only mongoengine beanie
    python -m tools.frameworks --write          # and the table into docs/frameworks.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tools.frameworks.environments import Environment, cache_folder
from tools.frameworks.libraries import LIBRARIES, Library, Suite
from tools.frameworks.suites import DRIVERS, ROOT, Job, Outcomes, run_job
from tools.frameworks.table import write_table

USAGE_PROGRAMS = ROOT / "tests" / "frameworks"


@dataclass
class Comparison:
    """A library's tests with both drivers. `lost` are those that only PyMongo passes."""

    key: str
    name: str
    version: str
    pymongo_version: str
    date: str
    tests: int = 0
    passed_pymongo: int = 0
    passed_mongokey: int = 0
    own_programs: bool = True
    lost: list[str] = field(default_factory=list)
    logs: str = ""

    @property
    def proves(self) -> bool:
        """Does something pass with PyMongo, and all of that with mongokey?"""
        return self.passed_pymongo > 0 and not self.lost


def compare(
    library: Library, cache: Path, snapshots: Path | None = None, *, programs: bool = False
) -> Comparison:
    """Run all suites of a library with both drivers; with `programs`, only those of ours."""
    environment = Environment(library, cache)
    environment.make()
    versions = environment.versions()
    result = Comparison(
        library.key,
        library.name,
        versions[library.distribution.lower()],
        versions["pymongo"],
        datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        logs=str(environment.folder),
    )
    for number, suite in enumerate(library.suites):
        if programs and (suite.sdist or suite.repository):
            continue
        folder = _folder_of(suite, environment, snapshots)
        job = Job.of(suite, environment.python, folder)
        found = {
            driver: run_job(job, driver, environment.folder / f"{driver}-{number}.log")
            for driver in DRIVERS
        }
        result.own_programs &= folder == USAGE_PROGRAMS
        _count(result, found["pymongo"], found["mongokey"])
    return result


def _folder_of(suite: Suite, environment: Environment, snapshots: Path | None) -> Path:
    if suite.sdist:
        return environment.source(suite.sdist) / suite.within
    if suite.repository:
        return environment.snapshot(suite.repository, snapshots) / suite.within
    return USAGE_PROGRAMS


def _count(result: Comparison, pymongo: Outcomes, mongokey: Outcomes) -> None:
    result.tests += sum(outcome != "skipped" for outcome in pymongo.values())
    passed = {name for name, outcome in pymongo.items() if outcome == "passed"}
    result.passed_pymongo += len(passed)
    result.passed_mongokey += sum(outcome == "passed" for outcome in mongokey.values())
    result.lost += sorted(name for name in passed if mongokey.get(name) != "passed")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.frameworks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=sorted(LIBRARIES), metavar="LIBRARY")
    parser.add_argument("--list", action="store_true", help="the libraries, one a line")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each library")
    parser.add_argument("--write", action="store_true", help="put them into docs/frameworks.md")
    parser.add_argument("--cache", type=Path, default=cache_folder(), help="default: %(default)s")
    parser.add_argument(
        "--snapshots",
        type=Path,
        metavar="FOLDER",
        help="git directories OWNER+NAME/repo that are used instead of clones from GitHub",
    )
    parser.add_argument(
        "--programs",
        action="store_true",
        help="only the programs in tests/frameworks, not the libraries' own suites",
    )
    arguments = parser.parse_args()
    if arguments.list:
        for library in LIBRARIES.values():
            print(f"{library.key:<30} {library.name}")
        return 0
    failed = False
    for key in arguments.only or LIBRARIES:
        try:
            result = compare(
                LIBRARIES[key],
                arguments.cache.resolve(),
                arguments.snapshots,
                programs=arguments.programs,
            )
        except (RuntimeError, OSError) as error:
            print(f"{key}: {error}", file=sys.stderr)
            failed = True
            continue
        failed |= not result.proves
        if arguments.json:
            print(json.dumps(asdict(result)), flush=True)
        else:
            print(
                f"{result.name} {result.version}: {result.tests} tests, passed with PyMongo "
                f"{result.passed_pymongo}, with mongokey {result.passed_mongokey}",
                *(f"  only with PyMongo: {name}" for name in result.lost),
                sep="\n",
                flush=True,
            )
        if arguments.write:
            write_table(
                result.name,
                [
                    f"{result.version} (PyMongo {result.pymongo_version})",
                    "usage programs" if result.own_programs else "its own",
                    str(result.tests),
                    str(result.passed_pymongo),
                    str(result.passed_mongokey),
                    str(len(result.lost)),
                    result.date,
                ],
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

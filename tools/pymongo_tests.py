"""PyMongo's own tests, run with PyMongo and with mongokey: `python tools/pymongo_tests.py`.

The tests come from PyMongo's sdist, which is downloaded (or given: ``--sdist PATH``) and unpacked
into a cache outside the repository; nothing of it is kept here. They run against a SecantusDB of
one member, each file in a process of its own: first with PyMongo (whose outcomes are remembered in
the cache), then with mongokey in its place (``python -m mongokey run -m pytest``). A test that
PyMongo passes and mongokey does not is a fault, unless tools/pymongo_private.json says which name
of PyMongo's inside it needs. That list can only shrink.

    python tools/pymongo_tests.py                         all files, a table; 1 if any test fails
    python tools/pymongo_tests.py --only test_binary.py   one file (may be given again; a glob)
    python tools/pymongo_tests.py --json                  the outcomes, for machines
    python tools/pymongo_tests.py --list                  put what is failing on the list
    python tools/pymongo_tests.py --write                 the table of docs/pymongo-tests.md

With ``--kept`` the outcomes of the last run are judged, and nothing is run.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from mongokey.stand_in import PYMONGO_VERSION  # noqa: E402

PRIVATE = ROOT / "tools" / "pymongo_private.json"
PAGE = ROOT / "docs" / "pymongo-tests.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "mongokey" / "pymongo"
FILE_TIMEOUT = 1800
START, END = "<!-- the table -->", "<!-- its end -->"
WHY = "PyMongo's machinery, of which mongokey has another"
NOT_RUN = {"outcome": "not run", "private": [], "text": ""}
Outcomes = dict[str, dict[str, Any]]
DRIVERS = ("pymongo", "mongokey")
PACKAGES = {
    "pymongo": [f"pymongo=={PYMONGO_VERSION}", "dnspython"],
    "mongokey": ["cryptography", "dnspython", "publicsuffixlist"],
}
TOOLS = ["pytest", "pytest-asyncio", "pytest-timeout"]

# Files that are about neither driver's behaviour on a server of ours.
LEFT_OUT = {
    "test_mypy_fails.py": "type checkers",
    "test_typing.py": "type checkers",
    "test_typing_strict.py": "type checkers",
}


# -- what is run ----------------------------------------------------------------------------------


def unpacked(sdist: Path | None, cache: Path) -> Path:
    """The folder with PyMongo's ``test`` package, and no package of PyMongo's beside it."""
    folder = cache / f"tests-{PYMONGO_VERSION}"
    if not (folder / "test").is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        if sdist is None:
            sdist = _downloaded(cache)
        with tarfile.open(sdist) as archive:
            members = []
            for member in archive.getmembers():
                member.name = member.name.partition("/")[2]  # without pymongo-4.20.1/
                if member.name == "pyproject.toml" or member.name.startswith("test/"):
                    members.append(member)
            archive.extractall(folder, members, filter="data")
    return folder


def _downloaded(cache: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", "pymongo", "--dest", str(cache), f"pymongo=={PYMONGO_VERSION}"]
    subprocess.run(command, check=True)
    return cache / f"pymongo-{PYMONGO_VERSION}.tar.gz"


def interpreter(driver: str, cache: Path) -> Path:
    """Python of an environment that has the driver's needs and pytest; PyMongo only for itself."""
    packages = PACKAGES[driver] + TOOLS
    folder = cache / f"env-{driver}-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    made = folder / "made.json"
    if not made.exists() or json.loads(made.read_text()) != packages:
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(command, check=True)
        made.write_text(json.dumps(packages))
    return python


def test_files(folder: Path, only: list[str]) -> list[str]:
    """The files to run, relative to `folder`, blocking ones first."""
    found = sorted((folder / "test").glob("test_*.py"))
    found += sorted((folder / "test" / "asynchronous").glob("test_*.py"))
    names = [path.relative_to(folder).as_posix() for path in found if path.name not in LEFT_OUT]
    if not only:
        return names
    return [
        name
        for name in names
        if any(
            fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"test/{pattern}")
            for pattern in only
        )
    ]


# -- one file -------------------------------------------------------------------------------------


def outcomes_of(driver: str, name: str, folder: Path, cache: Path, timeout: int) -> Outcomes:
    """Test -> outcome of one file, each test with at most `timeout` seconds."""
    from tests.servers.secantus import SecantusServer

    python = interpreter(driver, cache)
    results = _results_of(driver, name, cache)
    results.unlink(missing_ok=True)
    outcomes: Outcomes = {}
    with SecantusServer(require_auth=False) as server:
        # Again where the process died, without what ran already.
        for _ in range(6):
            status, output = _run_pytest(
                driver, python, name, folder, results, server, timeout, outcomes
            )
            outcomes = _read(results)
            if status in (0, 1, 5):
                return outcomes
            now = Path(f"{results}.now")
            current = now.read_text() if now.exists() else name
            if current in outcomes or current == name:
                outcomes[name] = {"outcome": "failed", "private": [], "text": output}
                return outcomes
            with results.open("a") as file:
                died = {
                    "outcome": "failed",
                    "private": [],
                    "text": f"ended with {status}: {output}",
                }
                file.write(json.dumps({"id": current, **died}) + "\n")
            outcomes = _read(results)
    return outcomes


def _run_pytest(
    driver: str,
    python: Path,
    name: str,
    folder: Path,
    results: Path,
    server: Any,
    timeout: int,
    known: Outcomes,
) -> tuple[int, str]:
    command = [str(python), "-X", "faulthandler"]
    if driver == "mongokey":
        command += ["-m", "mongokey", "run"]
    command += ["-m", "pytest", "-q", "--tb=short", "-p", "pymongo_tests_plugin", "-o", "addopts="]
    command += ["-p", "no:cacheprovider", "-m", "default or default_async", f"--timeout={timeout}"]
    command += ["--timeout-method=signal", "-o", "log_cli=false", name]
    for test in known:
        command += ["--deselect", test]
    path = [str(ROOT / "tools")]
    if driver == "mongokey":
        path += [str(ROOT / "src"), str(_for_child_processes(results.parent))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYMONGO_TESTS_RESULTS": str(results),
        "DB_IP": server.host,
        "DB_PORT": str(server.port),
    }
    environment.pop("COMPRESSORS", None)
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=max(FILE_TIMEOUT, timeout),
        )
    except subprocess.TimeoutExpired:
        return -1, f"the file took more than {FILE_TIMEOUT} s"
    return done.returncode, done.stdout[-4000:]


def _for_child_processes(cache: Path) -> Path:
    """A folder for PYTHONPATH: Python processes that a test starts have mongokey for PyMongo."""
    folder = cache / "child-processes"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("import mongokey\n\nmongokey.install_as_pymongo()\n")
    return folder


def _results_of(driver: str, name: str, cache: Path) -> Path:
    return cache / f"{driver}-{name.replace('/', '.')}.jsonl"


def _read(results: Path) -> Outcomes:
    if not results.exists():
        return {}
    lines = (json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())
    return {line.pop("id"): line for line in lines}


# -- comparing ------------------------------------------------------------------------------------


def judged(
    name: str, reference: Outcomes, own: Outcomes, private: dict[str, str]
) -> dict[str, Any]:
    """What became of the tests that PyMongo passes, and of those that the list excuses."""
    passed = [test for test, entry in reference.items() if entry["outcome"] == "passed"]
    good = {test for test, entry in own.items() if entry["outcome"] == "passed"}
    return {
        "pymongo": len(passed),
        "mongokey": len([test for test in passed if test in good]),
        "private": {test: private[test] for test in passed if test in private and test not in good},
        "failing": {
            test: own.get(test) or own.get(name) or NOT_RUN
            for test in passed
            if test not in good and test not in private
        },
        "needless": sorted(test for test in good if test in private),
    }


def excused() -> dict[str, str]:
    """Test -> the private name that it needs, or in what mongokey differs on purpose."""
    listed = json.loads(PRIVATE.read_text())
    entries = {name: entry["tests"] for name, entry in listed["names"].items()}
    return {
        test: why
        for each in (entries, listed["different"])
        for why, tests in each.items()
        for test in tests
    }


def write(report: dict[str, Any]) -> None:
    """Put the files' rows into the page, in place of what it has of the same files."""
    text = PAGE.read_text(encoding="utf-8")
    head, start, rest = text.partition(START)
    old, end, tail = rest.partition(END)
    rows = {line.split("|")[1].strip(" `"): line for line in old.splitlines() if "`" in line}
    for name, entry in report.items():
        numbers = (
            entry["pymongo"],
            entry["mongokey"],
            len(entry["private"]),
            len(entry["failing"]),
        )
        rows[name] = f"| `{name}` | {' | '.join(map(str, numbers))} |"
    table = ["| file | PyMongo passes | mongokey passes | listed | failing |", "|-|-|-|-|-|"]
    table += [rows[name] for name in sorted(rows, key=lambda name: ("asynchronous" in name, name))]
    PAGE.write_text(head + start + "\n".join(["", *table, ""]) + end + tail, encoding="utf-8")


def listed_tests(listed: dict[str, Any]) -> int:
    """How many tests the list excuses."""
    private = sum(len(entry["tests"]) for entry in listed["names"].values())
    return private + sum(map(len, listed["different"].values()))


def extend_list(report: dict[str, Any]) -> list[str]:
    """Put failing tests that use a private name into the list; returns those that use none."""
    listed = json.loads(PRIVATE.read_text())
    left = []
    for entry in report.values():
        for test, outcome in entry["failing"].items():
            if not outcome["private"]:
                left.append(test)
                continue
            name = outcome["private"][0]
            found = listed["names"].setdefault(name, {"why": WHY, "tests": []})
            found["tests"] = sorted({*found["tests"], test})
        for test in entry["needless"]:
            for found in [
                *(e["tests"] for e in listed["names"].values()),
                *listed["different"].values(),
            ]:
                if test in found:
                    found.remove(test)
    listed["names"] = {name: e for name, e in sorted(listed["names"].items()) if e["tests"]}
    listed["ceiling"] = listed_tests(listed)
    PRIVATE.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
    return left


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sdist", type=Path, help="PyMongo's sdist, instead of a download")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where all is kept")
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="may be a glob")
    parser.add_argument("--anew", action="store_true", help="run PyMongo again, too")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one test")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="the table in docs/pymongo-tests.md")
    parser.add_argument("--list", action="store_true", help="list failing tests by what they need")
    parser.add_argument("--kept", action="store_true", help="judge the last run; run nothing")
    arguments = parser.parse_args()
    cache = arguments.cache.resolve()
    folder = unpacked(arguments.sdist, cache)
    private = excused()
    report: dict[str, Any] = {}
    for name in test_files(folder, arguments.only):
        stored = _results_of("mongokey", name, cache)
        kept = cache / f"reference-{PYMONGO_VERSION}-{name.replace('/', '.')}.json"
        if arguments.kept and not (kept.exists() and stored.exists()):
            continue
        if arguments.anew or not kept.exists():
            outcomes = outcomes_of("pymongo", name, folder, cache, arguments.timeout)
            kept.write_text(json.dumps(outcomes))
        reference = json.loads(kept.read_text())
        if arguments.kept:
            own = _read(stored)
        else:
            own = outcomes_of("mongokey", name, folder, cache, arguments.timeout)
        report[name] = judged(name, reference, own, private)
        if not arguments.json:
            print(_row(name, report[name]), flush=True)
            for test, entry in report[name]["failing"].items():
                needed = ", ".join(entry["private"])
                print(f"    {test} {entry['outcome']} {needed}", flush=True)
    if arguments.json:
        print(json.dumps(report, indent=1))
    if arguments.list:
        for test in extend_list(report):
            print(f"needs no private name: {test}", file=sys.stderr)
    if arguments.write:
        write(report)
    return 1 if any(entry["failing"] for entry in report.values()) else 0


def _row(name: str, entry: dict[str, Any]) -> str:
    return (
        f"{name:60} PyMongo {entry['pymongo']:4} mongokey {entry['mongokey']:4} "
        f"private {len(entry['private']):3} failing {len(entry['failing']):3}"
    )


if __name__ == "__main__":
    sys.exit(main())

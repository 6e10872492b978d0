"""Runs a framework's suites with PyMongo and with mongokey, each against a fresh SecantusDB.

The suites want their server at localhost:27017. They get one of their own there, in a network
namespace that has nothing but loopback: nothing leaves the machine, and nobody's server is in the
way. Knows pytest's report; must not know how environments are made.

`python -m tools.frameworks.suites` is the inside of the namespace; it is not for people.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from tools.frameworks.libraries import Suite

__all__ = ["DRIVERS", "Job", "environment_of", "read_report", "run_job"]

ROOT = Path(__file__).resolve().parents[2]
#: How a suite is started by each driver; the words stand between Python and pytest's arguments.
DRIVERS = {
    "pymongo": ("-m", "pytest"),
    "mongokey": ("-m", "mongokey", "run", "-m", "pytest"),
}
#: Plugins of pytest's that a suite may name.
PLUGINS = Path(__file__).resolve().parent / "plugins"
PORT = 27017
TEST_SECONDS = 120
SUITE_SECONDS = 1800.0

#: A test's name -> passed, failed or skipped.
Outcomes = dict[str, str]


@dataclass(frozen=True)
class Job:
    """A suite, the Python to run it with, and the folder to run it in."""

    python: str
    folder: str
    files: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def of(cls, suite: Suite, python: Path, folder: Path) -> Job:
        return cls(str(python), str(folder), suite.files, suite.arguments, dict(suite.environment))


def run_job(job: Job, driver: str, log: Path) -> Outcomes:
    """Run a suite with a driver; its output goes into the file `log`.

    Raises `RuntimeError` where the machine allows no namespace, or pytest reported nothing.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        raise RuntimeError("unshare is not installed: apt install util-linux")
    command = [unshare, *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]
    ended = subprocess.run(  # noqa: S603
        [*command, sys.executable, "-m", "tools.frameworks.suites", driver, str(log)],
        input=json.dumps(vars(job)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=SUITE_SECONDS + 120,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"{driver}: {ended.stderr[-3000:]}")
    outcomes: Outcomes = json.loads(ended.stdout.splitlines()[-1])
    return outcomes


def _run_inside(job: Job, driver: str, log: Path) -> Outcomes:
    from tests.servers.secantus import SecantusServer

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=60)  # noqa: S607
    # Replica set or not, suites ask by themselves; transactions and change streams need one.
    with SecantusServer(require_auth=False, port=PORT), tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.xml"
        command = [job.python, *DRIVERS[driver], *job.files]
        command += ["-p", "no:cacheprovider", "-q", "-ra", "--tb=short", "-o", "addopts="]
        command += ["--continue-on-collection-errors"]
        command += [f"--junitxml={report}", f"--timeout={TEST_SECONDS}", *job.arguments]
        environment = environment_of(job)
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=job.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(SUITE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not report.exists():
            raise RuntimeError(f"pytest reported nothing:\n{log.read_text()[-3000:]}")
        return read_report(report)


def environment_of(job: Job) -> dict[str, str]:
    """What a suite's pytest sees: not the settings of Python and pytest of whoever runs this
    (CI's ask for plugins that the library's environment lacks); mongokey's sources for both."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST_"))
    }
    paths = (ROOT / "src", PLUGINS)
    environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment | job.environment


def read_report(report: Path) -> Outcomes:
    """The outcome of each test in a report of pytest's; the worse one where a name stands twice."""
    outcomes: Outcomes = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            outcomes[name] = "failed"
        elif case.find("skipped") is not None:
            outcomes.setdefault(name, "skipped")
        else:
            outcomes.setdefault(name, "passed")
    return outcomes


def main() -> None:
    driver, log = sys.argv[1:]
    given = json.load(sys.stdin)
    job = Job(**{**given, "files": tuple(given["files"]), "arguments": tuple(given["arguments"])})
    print(json.dumps(_run_inside(job, driver, Path(log))), flush=True)


if __name__ == "__main__":
    main()

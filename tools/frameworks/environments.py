"""Environments and sources of frameworks, kept in a cache folder outside the repository.

It knows venv and pip. It must not know what is run in them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tools.frameworks.libraries import Library, name_of

__all__ = ["Environment", "cache_folder"]

ROOT = Path(__file__).resolve().parents[2]
INSTALL_TIMEOUT = 1200.0


def cache_folder() -> Path:
    """Where environments are kept: `mongokey-frameworks` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mongokey-frameworks"


class Environment:
    """A library's own environment: made when it is first asked for."""

    def __init__(self, library: Library, cache: Path) -> None:
        self.library = library
        # Another list of requirements is another environment.
        wanted = json.dumps([library.requirements, library.early, sys.version_info[:2]])
        digest = hashlib.sha256(wanted.encode()).hexdigest()[:8]
        self.folder = cache / f"{library.key}-{digest}"
        self.python = self.folder / "venv" / "bin" / "python"

    def make(self) -> None:
        """Install the library and what its suites need; a whole one is left as it is."""
        done = self.folder / "installed"
        if done.exists():
            return
        venv = self.folder / "venv"
        _call(sys.executable, "-m", "venv", "--clear", str(venv))
        self._pip("install", *self.library.requirements, *_requirements_of_mongokey())
        done.touch()

    def versions(self) -> dict[str, str]:
        """Distribution -> version, of all that is installed (lower-case names)."""
        output = _call(str(self.python), "-m", "pip", "list", "--format", "json")
        return {each["name"].lower(): each["version"] for each in json.loads(output)}

    def source(self, requirement: str) -> Path:
        """The unpacked source of a distribution, of the version that is installed."""
        name = name_of(requirement)
        version = self.versions()[name.lower()]
        folder = self.folder / "sources" / f"{name}-{version}"
        if not folder.exists():
            place = self.folder / "downloads"
            self._pip(
                "download", "--no-deps", "--no-binary", name, "-d", str(place), f"{name}=={version}"
            )
            (archive,) = place.glob(f"*{version}.tar.gz")
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
            archive.unlink()
        (inside,) = (path for path in folder.iterdir() if path.is_dir())
        return inside

    def snapshot(self, repository: str, snapshots: Path | None) -> Path:
        """The files of a repository on GitHub at a tag ("owner/name@tag").

        `snapshots` is a folder of git directories named ``owner+name/repo``, for machines that
        cannot reach GitHub; what is not there is cloned.
        """
        name, _, tag = repository.partition("@")
        folder = self.folder / "sources" / repository.replace("/", "+")
        if folder.exists():
            return folder
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        kept = snapshots / name.replace("/", "+") / "repo" if snapshots else None
        if kept is not None and kept.exists():
            unfinished.mkdir(parents=True)
            archive = unfinished / "snapshot.tar"
            _call("git", "-C", str(kept), "archive", "--output", str(archive), f"refs/tags/{tag}")
            with tarfile.open(archive) as file:
                file.extractall(unfinished, filter="data")
            archive.unlink()
        else:
            place = f"https://github.com/{name}"
            _call("git", "clone", "--quiet", "--depth=1", "-b", tag, place, str(unfinished))
        unfinished.rename(folder)
        return folder

    def _pip(self, command: str, *arguments: str) -> None:
        early = ("--pre",) if self.library.early else ()
        _call(str(self.python), "-m", "pip", command, "--quiet", *early, *arguments)


def _requirements_of_mongokey() -> list[str]:
    import tomllib  # not in Python 3.10, on which the tests import this module

    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["project"]["dependencies"]
    return found


def _call(*command: str) -> str:
    ended = subprocess.run(  # noqa: S603 - our own commands
        command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT
    )
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(ended.stderr or ended.stdout)[-3000:]}")
    return ended.stdout

"""Look into a built wheel: what has to be there, and what must not.

Every .pyx of the checkout has its compiled module, its .pyi and (where there is one) its .pxd in
the wheel; no generated C, no tests, no sources that only a build needs. Every module can be
imported from the wheel alone, and the wheel is small (`MOST`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "mongokey"
EXTENSIONS = (".so", ".pyd")
# Bytes of a wheel: debug information that crept in again would make it four times as large.
MOST = 2_500_000


def expected() -> set[str]:
    """The files the wheel must have, by the checkout; compiled modules without their suffix."""
    names = set()
    for path in PACKAGE.rglob("*"):
        name = path.relative_to(PACKAGE.parent).as_posix()
        if path.suffix in (".py", ".pyi", ".pxd") or path.name == "py.typed":
            names.add(name)
        elif path.suffix == ".pyx":
            names.add(name.removesuffix(".pyx"))
            names.add(name.removesuffix("x") + "i")
    return names


def found(wheel: zipfile.ZipFile) -> set[str]:
    """The package's files in the wheel, in the same form; dist-info apart."""
    names = set()
    for name in wheel.namelist():
        if ".dist-info/" in name:
            continue
        if name.endswith(EXTENSIONS):
            suffix = next(each for each in EXTENSION_SUFFIXES if name.endswith(each))
            name = name.removesuffix(suffix)
        names.add(name)
    return names


def main() -> None:
    path = Path(sys.argv[1])
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
        wanted, there = expected(), found(wheel)
        if wanted != there:
            sys.exit(
                f"{path.name}: missing {sorted(wanted - there)}, not wanted "
                f"{sorted(there - wanted)}"
            )
        wheel.extractall(folder)
        modules = sorted(
            name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for name in there
            if name.endswith(".py") or "." not in name
        )
        modules = [name for name in modules if not name.endswith("__main__")]
        code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
        subprocess.run([sys.executable, "-c", code, *modules], cwd=folder, check=True)
    size = path.stat().st_size
    if size > MOST:
        sys.exit(f"{path.name}: {size} bytes, more than {MOST}")
    print(
        f"{path.name}: {size / 1e6:.2f} MB, {len(there)} files as they should be, "
        f"{len(modules)} modules import"
    )


if __name__ == "__main__":
    main()

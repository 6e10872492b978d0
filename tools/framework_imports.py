"""What frameworks import of PyMongo: `python tools/framework_imports.py FOLDER`.

FOLDER has their packages (``pip install --no-deps --target FOLDER mongoengine beanie…``). Every
``import`` of `pymongo`, `bson` and `gridfs` in their sources goes into
tests/unit/framework_imports.json, which a test holds mongokey against. Nothing of them is run.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

STORED = Path(__file__).resolve().parent.parent / "tests" / "unit" / "framework_imports.json"
PACKAGES = ("pymongo", "bson", "gridfs")


def imports_of(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of each import of PyMongo's packages; the name is empty for a whole module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module.partition(".")[0] in PACKAGES:
                for alias in node.names:
                    yield node.module, "" if alias.name == "*" else alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in PACKAGES:
                    yield alias.name, ""


def found_in(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Module -> name -> the packages that import it."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted(folder.rglob("*.py")):
        try:
            imports = list(imports_of(path.read_text(encoding="utf-8")))
        except (SyntaxError, UnicodeDecodeError):
            continue  # templates of code, and the like
        for module, name in imports:
            package = path.relative_to(folder).parts[0]
            found.setdefault(module, {}).setdefault(name, set()).add(package)
    return {
        module: {name: sorted(who) for name, who in names.items()}
        for module, names in found.items()
    }


def versions_in(folder: Path) -> dict[str, str]:
    """Distribution -> version, of all that are in the folder."""
    named = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.dist-info")
    matches = (named.fullmatch(path.name) for path in folder.iterdir())
    return {match["name"]: match["version"] for match in matches if match}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    content = {"versions": versions_in(folder), "imports": found_in(folder)}
    STORED.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

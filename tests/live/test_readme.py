"""The README and the guides, taken at their word: their Python runs and prints what they say.

Each block runs on its own against the embedded server, which has the user that the pages log in
as; only the server's address is put in. A `print` line's comment, or the comment lines right
below it, are what it prints. Blocks marked `no-run` need servers that are not at hand; those
marked `process` change what a process imports, and have one of their own; so have those marked
`framework`, which run where what they import is installed (`python -m tools.frameworks` runs them
in environments that have it). Elsewhere they are compiled, and import what they do of the drivers.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from mongokey.cli.app import cli
from tests.servers.secantus import SecantusServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
USER = {"createUser": "ada", "pwd": "secret", "roles": [{"role": "root", "db": "admin"}]}
MECHANISMS = ["SCRAM-SHA-1", "SCRAM-SHA-256"]

DRIVERS = {"mongokey", "pymongo", "bson", "gridfs"}

BLOCK = re.compile(r"^```python(?P<mark>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?P<anchor>#[^)]*)?\)")


class Block(NamedTuple):
    page: Path
    line: int
    code: str
    mark: str

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match["mark"].strip() != "no-run":
                line = text.count("\n", 0, match.start("code")) + 1
                found.append(Block(page, line, match["code"], match["mark"].strip()))
    return found


def promised(code: str) -> list[str]:
    """What the block says it prints, line by line."""
    lines = []
    below = False
    for line in map(str.strip, code.splitlines()):
        if line.startswith("print("):
            _, sign, comment = line.rpartition("  # ")
            below = not sign
            if sign:
                lines.append(comment)
        elif below and line.startswith("# "):
            lines.append(line[2:])
        else:
            below = False
    return lines


@pytest.fixture(scope="module")
def address(secantus: SecantusServer) -> Iterator[str]:
    """host:port of a server that knows ada and her secret."""
    made = secantus.command("admin", {**USER, "mechanisms": MECHANISMS})
    assert made["ok"] == 1, made
    yield f"{secantus.host}:{secantus.port}"
    secantus.command("admin", {"dropUser": "ada"})
    secantus.drop_database("app")


def imports(tree: ast.Module) -> list[tuple[ast.stmt, str]]:
    """The imports of a block, each with the module that it is from."""
    found: list[tuple[ast.stmt, str]] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [(node, each.name) for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            found.append((node, node.module))
    return found


def is_of_a_driver(module: str) -> bool:
    return module.partition(".")[0] in DRIVERS


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # what it is in is not
        return False


def only_the_drivers(code: str) -> str:
    """What a block for a framework asks of mongokey, without the framework."""
    tree = ast.parse(code)
    drivers = {node for node, module in imports(tree) if is_of_a_driver(module)}
    kept = [
        node
        for node in tree.body
        if node in drivers or ast.unparse(node) == "mongokey.install_as_pymongo()"
    ]
    return "\n".join(map(ast.unparse, kept))


@pytest.mark.live
@pytest.mark.parametrize(
    "block",
    [pytest.param(each, id=each.name) for each in blocks() if each.mark == "framework"],
)
def test_a_recipe_for_a_framework(block: Block, open_secantus: SecantusServer) -> None:
    compile(block.code, str(block.page), "exec")
    modules = [module for _, module in imports(ast.parse(block.code))]
    there = all(is_installed(each) for each in modules if not is_of_a_driver(each))
    code = block.code if there else only_the_drivers(block.code)
    assert "mongokey.install_as_pymongo()" in code
    code = code.replace("localhost:27017", f"{open_secantus.host}:{open_secantus.port}")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert promised(block.code)
    if there:
        assert ended.stdout.splitlines() == promised(block.code)


def test_what_a_recipe_asks_of_mongokey_is_taken_out_of_it() -> None:
    code = """
import mongokey
mongokey.install_as_pymongo()
import asyncio
from framework import (
    Document,
)
from pymongo.errors import Nothing
from bson import ObjectId
Document(ObjectId())
"""
    assert only_the_drivers(code) == (
        "import mongokey\nmongokey.install_as_pymongo()\nfrom pymongo.errors import Nothing\n"
        "from bson import ObjectId"
    )


@pytest.mark.live
@pytest.mark.parametrize(
    "block",
    [pytest.param(each, id=each.name) for each in blocks() if each.mark != "framework"],
)
def test_block_runs_and_prints_what_it_says(block: Block, address: str) -> None:
    host, _, port = address.rpartition(":")
    code = block.code.replace("localhost:27017", address)
    code = code.replace('("localhost", 27017)', f"({host!r}, {port})")
    printed = io.StringIO()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    # Blank lines in front, so that a traceback points into the page.
    program = compile("\n" * (block.line - 1) + code, str(block.page), "exec")

    if block.mark == "process":
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        printed.write(ended.stdout)
    else:
        with contextlib.redirect_stdout(printed):
            exec(program, namespace)

    assert printed.getvalue().splitlines() == promised(block.code)


def test_the_imports_that_are_changed_import_the_same_names() -> None:
    page = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(from (?!mongokey)[^`]*)` \| `(from mongokey[^`]*)` \|$", page, re.M)
    assert len(rows) > 5
    code = ["import mongokey"]
    for before, after in rows:
        _, _, names = after.replace("...", "PyMongoError").partition(" import ")
        code += [after.replace("...", names), f"new = [{names}]", "mongokey.install_as_pymongo()"]
        code += [before.replace("...", names), f"assert new == [{names}]"]
        code += ["mongokey.uninstall_as_pymongo()"]
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr


def test_shown_commands_print_what_the_page_shows() -> None:
    shown = re.findall(
        r"^```console\n\$ mongokey ([^\n]*)\n(.*?)^```$",
        "".join(page.read_text(encoding="utf-8") for page in PAGES),
        re.MULTILINE | re.DOTALL,
    )

    assert shown
    for command, output in shown:
        assert CliRunner().invoke(cli, shlex.split(command)).stdout == output


def test_there_are_blocks_and_they_promise_something() -> None:
    found = blocks()

    assert {block.page.name for block in found} >= {"README.md", "layers.md", "errors.md"}
    assert [
        block.name for block in found if not promised(block.code) and "print" in block.code
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (page.parent / match["path"]).resolve() if match["path"] else page
        assert target.exists(), match[0]
        if match["anchor"]:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", each).strip().replace(" ", "-") for each in headings]
            assert match["anchor"][1:] in [each.lower() for each in anchors], match[0]


def test_readme_has_the_two_commands_that_do_all_the_set_up() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^<!-- (demo|test) command -->\n```sh\n(.*)\n```$", text, re.MULTILINE)

    assert [name for name, _ in found] == ["demo", "test"]
    for name, command in found:
        setup, install, last = command.split(" && ")
        assert setup == "python3 -m venv .venv"
        assert install.startswith(".venv/bin/pip install ")
        assert f".[{name}]" in install
        assert last.startswith(".venv/bin/")

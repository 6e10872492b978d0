"""Makes the blocking classes from the asyncio ones: `python tools/blocking_face.py [--check]`.

The files of `src/mongokey/aio` that FILES names are written by hand; the files of the same names in
`src/mongokey` are made from them: without `async` and `await`, with the names of the other face. So
are those files of `gridfs/synchronous` that FILES names, from `gridfs/asynchronous`. What the faces
do in different ways stands in the classes below those, on each face.
With `--check` nothing is written, and the exit code says whether the files are current.
"""

from __future__ import annotations

import argparse
import difflib
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "src" / "mongokey"
FILES = (
    "change_stream.py",
    "client_session.py",
    "collection.py",
    "cursor.py",
    "database.py",
    "encryption.py",
    "mongo_client.py",
    "gridfs/synchronous/bucket.py",
    "gridfs/synchronous/grid_fs.py",
    "gridfs/synchronous/grid_in.py",
    "gridfs/synchronous/grid_out.py",
)

HEADER = "# Made from {source} by tools/blocking_face.py: change that, then run ./dev format.\n"

# The modules of the base classes. Those of FILES lose `.aio` only.
MODULES = {
    "mongokey.aio.change_stream_base": "mongokey.faces.change_streams",
    "mongokey.aio.client_base": "mongokey.faces.blocking_client",
    "mongokey.aio.encryption_base": "mongokey.faces.encryption_base",
    "mongokey.aio.session_base": "mongokey.faces.session_base",
    "mongokey.aio.cores": {
        "AsyncCalls": "mongokey.faces.cores",
        "AsyncCollectionCore": "mongokey.faces.cores",
        "AsyncDatabaseCore": "mongokey.faces.cores",
        "AsyncCursorCore": "mongokey.faces.cursor_cores",
        "AsyncCursorSteps": "mongokey.faces.cursor_cores",
    },
}
# Names that do not just lose their "Async" or one of their letters.
NAMES = {
    "AsyncCalls": "BlockingCalls",
    "AsyncChangeStreamCore": "BlockingChangeStreamCore",
    "AsyncClientBase": "BlockingClientBase",
    "AsyncCursorCore": "BlockingCursorCore",
    "AsyncCursorSteps": "BlockingCursorSteps",
    "AsyncEncryptionBase": "BlockingEncryptionBase",
    "AsyncSessionBase": "BlockingSessionBase",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "StopAsyncIteration": "StopIteration",
}
# What docstrings, and types, say of one face only: each must be there, once.
TEXTS = {
    "    from collections.abc import Awaitable, Callable, Mapping\n": (
        "    from collections.abc import Callable, Mapping\n"
    ),
    "Callable[[AsyncClientSession], Awaitable[_Result]]": "Callable[[ClientSession], _Result]",
    ": for one event loop at a time, with a pool of": ": thread-safe, with a pool of",
    """ has no effect: even the DNS questions of a ``mongodb+srv://`` URI are left to
        the first operation, as a constructor cannot await them""": (
        """ True starts to look for the servers now, and does not wait for them; the default
        asks DNS now (in function services later) and leaves the rest to the first operation; False
        leaves even the DNS questions of a ``mongodb+srv://`` URI to the first operation"""
    ),
    """No server is connected before the first operation, or `aconnect`. Raises `InvalidURI`"""
    """ for a URI
    that cannot be read, and `ConfigurationError` for wrong options.""": (
        """Raises `InvalidURI` for a URI that cannot be read, and `ConfigurationError` for wrong"""
        """ options
    and hosts that DNS does not know."""
    ),
}

WORD = re.compile(r"\b(?:([Aa])n (`?))?(Async\w+|StopAsyncIteration|__a\w+__)\b")
IMPORT = re.compile(
    r"^( *)from (mongokey\.aio\.\w+|mongokey\.gridfs\.asynchronous\.\w+) import ([\w, ]+)$", re.M
)


def source_of(name: str) -> str:
    """The asyncio file that a blocking one is made from."""
    folder, _, rest = name.partition("synchronous/")
    return f"{folder}asynchronous/{rest}" if rest else f"aio/{name}"


def header_of(name: str) -> str:
    """The first line of a blocking file."""
    return HEADER.format(source=source_of(name).removeprefix("gridfs/"))


def blocking_name(name: str) -> str:
    """A name of the asyncio face as the blocking one has it; others are the same."""
    if name in NAMES:
        return NAMES[name]
    return name.removeprefix("Async") if re.match(r"Async[A-Z]", name) else name


def blocking_words(text: str) -> str:
    """The same for all names in a text, with their articles."""

    def replaced(match: re.Match[str]) -> str:
        article, quote, name = match.groups()
        made = blocking_name(name)
        if article is None:
            return made
        n = "" if made[0] not in "AEIOU" else "n"
        return f"{article}{n} {quote}{made}"

    return WORD.sub(replaced, text)


def blocking_imports(text: str) -> str:
    """Imports from the modules of the other face."""

    def replaced(match: re.Match[str]) -> str:
        indent, module, names = match.groups()
        lines = []
        for name in names.split(", "):
            home = MODULES.get(module) or module.replace(".aio.", ".").replace(
                ".asynchronous.", ".synchronous."
            )
            if isinstance(home, dict):
                home = home[name]
            lines.append(f"{indent}from {home} import {blocking_name(name)}")
        return "\n".join(lines)

    return IMPORT.sub(replaced, text)


def without_awaits(source: str) -> str:
    """Take `async` and `await` out, and the parentheses that an `await` needed."""
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in (tokenize.NL, tokenize.COMMENT)
    ]
    cuts: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for number, token in enumerate(tokens):
        if token.type != tokenize.NAME or token.string not in ("async", "await"):
            continue
        cuts.append((token.start, tokens[number + 1].start))
        if token.string == "await" and tokens[number - 1].string == "(":
            opening = tokens[number - 1]
            before = tokens[number - 2]
            if before.type != tokenize.NAME or before.string in ("return", "in", "not"):
                closing = closing_of(tokens, number - 1)
                if closing is not None:
                    cuts.append((opening.start, opening.end))
                    cuts.append((closing.start, closing.end))
    lines = source.splitlines(keepends=True)
    for (row, start), (end_row, end) in sorted(cuts, reverse=True):
        if row != end_row:
            raise SystemExit(f"line {row}: `async` and `await` must stand before their word")
        line = lines[row - 1]
        lines[row - 1] = line[:start] + line[end:]
    return "".join(lines)


def closing_of(tokens: list[tokenize.TokenInfo], opening: int) -> tokenize.TokenInfo | None:
    """The parenthesis that closes the one at `opening`, if there is only one operand between."""
    depth = 0
    for token in tokens[opening:]:
        if token.type == tokenize.OP:
            if token.string in "([{":
                depth += 1
            elif token.string in ")]}":
                depth -= 1
                if depth == 0:
                    return token
            elif depth == 1 and token.string != ".":
                return None
        elif depth == 1 and token.string in ("if", "else", "and", "or", "not", "in", "is"):
            return None
    return None


def made_from(name: str) -> str:
    """The blocking file of that name, as it has to be."""
    source = (SOURCES / source_of(name)).read_text()
    for text, blocking in TEXTS.items():
        source = source.replace(text, blocking)
    source = blocking_words(blocking_imports(without_awaits(source)))
    if "aio" in re.findall(r"\w+", source) or re.search(r"\basync|\bAsync|\bawait", source):
        raise SystemExit(f"{source_of(name)}: something of asyncio is left:\n{source}")
    return ruff("format", ruff("check", header_of(name) + source, name), name)


def ruff(command: str, source: str, name: str) -> str:
    """What ruff makes of it: sorted imports, or its layout."""
    options = ["--fix", "--select", "I,UP034"] if command == "check" else []
    run = subprocess.run(  # noqa: S603 - the linter of this environment
        [
            sys.executable,
            "-m",
            "ruff",
            command,
            *options,
            "--quiet",
            "--stdin-filename",
            str(SOURCES / name),
            "-",
        ],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        cwd=SOURCES,
    )
    if run.returncode != 0:
        raise SystemExit(f"ruff {command} of the blocking {name}: {run.stdout}{run.stderr}")
    return run.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="The blocking face from the asyncio one.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if one is not current"
    )
    check = parser.parse_args().check
    sources = "".join((SOURCES / source_of(name)).read_text() for name in FILES)
    for text in TEXTS:
        if sources.count(text) != 1:
            raise SystemExit(f"TEXTS names what is not there exactly once: {text!r}")
    differ = False
    for name in FILES:
        path, made = SOURCES / name, made_from(name)
        found = path.read_text() if path.exists() else ""
        if found == made:
            continue
        differ = True
        if not check:
            path.write_text(made)
            continue
        lines = found.splitlines(), made.splitlines()
        print(*difflib.unified_diff(*lines, name, f"from {source_of(name)}", lineterm=""), sep="\n")
    if differ and check:
        print("the blocking files are not current: ./dev format makes them", file=sys.stderr)
    return int(differ and check)


if __name__ == "__main__":
    sys.exit(main())

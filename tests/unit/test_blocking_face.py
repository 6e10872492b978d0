"""The tool that makes the blocking classes from the asyncio ones: what it makes is what is there,
and what it makes of Python that is more than the files have today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools import blocking_face

TOOL = str(Path(blocking_face.__file__))


def test_the_blocking_files_are_current() -> None:
    run = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, ""), run.stdout + run.stderr


@pytest.mark.parametrize("name", blocking_face.FILES)
def test_nothing_of_asyncio_is_left(name: str) -> None:
    made = (blocking_face.SOURCES / name).read_text()
    first, _, rest = made.partition("\n")
    assert first == blocking_face.header_of(name).rstrip()
    assert re.findall(r"\b(?:async|await|aio)\b|Async|\basynchronous\.", rest) == []


def test_a_file_that_is_not_current_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in blocking_face.FILES:
        for place in (name, blocking_face.source_of(name)):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_text((blocking_face.SOURCES / place).read_text())
    monkeypatch.setattr(blocking_face, "SOURCES", tmp_path)
    source = tmp_path / "aio" / "database.py"
    source.write_text(source.read_text().replace("async def dereference", "async def resolve"))
    monkeypatch.setattr(sys, "argv", ["blocking_face.py", "--check"])
    assert blocking_face.main() == 1
    told = capsys.readouterr()
    assert "+    def resolve(" in told.out
    assert "./dev format" in told.err
    # Its own layout is the default there: the files are outside of the project.
    monkeypatch.setattr(sys, "argv", ["blocking_face.py"])
    assert blocking_face.main() == 0
    assert "    def resolve(" in (tmp_path / "database.py").read_text()
    assert "class Database(" in (tmp_path / "database.py").read_text()


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("x = await f(await g())\n", "x = f(g())\n"),
        ("x = (await f()).a\n", "x = f().a\n"),
        ("x = (await f(1, b=[2]))[0]\n", "x = f(1, b=[2])[0]\n"),
        ("return (await f()) + (await g())\n", "return f() + g()\n"),
        # Parentheses that are needed stay.
        ("x = (await f() or 1).a\n", "x = (f() or 1).a\n"),
        ("x = (await f() + 1) * 2\n", "x = (f() + 1) * 2\n"),
        ("x = (1 + await f()) * 2\n", "x = (1 + f()) * 2\n"),
        ("f(await g())\n", "f(g())\n"),
        ("x = (await f(), 1)\n", "x = (f(), 1)\n"),
        ("x = [await f() for y in z]\n", "x = [f() for y in z]\n"),
        ("async with a as b:\n    pass\n", "with a as b:\n    pass\n"),
        ("async for a in b:\n    pass\n", "for a in b:\n    pass\n"),
        ("@property\nasync def f(): ...\n", "@property\ndef f(): ...\n"),
        # In texts these words are words.
        ('"""Await it: await f()."""\n# async\n', '"""Await it: await f()."""\n# async\n'),
    ],
)
def test_awaits_are_taken_out(source: str, made: str) -> None:
    assert blocking_face.without_awaits(source) == made


def test_an_await_on_a_line_of_its_own_is_refused() -> None:
    with pytest.raises(SystemExit, match="line 1"):
        blocking_face.without_awaits("x = (await\nf())\n")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("an `AsyncCursor` of it", "a `Cursor` of it"),
        ("An AsyncCommandCursor", "A CommandCursor"),
        ("AsyncMongoClient[AsyncDatabase]", "MongoClient[Database]"),
        ("Asynchronous words", "Asynchronous words"),
        ("raise StopAsyncIteration", "raise StopIteration"),
        ("class A(AsyncCalls):", "class A(BlockingCalls):"),
        ("__aenter__ __anext__ __add__", "__enter__ __next__ __add__"),
        ("an `Async` word", "an `Async` word"),
    ],
)
def test_names_are_those_of_the_other_face(text: str, made: str) -> None:
    assert blocking_face.blocking_words(text) == made


def test_imports_are_those_of_the_other_face() -> None:
    source = (
        "from mongokey.aio.cores import AsyncCalls, AsyncCursorCore\n"
        "    from mongokey.aio.cursor import AsyncCursor\n"
        "from mongokey.errors import A\n"
        "from mongokey.gridfs.asynchronous.stream_base import AsyncFileReader, read_from\n"
        "from mongokey.gridfs.chunks import FileLayout\n"
    )
    assert blocking_face.blocking_imports(source) == (
        "from mongokey.faces.cores import BlockingCalls\n"
        "from mongokey.faces.cursor_cores import BlockingCursorCore\n"
        "    from mongokey.cursor import Cursor\n"
        "from mongokey.errors import A\n"
        "from mongokey.gridfs.synchronous.stream_base import FileReader\n"
        "from mongokey.gridfs.synchronous.stream_base import read_from\n"
        "from mongokey.gridfs.chunks import FileLayout\n"
    )

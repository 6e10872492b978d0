"""``mongokey run``: a program of somebody's, with mongokey in PyMongo's place.

It needs neither click nor rich: the program's arguments are its own.
"""

from __future__ import annotations

import io
import os
import runpy
import sys
from collections.abc import Sequence
from types import ModuleType

WRONG_USAGE = 2  # as click's

USAGE = """\
usage: python -m mongokey run script.py [argument ...]
       python -m mongokey run -m module [argument ...]

Runs a Python program in which `pymongo`, `bson` and `gridfs` are mongokey's, whether PyMongo is
installed or not."""


def run(arguments: Sequence[str]) -> None:
    """Run the program that `arguments` name, as ``python`` would; what it raises is raised."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else WRONG_USAGE)
    first, *others = arguments
    if first == "-m" and others:
        _stand_in()
        _look_in(os.getcwd())
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
        return
    if first.startswith("-"):
        print(f"mongokey run: {first} is not known\n{USAGE}", file=sys.stderr)
        raise SystemExit(WRONG_USAGE)
    if not os.path.exists(first):
        print(f"mongokey run: there is no file {first!r}", file=sys.stderr)
        raise SystemExit(WRONG_USAGE)
    _stand_in()
    sys.argv = list(arguments)
    if os.path.isfile(first) and not first.endswith((".zip", ".pyz", ".pyc")):
        _look_in(os.path.dirname(os.path.realpath(first)))
        _run_script(first)
    else:
        runpy.run_path(first, run_name="__main__")


def _stand_in() -> None:
    from mongokey.stand_in import install_as_pymongo

    install_as_pymongo()


def _look_in(folder: str) -> None:
    """Put a program's folder where Python puts it, in place of what started this one."""
    if getattr(sys.flags, "safe_path", False) or sys.flags.isolated:
        return
    sys.path[0] = folder


def _run_script(path: str) -> None:
    # It stays `__main__` to the end: threads, pickles and exit handlers look it up there.
    main = ModuleType("__main__")
    vars(main).update(__file__=path, __cached__=None, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    with io.open_code(os.path.abspath(path)) as file:
        code = compile(file.read(), path, "exec")
    exec(code, vars(main))  # noqa: S102 - the user's program, which it is for

"""What a test needs of the machine: there or not, and what to install.

Under CI on Linux everything has to be there: what is missing fails the test. On a user's machine,
and on systems that do not have the servers, the test skips and says what would make it run. Must
not know any server.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from types import ModuleType
from typing import NoReturn

import pytest

#: Where Debian keeps programs that only root's PATH finds.
PLACES = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/lib/krb5kdc")


def need_program(name: str, *, package: str) -> str:
    """The path of a program; `package` is Debian's package that has it."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(PLACES))
    if found is None:
        missing(f"{name} is not installed: apt install {package}")
    return found


def need_module(name: str, *, extra: str) -> ModuleType:
    """An imported module; `extra` is the extra of mongokey's that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing(f"{error}: pip install 'mongokey[{extra}]'")


def missing(reason: str) -> NoReturn:
    """Skip the test; under CI on Linux, fail it."""
    if os.environ.get("CI") and sys.platform == "linux":
        pytest.fail(f"{reason} (CI must not skip this)", pytrace=False)
    pytest.skip(reason, allow_module_level=True)

"""Which Kerberos library serves a login: the best of those installed that can.

Knows the platforms and the order. A library is loaded when it is first asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module

from mongokey._support.lazy import late_imports
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.auth.kerberos.interface import Library

# "module:class" of the adapters, the best first.
UNIX = (
    "mongokey.auth.kerberos.backend_gssapi:GssapiLibrary",
    "mongokey.auth.kerberos.backend_pykerberos:KerberosModuleLibrary",
)
WINDOWS = ("mongokey.auth.kerberos.backend_winkerberos:WinkerberosLibrary",)

ON_WINDOWS: bool = sys.platform == "win32"

_loaded: dict[str, Library] = {}


def find_library(*, password: bool) -> Library:
    """The library for a login, with a password or without.

    Raises ConfigurationError, with the command that installs one, when none can.
    """
    reasons = []
    for path in WINDOWS if ON_WINDOWS else UNIX:
        try:
            library = _load(path)
        except (ImportError, OSError) as error:
            reasons.append(str(error))
            continue
        if library.passwords or not password:
            return library
        reasons.append(f"{library.package} takes no password")
    package = "winkerberos" if ON_WINDOWS else "gssapi"
    what = "a GSSAPI login with a password" if password else "a GSSAPI login"
    from mongokey.diagnostics import CERTAIN, Diagnosis

    missing = Diagnosis(
        "KRB-PACKAGE-MISSING",
        CERTAIN,
        f"{what} needs the package {package} ({'; '.join(reasons)})",
        reasons,
        f"install it for this Python with `{sys.executable} -m pip install {package}`",
    )
    failed = ConfigurationError(f"{missing.text} [{missing.code}, {missing.confidence}]")
    failed.diagnoses = (missing,)
    raise failed


def _load(path: str) -> Library:
    library = _loaded.get(path)
    if library is None:
        module, _, name = path.partition(":")
        with late_imports:  # what it makes imports a package
            library = _loaded[path] = getattr(import_module(module), name)()
    return library

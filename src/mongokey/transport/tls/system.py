"""The authorities that this machine trusts: where they are, and which of those places name nothing.

Knows Python's default paths, SSL_CERT_FILE and SSL_CERT_DIR. Must not know contexts: both ways to
speak TLS load what is found here.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext

from mongokey._support.lazy import late_imports
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError
from mongokey.transport.tls.directories import hashed_files

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.transport.tls.files import Trusted

FILE, DIRECTORY = "SSL_CERT_FILE", "SSL_CERT_DIR"


class SystemAuthorities:
    """A file of authorities, or None, and the directories that have some.

    `named` says that the environment names the file; it is read then, as tlsCAFile is.
    """

    __slots__ = ("_path", "_read", "directories")

    def __init__(self) -> None:
        with late_imports:
            import ssl

        paths = ssl.get_default_verify_paths()
        self._path: str | None = None
        self._read: Trusted | None = None
        if named := os.environ.get(FILE):
            with late_imports:
                from mongokey.transport.tls.files import read_trusted

            try:
                self._read = read_trusted(named, FILE)
            except ConfigurationError:
                self._read = None  # `unheeded` says why
        else:
            self._path = paths.cafile
        given = os.environ.get(DIRECTORY) or paths.capath or ""
        self.directories = [each for each in given.split(os.pathsep) if hashed_files(each)]

    def opened(self) -> AbstractContextManager[str] | None:
        """The path of the file, open while it is loaded; None without a file."""
        if self._read is not None:
            return self._read.opened()
        return None if self._path is None else nullcontext(self._path)


def unheeded() -> str:
    """What the environment names in vain, for errors: "" if nothing."""
    said = []
    if named := os.environ.get(FILE):
        with late_imports:
            from mongokey.transport.tls.files import read_trusted

        try:
            read_trusted(named, FILE)
        except ConfigurationError as error:
            said.append(str(error))
    if named := os.environ.get(DIRECTORY):
        said += [
            f"{DIRECTORY}={each!r} is no directory with certificates under the names that OpenSSL "
            "looks for"
            for each in named.split(os.pathsep)
            if not hashed_files(each)
        ]
    return "; ".join(said)


def no_authorities() -> ConfigurationError:
    """The error for a machine that trusts no authority at all."""
    how = (
        "run 'Install Certificates.command' of that Python"
        if sys.platform == "darwin"
        else "install the system's ca-certificates"
    )
    with late_imports:
        import ssl

    in_vain = unheeded()
    summary = "this machine has no certificate of any authority, so no server can be verified"
    fix = f"{in_vain}: correct that, " if in_vain else f"{how}, "
    fix += f"or name a file with them (tlsCAFile=certifi.where(), {FILE})"
    failed = ConfigurationError(f"TLS: {summary}: {fix}")
    paths = ssl.get_default_verify_paths()
    looked = [
        f"0 authorities in {paths.openssl_cafile} and {paths.openssl_capath}",
        f"interpreter {sys.executable}",
    ]
    failed.diagnoses = (Diagnosis("TLS-NO-AUTHORITIES", CERTAIN, summary, looked, fix),)
    return failed


__all__ = ["SystemAuthorities", "no_authorities", "unheeded"]

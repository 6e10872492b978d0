"""Directories of certificates: the names that OpenSSL looks files in them up by.

Must not read what is in the files.
"""

from __future__ import annotations

import os


def hashed_files(directory: str, lists: bool = False) -> list[str]:
    """The files of a directory under the names that OpenSSL looks certificates (or, `lists`,
    revocation lists) up by; none where there is no directory."""
    mark = ".r" if lists else "."
    try:
        names = sorted(os.listdir(directory)) if directory else []
    except (OSError, ValueError):
        return []
    return [
        os.path.join(directory, name)
        for name in names
        if name[8 : 8 + len(mark)] == mark and name[8 + len(mark) :].isdigit()
    ]

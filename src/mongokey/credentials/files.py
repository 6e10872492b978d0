"""`from_file`: the secret is in files, as docker, Kubernetes, systemd and Vault's agent put them.

Knows files that are replaced while they are read. Must not know what is written in them (`forms`).
"""

from __future__ import annotations

import os

from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import keeps_secrets
from mongokey.credentials import AwsSecret, Request, Secret, X509Secret
from mongokey.credentials.forms import secret_of, secret_of_parts, text_of

# The largest that is read; a secret of Kubernetes has 1 MiB at most.
_LARGEST = 1024 * 1024
# What kubelet's volumes have behind their files: a link that is swapped.
_DATA = "..data"
# A folder whose files are swapped while they are read is read again, so often.
_TRIES = 10


@with_safe_repr
class from_file:  # noqa: N801 - it is used as a function
    """A provider (`CredentialProvider`) that reads the secret from a file or a folder of files.

    :param path: a file: ``user:password``; only the password, where `username` or the client says
        the user; a JSON object with `username` and `password`; for MONGODB-X509 PEM with
        certificate and key; for MONGODB-AWS a JSON object with `AccessKeyId`, `SecretAccessKey`
        and, for temporary keys, `SessionToken`. Or a folder with one file each, called as in JSON
        (`tls.crt` and `tls.key` for MONGODB-X509), as Kubernetes mounts a secret
    :param username: the user, None for the one in the file or the client's
    :param refresh_s: for so many seconds new connections use what was read; None (the default):
        until a login is refused, so that it does not matter whether the file or the server gets a
        new password first

    One line end behind a file's text is not part of the secret; all other white space is. Files
    that are swapped as kubelet does (the link ``..data``) are read from one and the same version.
    It raises OSError and ValueError, which name the file and nothing that is in it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        username: str | None = None,
        refresh_s: float | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.username = username
        self.refresh_s = refresh_s
        self.name = f"from_file({self.path!r})"

    @keeps_secrets
    def __call__(self, request: Request) -> Secret | X509Secret | AwsSecret:
        if not os.path.isdir(self.path):
            text = text_of(_read(self.path), self.path)
            return secret_of(text, request, self.path, self.username, self.refresh_s)
        parts = _read_folder(self.path)
        return secret_of_parts(parts, request, self.path, self.username, self.refresh_s)

    def __repr__(self) -> str:
        return self.name


def _read_folder(path: str) -> dict[str, str]:
    """What the files of one version of the folder hold, by name."""
    for left in reversed(range(_TRIES)):
        # Through the link, once: it may be swapped between two files.
        data = os.path.join(path, _DATA)
        version = os.path.realpath(data) if os.path.lexists(data) else path
        try:
            found = {}
            for name in os.listdir(version):
                each = os.path.join(version, name)
                if not name.startswith("..") and not os.path.isdir(each):
                    found[name] = text_of(_read(each), each)
        except FileNotFoundError:
            if not left:
                raise
            continue  # kubelet has removed that version meanwhile
        if version == path or os.path.realpath(data) == version or not left:
            return found
    raise AssertionError("the last round returns or raises")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"{path} is larger than 1 MiB, which no secret is")
    return content


__all__ = ["from_file"]

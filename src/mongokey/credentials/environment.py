"""`from_env`: the secret is in an environment variable, or in a file that one names.

Knows the convention of container images (`NAME`, or `NAME_FILE` with a path). Must not know what is
written there (`forms`).
"""

from __future__ import annotations

import os

from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import keeps_secrets
from mongokey.credentials import AwsSecret, Request, Secret, X509Secret
from mongokey.credentials.files import from_file
from mongokey.credentials.forms import secret_of, without_line_end


@with_safe_repr
class from_env:  # noqa: N801 - it is used as a function
    """A provider (`CredentialProvider`) that reads the secret from an environment variable.

    :param variable: its name; it holds what a file of `from_file` may hold. Where it is not set and
        ``<variable>_FILE`` is, that names the file (the convention of container images)
    :param username: the user, None for the one in the variable or the client's
    :param username_variable: the name of a variable with the user name

    It is read when a first connection is made, and after a refused login (a file: as `from_file`).
    One line end behind the text is not part of the secret. It raises KeyError where nothing is set,
    and ValueError, which name the variable and nothing that is in it.
    """

    def __init__(
        self,
        variable: str,
        *,
        username: str | None = None,
        username_variable: str | None = None,
    ) -> None:
        self.variable = variable
        self.username = username
        self.username_variable = username_variable
        self.name = f"from_env({variable!r})"

    @keeps_secrets
    def __call__(self, request: Request) -> Secret | X509Secret | AwsSecret:
        username = self.username
        if self.username_variable is not None:
            username = os.environ.get(self.username_variable)
            if username is None:
                raise KeyError(f"{self.username_variable} is not set")
        text = os.environ.get(self.variable)
        if text is None:
            path = os.environ.get(f"{self.variable}_FILE")
            if path is None:
                raise KeyError(f"neither {self.variable} nor {self.variable}_FILE is set")
            return from_file(path, username=username)(request)
        return secret_of(without_line_end(text), request, self.variable, username, None)

    def __repr__(self) -> str:
        return self.name


__all__ = ["from_env"]

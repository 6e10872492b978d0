"""How a secret is written in a file, a variable or a store: as a password, as `user:password`, as
JSON, as PEM.

Knows the forms and which of them a request means. Must not know where the text is from. No error
has a part of it.
"""

from __future__ import annotations

from mongokey._support.secrets import keeps_secrets
from mongokey.credentials import AwsSecret, Request, Secret, X509Secret

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# The names that stores use: AWS's rotation functions, Vault's engines, people.
USERNAMES = ("username", "user")
PASSWORDS = ("password", "pwd")
_KEY_IDS = ("AccessKeyId", "aws_access_key_id", "access_key_id")
_SECRET_KEYS = ("SecretAccessKey", "aws_secret_access_key", "secret_access_key")
_TOKENS = ("SessionToken", "aws_session_token", "session_token", "Token")
_CERTIFICATES = ("certificate", "tls.crt")
_KEYS = ("key", "private_key", "tls.key")


@keeps_secrets
def text_of(content: bytes, where: str) -> str:
    """The text of a secret without the line end that editors and `echo` put behind it: one, "\\n"
    or "\\r\\n"; any other white space is the secret's."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise ValueError(f"{where} is not in UTF-8")
    return without_line_end(text)


def without_line_end(text: str) -> str:
    """`text` without one line end behind it."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


@keeps_secrets
def secret_of(
    text: str, request: Request, where: str, username: str | None, expires_in_s: float | None
) -> Secret | X509Secret | AwsSecret:
    """What `text` stands for.

    A JSON object has its parts by name. Other text is PEM for MONGODB-X509; else it is the password
    where the user is known (`username`, or the client's), and `user:password` where not. Raises
    ValueError.
    """
    if text[:1] == "{":
        return secret_of_parts(_parsed(text, where), request, where, username, expires_in_s)
    if request.mechanism == "MONGODB-X509":
        return X509Secret(text, username=username, expires_in_s=expires_in_s)
    if request.mechanism == "MONGODB-AWS":
        raise ValueError(
            f"{where} is no JSON object: for MONGODB-AWS it has {', '.join(_KEY_IDS[:1])}"
            f" and {_SECRET_KEYS[0]}"
        )
    if username is not None or request.username is not None:
        return Secret(username, _filled(text, where), expires_in_s)
    name, colon, password = text.partition(":")
    if not colon or not name:
        raise ValueError(
            f"{where} has no user name: write user:password, or give the client a username"
        )
    return Secret(name, _filled(password, where), expires_in_s)


@keeps_secrets
def secret_of_parts(
    parts: Mapping[str, Any],
    request: Request,
    where: str,
    username: str | None,
    expires_in_s: float | None,
) -> Secret | X509Secret | AwsSecret:
    """What the named parts stand for. Raises ValueError."""
    if request.mechanism == "MONGODB-AWS":
        return AwsSecret(
            _part(parts, _KEY_IDS, where),
            _part(parts, _SECRET_KEYS, where),
            _part(parts, _TOKENS, where, needed=False),
            expires_in_s,
        )
    name = _part(parts, USERNAMES, where, needed=False) if username is None else username
    if request.mechanism == "MONGODB-X509":
        certificate = _part(parts, _CERTIFICATES, where) or ""
        return X509Secret(
            certificate,
            _part(parts, _KEYS, where, needed=False),
            _part(parts, ("key_password",), where, needed=False),
            name,
            expires_in_s,
        )
    if name is None and request.username is None:
        raise ValueError(f"{where} has no {USERNAMES[0]}, and the client has none")
    return Secret(name, _part(parts, PASSWORDS, where), expires_in_s)


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    import json

    try:
        found: Mapping[str, Any] = json.loads(text)
    except ValueError:
        found = {}
    if not found:
        # The error of json has all of the text.
        raise ValueError(f"{where} begins with a brace, but is no JSON object")
    return found


def _part(parts: Mapping[str, Any], names: tuple[str, ...], where: str, needed: bool = True) -> Any:
    for name in names:
        value = parts.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{where}: {name} is a {type(value).__name__}, not a text")
        if value:
            return value
    if needed:
        raise ValueError(f"{where} has no {' or '.join(names)}")
    return None


def _filled(password: str, where: str) -> str:
    if not password:
        raise ValueError(f"{where} has an empty password")
    return password


__all__ = ["secret_of", "secret_of_parts", "text_of", "without_line_end"]

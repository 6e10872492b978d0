"""Percent-escapes, without urllib.parse: `import mongokey` must stay light.

Knows RFC 3986 section 2.1 and the blank that HTML forms write as a plus; nothing of connection
strings.
"""

from __future__ import annotations

from mongokey.options.uri_errors import undecodable


class BrokenEscape(ValueError):
    """A `%` has not two hex digits behind it."""


def unquote_plus(text: str, what: str = "text", *, strict: bool = False) -> str:
    """Decode percent-escapes of UTF-8 and read `+` as a blank, as HTML forms do.

    A `%` without two hex digits behind it stays, or, when `strict`, raises BrokenEscape. Raises
    InvalidURI, naming `what`, when the escapes are not UTF-8.
    """
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    decoded, *parts = text.split("%")
    known = (_ascii or _fill_ascii()).get
    for part in parts:
        char = known(part[:2])
        if char is None:
            if strict and not _are_whole(text):
                raise BrokenEscape
            return _unquote_any(text, what)
        decoded += char + part[2:]
    return decoded


def _are_whole(text: str) -> bool:
    return all(len(part) > 1 and _HEX.issuperset(part[:2]) for part in text.split("%")[1:])


_HEX = frozenset("0123456789abcdefABCDEF")
# Two hex digits -> the ASCII character they stand for, as nearly all escapes do; filled when the
# first one is read.
_ascii: dict[str, str] = {}


def _fill_ascii() -> dict[str, str]:
    for form in ("%02x", "%02X"):
        _ascii.update((form % byte, chr(byte)) for byte in range(128))
    return _ascii


def _unquote_any(text: str, what: str) -> str:
    first, *parts = text.split("%")
    decoded = [first]
    escaped = b""
    try:
        for part in parts:
            try:
                byte = bytes.fromhex(part[:2])
            except ValueError:
                byte = b""
            if len(byte) != 1:  # fromhex skips blanks
                decoded.append(escaped.decode())
                decoded.append("%" + part)
                escaped = b""
                continue
            escaped += byte
            if len(part) > 2:
                decoded.append(escaped.decode())
                decoded.append(part[2:])
                escaped = b""
        decoded.append(escaped.decode())
    except UnicodeDecodeError:
        raise undecodable(what) from None
    return "".join(decoded)

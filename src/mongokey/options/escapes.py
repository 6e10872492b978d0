"""Percent-escapes, without urllib.parse: `import mongokey` must stay light.

Knows RFC 3986 section 2.1 and the blank that HTML forms write as a plus; nothing of connection
strings.
"""

from __future__ import annotations

from mongokey.options.uri_errors import undecodable


def unquote_plus(text: str, what: str = "text") -> str:
    """Decode percent-escapes of UTF-8 and read `+` as a blank, as HTML forms do.

    A `%` without two hex digits behind it stays. Raises InvalidURI, naming `what`, when the
    escapes are not UTF-8.
    """
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
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
            if not escaped and byte[0] < 128:  # nearly all are ASCII
                decoded.append(chr(byte[0]) + part[2:])
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

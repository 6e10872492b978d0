"""Says which other protocol a port speaks, from the first bytes that its server sent.

Knows how the servers of common protocols greet, or answer what they do not understand. Must not
know sockets or TLS records, nor what is done about it.
"""

from __future__ import annotations

from collections.abc import Callable

# So many first bytes tell.
ENOUGH = 64
# Characters of a text that are shown in an error.
_SHOWN = 40


def _http2(first: bytes) -> bool:
    """A SETTINGS frame on stream 0 (RFC 9113, section 3.4): the first of every server."""
    return len(first) >= 9 and first[3] == 4 and first[4] <= 1 and not any(first[5:9])


def _mysql(first: bytes) -> bool:
    """A packet numbered 0 with protocol version 10 (or 9) and a version's text, or an error."""
    if len(first) < 7 or first[2:4] != b"\0\0":
        return False
    if first[4] in (9, 10):
        return first[5:6].isdigit() and (first[6:7].isdigit() or first[6:7] == b".")
    return first[4] == 0xFF and b" " in first[7:]


def _postgresql(first: bytes) -> bool:
    """An ErrorResponse: its length in big-endian order, then a field's type; or that of old."""
    new = first[:3] == b"E\0\0" and first[5:6] in (b"S", b"V", b"C", b"M")
    return new or first.startswith(b"EFATAL")


def _begins(*words: bytes) -> Callable[[bytes], bool]:
    return lambda first: first.startswith(words)


def _mail_or_files(first: bytes) -> bool:
    return first[:4] in (b"220 ", b"220-", b"421 ", b"421-", b"554 ", b"554-")


# A message's header ends with one of these: OP_REPLY, OP_COMPRESSED, OP_MSG.
_OPCODES = (b"\1\0\0\0", b"\xdc\7\0\0", b"\xdd\7\0\0")

# Surest first. None of them can be the beginning of a reply: as a message's length, what begins
# with letters has more than 500 MB.
_PROTOCOLS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("SSH", _begins(b"SSH-")),
    ("HTTP", _begins(b"HTTP/", b"<html", b"<HTML", b"<!DOCTYPE", b"<!doctype")),
    ("HTTP/2", _http2),
    ("AMQP", _begins(b"AMQP")),
    ("MySQL", _mysql),
    ("PostgreSQL", _postgresql),
    ("Redis", _begins(b"-ERR", b"-NOAUTH", b"-DENIED", b"-LOADING", b"-WRONGPASS")),
    ("SMTP", lambda first: _mail_or_files(first) and b"SMTP" in first.upper()),
    ("FTP", lambda first: _mail_or_files(first) and b"FTP" in first.upper()),
    ("SMTP or FTP", _mail_or_files),
    ("IMAP", _begins(b"* OK", b"* BYE", b"* PREAUTH")),
    ("POP3", _begins(b"+OK")),
    ("memcached", _begins(b"ERROR\r\n", b"CLIENT_ERROR")),
    ("VNC", _begins(b"RFB 0")),
    ("rsync", _begins(b"@RSYNCD")),
)


def name_of(first: bytes) -> str | None:
    """The name of the protocol that a server's first bytes are of; None where they do not tell."""
    if first[12:16] in _OPCODES:
        return None
    for name, fits in _PROTOCOLS:
        if fits(first):
            return name
    return None


def recognize(first: bytes) -> str | None:
    """What a port speaks whose server begins with `first`, as the end of a sentence that begins
    with "this port"; None where it may be MongoDB's protocol, or TLS."""
    name = name_of(first)
    text = _text(first)
    if name is not None:
        said = f" (it says {text!r})" if text else ""
        return f"speaks {name}, not MongoDB's protocol{said}: check host and port"
    if text and len(first) >= 4:
        return f"speaks another protocol than MongoDB's (it says {text!r}): check host and port"
    return None


def _text(first: bytes) -> str:
    """The first line of `first` where that is text, to be shown; "" where it is not."""
    line = first.splitlines()[0] if first.strip() else b""
    text = line[:_SHOWN].decode("ascii", "replace")
    return text if text.isprintable() and line.isascii() else ""


__all__ = ["ENOUGH", "name_of", "recognize"]

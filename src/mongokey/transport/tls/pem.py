"""PEM as people make it (RFC 7468, RFC 1421), read into blocks: from editors, YAML, `cat`, `.env`.

Knows what copying does to the text: lines run together, indented, ended by CR or a literal ``\\n``,
UTF-16. What can be read in one way only is read, the rest is for `files` to explain. Must not
know what the blocks are for. Blocks may be private keys: no object here shows what it holds.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re

from mongokey._support.lazy import late_imports
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import Secret
from mongokey.transport.tls.der import Malformed, first_element

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
LISTS = ("X509 CRL",)
KEYS = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
_TRUSTED = "TRUSTED CERTIFICATE"

_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"
_LABEL = re.compile(r"[A-Z0-9][A-Z0-9 #]{0,63}")
# RFC 1421, section 4.6: how an encrypted key of the old form begins.
_ENCRYPTION = re.compile(r"\s*Proc-Type:\s*4,\s*ENCRYPTED\s+DEK-Info:\s*([A-Z0-9-]+,[0-9A-Fa-f]+)")
_LITERAL_ENDS = re.compile(r"\\r|\\n")


class Pem(str):
    """PEM that was given in place of a file's path. As text it is words that can be shown where a
    path would be, in errors and options; `content` is what was given."""

    __slots__ = ("content",)

    content: Secret[bytes]

    def __new__(cls, content: str | bytes) -> Pem:
        made = super().__new__(cls, "<PEM text>")
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogatepass")
        made.content = Secret(content)
        return made

    def __reduce__(self) -> Any:
        raise TypeError("PEM may be a private key and cannot be pickled or copied")


@with_safe_repr
class Block:
    """One PEM block. `der` is what its base64 stands for, None where that is damaged; encrypted as
    `encryption` says (the DEK-Info of the old form), None where it is not."""

    __slots__ = ("der", "encryption", "label")

    def __init__(self, label: str, der: bytes | None, encryption: str | None = None) -> None:
        self.label = label
        self.der = der
        self.encryption = encryption

    def __repr__(self) -> str:
        return f"<PEM block {self.label}>"

    @property
    def certificate(self) -> bytes | None:
        """A certificate without the settings of trust behind it, in DER; None if damaged."""
        if self.der is None or self.label != _TRUSTED:
            return self.der
        try:
            return first_element(self.der)
        except Malformed:
            return None

    def text(self) -> bytes:
        """The block as it should be written."""
        if self.der is None:
            return b""
        data = binascii.b2a_base64(self.der, newline=False)
        lines = [data[at : at + 64] for at in range(0, len(data), 64)]
        if self.encryption is not None:
            head = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: {self.encryption}\n"
            lines.insert(0, head.encode("ascii"))
        label = self.label.encode("ascii")
        return b"\n".join([b"-----BEGIN %b-----" % label, *lines, b"-----END %b-----\n" % label])


@with_safe_repr
class File:
    """What one file holds: its blocks, and whether OpenSSL reads the same in it (`plain`).

    `cut` is the label of a block without an end, None where all have one.
    """

    __slots__ = ("blocks", "cut", "plain")

    def __init__(self, content: bytes) -> None:
        self.blocks: list[Block] = []
        self.cut: str | None = None
        text = _text_of(content)
        self._read(text)
        self.plain = self.cut is None and _reads_the_same(content, self.blocks)

    def __repr__(self) -> str:
        return f"<PEM file of {', '.join(each.label for each in self.blocks) or 'nothing'}>"

    def of(self, labels: Iterable[str]) -> list[Block]:
        """The blocks of these kinds."""
        return [block for block in self.blocks if block.label in labels]

    def _read(self, text: str) -> None:
        at = 0
        while (start := text.find(_BEGIN, at)) >= 0:
            at = start + len(_BEGIN)
            label = text[at : at + 70].partition(_DASHES)[0]
            if not _LABEL.fullmatch(label):
                continue
            body = at + len(label) + len(_DASHES)
            end = text.find(f"{_END}{label}{_DASHES}", body)
            following = text.find(_BEGIN, body)
            if end < 0 or 0 <= following < end:
                self.cut = self.cut or label
                at = body
                continue
            self.blocks.append(_read_block(label, text[body:end]))
            at = end + len(_END) + len(label) + len(_DASHES)


def text_of(blocks: Iterable[Block]) -> bytes:
    """The blocks as a file."""
    return b"".join([block.text() for block in blocks])


@contextlib.contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """The path of a file with `content`, for libraries that read only files; it is in memory where
    the system can do that (Linux), else readable by this user alone, and gone afterwards."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("mongokey")
        try:
            with open(number, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with late_imports:
        import tempfile

    # Closed before it is opened again: Windows has it so.
    number, path = tempfile.mkstemp(prefix="mongokey-", suffix=".pem")
    try:
        with open(number, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)


def _text_of(content: bytes) -> str:
    for start, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(start):
            return content.decode(encoding, "replace")
    for encoding in ("utf-16-le", "utf-16-be"):
        if _BEGIN.encode(encoding) in content:
            # Without its mark, from which no text lacks a start: what is before is at even places.
            skip = content.index(_BEGIN.encode(encoding)) % 2
            return content[skip:].decode(encoding, "replace")
    # Between blocks there may be anything, and inside of them is nothing but ASCII.
    return content.decode("latin-1")


def _read_block(label: str, body: str) -> Block:
    body = _LITERAL_ENDS.sub("\n", body)
    encryption = None
    if match := _ENCRYPTION.match(body):
        encryption = match[1]
        body = body[match.end() :]
    elif ":" in body:
        # Other headers (RFC 1421, section 4.4) end with an empty line.
        head, _, rest = re.sub(r"\r\n?", "\n", body).lstrip().partition("\n\n")
        body = rest if ":" in head else body
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except ValueError:
        return Block(label, None)
    return Block(label, der or None, encryption)


def _reads_the_same(content: bytes, blocks: list[Block]) -> bool:
    """Whether every block stands in `content` as OpenSSL's reader wants it."""
    lines = b"\n" + content.replace(b"\r\n", b"\n")
    return content.count(b"-----BEGIN ") == len(blocks) and all(
        block.der is not None and b"\n" + block.text().rstrip() + b"\n" in lines + b"\n"
        for block in blocks
    )


__all__ = ["CERTIFICATES", "KEYS", "LISTS", "Block", "File", "as_file", "text_of"]

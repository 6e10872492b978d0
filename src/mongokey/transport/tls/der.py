"""Reads of certificates and revocation lists (DER) what TLS itself needs: times and extensions.

Knows X.690's lengths and where RFC 5280 puts the parts. It reads what OpenSSL has verified and what
`cryptography` refuses as a whole for one odd part of it. Must not know what the extensions are for.
"""

from __future__ import annotations

import datetime

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterator

# X.690, 8.1.2: the tags that are met here.
INTEGER, OCTET_STRING, OID, SEQUENCE = 0x02, 0x04, 0x06, 0x30
_BOOLEAN, _UTC_TIME, _GENERALIZED_TIME = 0x01, 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3


class Malformed(ValueError):
    """What should be DER is not; the text names the part and does not repeat bytes of it."""


class DoubledExtension(Malformed):
    """An extension that is there twice, which RFC 5280, section 4.2, forbids."""


def elements(data: bytes, what: str) -> Iterator[tuple[int, bytes]]:
    """The (tag, content) of the elements that follow each other in `data`, called `what`."""
    at, end = 0, len(data)
    while at < end:
        if end - at < 2:
            raise Malformed(f"{what} is cut short")
        tag, size = data[at], data[at + 1]
        at += 2
        if tag & 0x1F == 0x1F:
            raise Malformed(f"{what} has a tag of more than one byte")
        if size >= 0x80:
            count = size & 0x7F
            # 0x80 is BER's open end, which DER does not have; four bytes are 4 GB.
            if not 1 <= count <= 4 or end - at < count:
                raise Malformed(f"{what} has a length that cannot be read")
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if size > end - at:
            raise Malformed(f"{what} is cut short")
        yield tag, data[at : at + size]
        at += size


def first_element(data: bytes) -> bytes:
    """The first element of `data` with its tag and length. Raises `Malformed`."""
    for _, content in elements(data, "it"):
        size = len(content)
        head = 2 if size < 0x80 else 2 + (size.bit_length() + 7) // 8
        return data[: head + size]
    raise Malformed("it is empty")


def only(data: bytes, tag: int, what: str) -> bytes:
    """The content of the one element that `data` is."""
    found = list(elements(data, what))
    if len(found) != 1 or found[0][0] != tag:
        raise Malformed(f"{what} is not what it should be")
    return found[0][1]


def not_after(der: bytes) -> int:
    """Until when a certificate is valid, in Unix time. Raises `Malformed`."""
    parts = _parts_of(der)
    # serialNumber, signature, issuer, validity (RFC 5280, section 4.1)
    if len(parts) < 4 or parts[3][0] != SEQUENCE:
        raise Malformed("its validity is missing")
    times = list(elements(parts[3][1], "its validity"))
    if len(times) != 2:
        raise Malformed("its validity has not two times")
    return _unix_time(*times[1])


def issuer_of(der: bytes) -> bytes:
    """The content of the name of who issued a certificate. Raises `Malformed`."""
    parts = _parts_of(der)
    if len(parts) < 3 or parts[2][0] != SEQUENCE:
        raise Malformed("its issuer is missing")
    return parts[2][1]


def revocation_list(der: bytes) -> tuple[bytes, int | None]:
    """A revocation list's issuer, as `issuer_of` has it, and its nextUpdate in Unix time, None if
    it has none (RFC 5280, section 5.1). Raises `Malformed`."""
    parts = _signed_parts(der)
    if parts and parts[0][0] == INTEGER:  # version
        del parts[0]
    # signature, issuer, thisUpdate, nextUpdate
    if len(parts) < 3 or parts[1][0] != SEQUENCE:
        raise Malformed("its issuer is missing")
    _unix_time(*parts[2])
    follows = parts[3] if len(parts) > 3 else (0, b"")
    timed = follows[0] in (_UTC_TIME, _GENERALIZED_TIME)
    return parts[1][1], _unix_time(*follows) if timed else None


def extensions(der: bytes) -> dict[str, bytes]:
    """The values of a certificate's extensions (DER), by OID in dots. Raises `Malformed`."""
    found: dict[str, bytes] = {}
    for tag, content in _parts_of(der):
        if tag != _EXTENSIONS:
            continue
        for kind, extension in elements(
            only(content, SEQUENCE, "its extensions"), "its extensions"
        ):
            parts = list(elements(extension, "an extension"))
            if parts[1:2] and parts[1][0] == _BOOLEAN:  # critical
                del parts[1]
            if kind != SEQUENCE or [each[0] for each in parts] != [OID, OCTET_STRING]:
                raise Malformed("an extension is not what it should be")
            name = dotted(parts[0][1])
            if name in found:
                raise DoubledExtension(f"its extension {name} is there twice")
            found[name] = parts[1][1]
    return found


def dotted(content: bytes) -> str:
    """An object identifier in dots (X.690, section 8.19)."""
    numbers, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if value >> 128:
            break
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers or value or len(numbers) > 64:
        raise Malformed("an object identifier cannot be read")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _parts_of(der: bytes) -> list[tuple[int, bytes]]:
    """The elements of a certificate's signed part, from serialNumber on."""
    parts = _signed_parts(der)
    return parts[1:] if parts and parts[0][0] == _VERSION else parts


def _signed_parts(der: bytes) -> list[tuple[int, bytes]]:
    whole = list(elements(only(der, SEQUENCE, "it"), "it"))
    if not whole or whole[0][0] != SEQUENCE:
        raise Malformed("it has no signed part")
    return list(elements(whole[0][1], "it"))


def _unix_time(tag: int, content: bytes) -> int:
    text = content.decode("ascii", "replace")
    if tag == _UTC_TIME:
        # RFC 5280, section 4.1.2.5.1: 50 and later are of the 20th century.
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise Malformed("it has something that is no time where a time should be")
    if len(text) != 15 or text[14] != "Z" or not (text[:14].isascii() and text[:14].isdigit()):
        raise Malformed("it has a time that cannot be read")
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[8:10]), int(text[10:12]), int(text[12:14])
    utc = datetime.timezone.utc
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=utc)
    except ValueError:
        raise Malformed("it has a time that cannot be read") from None
    return int(moment.timestamp())


__all__ = [
    "DoubledExtension",
    "Malformed",
    "elements",
    "extensions",
    "first_element",
    "issuer_of",
    "not_after",
    "only",
    "revocation_list",
]

"""Any bytes are either a message or an error of the driver's own; what is sent comes back."""

from __future__ import annotations

import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mongokey import wire
from mongokey.bson.errors import InvalidBSON
from mongokey.errors import ProtocolError

# A busy machine or a sanitizer build is slow; that is no failure.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary()
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
DOCUMENTS = st.dictionaries(NAMES, SCALARS, max_size=4)
SECTIONS = st.dictionaries(NAMES, st.lists(DOCUMENTS, max_size=3), max_size=3)
IDS = st.integers(0, 2**31 - 1)
FLAGS = st.sampled_from([0, wire.MORE_TO_COME, wire.EXHAUST_ALLOWED, 1 << 31])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    return wire.encode_message(
        draw(DOCUMENTS),
        request_id=draw(IDS),
        response_to=draw(IDS),
        sections=draw(SECTIONS),
        flags=draw(FLAGS),
        checksum=draw(st.booleans()),
    )


def decode(data: bytes) -> wire.Message | None:
    try:
        return wire.decode_message(data)
    except (ProtocolError, InvalidBSON):
        return None


@UNHURRIED
@given(DOCUMENTS, IDS, IDS, SECTIONS, FLAGS, st.booleans())
def test_what_is_encoded_is_decoded(body, request_id, response_to, sections, flags, checksum):
    data = wire.encode_message(
        body,
        request_id=request_id,
        response_to=response_to,
        sections=sections,
        flags=flags,
        checksum=checksum,
    )
    assert wire.message_length(data[:16]) == len(data)
    assert wire.decode_message(data, response_to=response_to) == wire.Message(
        request_id, response_to, wire.OP_MSG, flags | checksum, body, sections, None
    )


@UNHURRIED
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    decode(data)


@UNHURRIED
@given(st.sampled_from([1, 2004, 2012, 2013]), st.integers(0, 3), st.binary(max_size=200))
def test_random_bytes_behind_a_right_header_are_a_message_or_refused(opcode, flags, payload):
    payload = struct.pack("<I", flags) + payload
    decode(struct.pack("<iiii", 16 + len(payload), 1, 1, opcode) + payload)


@UNHURRIED
@given(messages(), st.data())
def test_a_changed_byte_is_a_message_or_refused(message, data):
    at = data.draw(st.integers(0, len(message) - 1))
    changed = bytearray(message)
    changed[at] ^= data.draw(st.integers(1, 255))
    decoded = decode(bytes(changed))
    if message[16] & wire.CHECKSUM_PRESENT and at >= 4 and not (at == 16 and not changed[16] & 1):
        assert decoded is None


@UNHURRIED
@given(messages(), st.data())
def test_a_changed_length_anywhere_is_a_message_or_refused(message, data):
    at = data.draw(st.integers(16, len(message) - 4))
    length = data.draw(st.integers(-(2**31), 2**31 - 1) | st.integers(0, len(message) + 10))
    changed = bytearray(message)
    struct.pack_into("<i", changed, at, length)
    decode(bytes(changed))


@UNHURRIED
@given(messages(), st.data())
def test_every_part_of_a_message_is_refused(message, data):
    size = data.draw(st.integers(0, len(message) - 1))
    assert decode(message[:size]) is None
    shorter = bytearray(message[:size])
    if size >= 4:
        struct.pack_into("<i", shorter, 0, size)
        decode(bytes(shorter))


COMPRESSION = wire.Compression(["zlib"])


def decode_compressed(data: bytes) -> wire.Message | None:
    try:
        return wire.decode_message(data, compression=COMPRESSION, max_message_size=100_000)
    except (ProtocolError, InvalidBSON):
        return None


@UNHURRIED
@given(DOCUMENTS, SECTIONS, FLAGS, st.booleans())
def test_what_is_compressed_is_decoded(body, sections, flags, checksum):
    plain = wire.encode_message(
        body, request_id=1, sections=sections, flags=flags, checksum=checksum
    )
    number, data = COMPRESSION.compress(plain[16:])
    head = struct.pack("<iiB", wire.OP_MSG, len(plain) - 16, number)
    header = struct.pack("<iiii", 16 + len(head) + len(data), 1, 0, wire.OP_COMPRESSED)
    assert decode_compressed(header + head + data) == wire.decode_message(plain)


@UNHURRIED
@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 1, 2, 3]), st.binary(max_size=300))
def test_random_bytes_as_compressed_data_are_refused(size, compressor, data):
    head = struct.pack("<iiB", wire.OP_MSG, size, compressor)
    header = struct.pack("<iiii", 25 + len(data), 1, 0, wire.OP_COMPRESSED)
    decode_compressed(header + head + data)


@UNHURRIED
@given(messages(), st.data())
def test_a_changed_byte_of_a_compressed_message_is_a_message_or_refused(message, data):
    number, compressed = COMPRESSION.compress(message[16:])
    whole = bytearray(struct.pack("<iiii", 25 + len(compressed), 1, 0, wire.OP_COMPRESSED))
    whole += struct.pack("<iiB", wire.OP_MSG, len(message) - 16, number) + compressed
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    decode_compressed(bytes(whole))

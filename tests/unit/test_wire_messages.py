"""Wire messages by themselves: encoding, decoding, and what each refusal says."""

from __future__ import annotations

import struct

import pytest

from mongokey import wire
from mongokey.bson import encode
from mongokey.bson.errors import InvalidBSON, InvalidDocument
from mongokey.errors import DocumentTooLarge, ProtocolError

PING = {"ping": 1, "$db": "admin"}
BODY = encode(PING)


def header(
    size: int, opcode: int = wire.OP_MSG, request_id: int = 7, response_to: int = 5
) -> bytes:
    return struct.pack("<iiii", size, request_id, response_to, opcode)


def message(payload: bytes, opcode: int = wire.OP_MSG, **fields: int) -> bytes:
    return header(16 + len(payload), opcode, **fields) + payload


def op_msg(*sections: bytes, flags: int = 0) -> bytes:
    return message(struct.pack("<I", flags) + b"".join(sections))


def kind0(document: bytes = BODY) -> bytes:
    return b"\0" + document


def kind1(identifier: str, *documents: bytes) -> bytes:
    content = identifier.encode() + b"\0" + b"".join(documents)
    return b"\1" + struct.pack("<i", 4 + len(content)) + content


def op_reply(*documents: bytes, flags: int = 8, count: int | None = None) -> bytes:
    number = len(documents) if count is None else count
    return message(struct.pack("<iqii", flags, 0, 0, number) + b"".join(documents), wire.OP_REPLY)


def refused(data: bytes, text: str, **options) -> None:
    with pytest.raises(ProtocolError) as caught:
        wire.decode_message(data, **options)
    assert text in str(caught.value)
    assert str(caught.value).startswith("invalid wire message")


# Encoding


def test_a_command_is_one_kind_0_section():
    data = wire.encode_message(PING, request_id=9)
    assert data == struct.pack("<iiiiI", 21 + len(BODY), 9, 0, 2013, 0) + b"\0" + BODY


def test_sections_of_documents_follow_the_body():
    a, b = encode({"_id": 1}), encode({"_id": 2})
    data = wire.encode_message(
        PING, request_id=9, response_to=3, sections={"documents": [{"_id": 1}, {"_id": 2}], "x": []}
    )
    payload = struct.pack("<I", 0) + kind0() + kind1("documents", a, b) + kind1("x")
    assert data == message(payload, request_id=9, response_to=3)


def test_flags_are_written_as_given():
    flags = wire.MORE_TO_COME | wire.EXHAUST_ALLOWED
    data = wire.encode_message(PING, flags=flags)
    assert struct.unpack_from("<I", data, 16) == (flags,)
    assert wire.decode_message(data).flags == flags
    with pytest.raises(OverflowError):
        wire.encode_message(PING, flags=1 << 32)


def test_a_checksum_is_appended_and_counted():
    plain = wire.encode_message(PING, request_id=1)
    data = wire.encode_message(PING, request_id=1, checksum=True)
    assert len(data) == len(plain) + 4
    assert struct.unpack_from("<i", data)[0] == len(data)
    assert struct.unpack("<I", data[-4:])[0] == wire.crc32c(data[:-4])
    assert data == wire.encode_message(PING, request_id=1, flags=wire.CHECKSUM_PRESENT)
    assert wire.decode_message(data).body == PING


def test_a_message_without_a_request_id_takes_the_next():
    first = wire.decode_message(wire.encode_message(PING)).request_id
    second = wire.decode_message(wire.encode_message(PING)).request_id
    assert second == first + 1
    assert wire.next_request_id() == second + 1


@pytest.mark.parametrize("checksum", [False, True])
def test_a_message_at_the_limit_goes_and_one_byte_more_does_not(checksum):
    size = len(wire.encode_message(PING, checksum=checksum))
    assert wire.encode_message(PING, checksum=checksum, max_message_size=size)
    with pytest.raises(DocumentTooLarge) as caught:
        wire.encode_message(PING, checksum=checksum, max_message_size=size - 1)
    assert f"has {size} bytes; the server accepts at most {size - 1}" in str(caught.value)


def test_what_bson_cannot_hold_is_refused():
    with pytest.raises(InvalidDocument):
        wire.encode_message({"x": object()})
    with pytest.raises(InvalidDocument):
        wire.encode_message(PING, sections={"documents": [{"a": 1}, {"x": object()}]})


def test_an_identifier_with_a_zero_character_is_refused():
    with pytest.raises(ValueError, match="zero character"):
        wire.encode_message(PING, sections={"a\0b": []})


def test_a_legacy_hello_is_a_query_on_admin_cmd():
    hello = {"isMaster": 1, "helloOk": True}
    data = wire.encode_legacy_hello(hello, request_id=4)
    payload = struct.pack("<i", wire.SECONDARY_OK) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1)
    assert data == message(payload + encode(hello), wire.OP_QUERY, request_id=4, response_to=0)
    decoded = wire.decode_message(data)
    assert decoded.collection == "admin.$cmd"
    assert decoded.body == hello
    assert decoded.flags == wire.SECONDARY_OK


@pytest.mark.parametrize("command", [{"ping": 1}, {}, {"ping": 1, "isMaster": 1}])
def test_nothing_but_a_hello_is_sent_as_a_query(command):
    with pytest.raises(ValueError, match="OP_QUERY"):
        wire.encode_legacy_hello(command)


# Decoding


def test_a_reply_is_decoded():
    assert wire.decode_message(op_msg(kind0())) == wire.Message(7, 5, 2013, 0, PING, {}, None)


@pytest.mark.parametrize("order", range(3))
def test_the_body_may_stand_anywhere_among_the_sections(order):
    a, b = encode({"a": 1}), encode({"b": 2})
    sections = [kind1("one", a, b), kind1("two")]
    sections.insert(order, kind0())
    decoded = wire.decode_message(op_msg(*sections))
    assert decoded.body == PING
    assert decoded.sections == {"one": [{"a": 1}, {"b": 2}], "two": []}
    assert list(decoded.sections) == ["one", "two"]


def test_any_bytes_like_object_can_be_decoded():
    data = op_msg(kind0())
    for given in (bytearray(data), memoryview(data)):
        assert wire.decode_message(given).body == PING
    assert wire.message_length(memoryview(data)[:16]) == len(data)


@pytest.mark.parametrize("bit", range(16, 32))
def test_unknown_optional_flags_are_let_through(bit):
    assert wire.decode_message(op_msg(kind0(), flags=1 << bit)).flags == 1 << bit


@pytest.mark.parametrize("bit", range(2, 16))
def test_unknown_required_flags_are_refused(bit):
    refused(
        op_msg(kind0(), flags=1 << bit), f"at byte 16: unknown required flag bits {1 << bit:#06x}"
    )


def test_more_to_come_is_told():
    assert wire.decode_message(op_msg(kind0(), flags=2)).flags == wire.MORE_TO_COME


def test_a_wrong_checksum_is_refused():
    data = wire.encode_message(PING, checksum=True)
    right = struct.unpack("<I", data[-4:])[0]
    for at in range(20, len(data) - 4):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        refused(bytes(damaged), f"at byte {len(data) - 4}: the CRC-32C is {right:#010x}, but")
    refused(data[:-4] + bytes(4), "the CRC-32C is 0x00000000")


def test_a_message_too_short_for_its_promised_checksum_is_refused():
    with pytest.raises(ProtocolError):
        wire.decode_message(message(struct.pack("<I", 1) + bytes(6)))


def test_a_legacy_reply_is_decoded():
    decoded = wire.decode_message(op_reply(BODY))
    assert (decoded.opcode, decoded.flags, decoded.body) == (wire.OP_REPLY, 8, PING)
    failure = encode({"$err": "no", "code": 13})
    assert wire.decode_message(op_reply(failure, flags=2)).flags & wire.QUERY_FAILURE


@pytest.mark.parametrize("count", [-1, 0, 2, 1 << 30])
def test_a_legacy_reply_has_exactly_one_document(count):
    refused(op_reply(BODY, count=count), f"at byte 32: an OP_REPLY with {count} documents")


def test_bytes_after_a_legacy_replys_document_are_refused():
    at = 36 + len(BODY)
    refused(op_reply(BODY, b"abc", count=1), f"at byte {at}: 3 bytes after the last document")
    query = wire.encode_legacy_hello({"isMaster": 1})
    longer = struct.pack("<i", len(query) + 1) + query[4:] + b"\0"
    refused(longer, f"at byte {len(query)}: 1 bytes after")


def test_a_reply_to_another_request_is_refused():
    data = op_msg(kind0())
    assert wire.decode_message(data, response_to=5).response_to == 5
    refused(data, "at byte 8: the reply answers request 5, not request 6", response_to=6)
    refused(op_reply(BODY), "answers request 5, not request 0", response_to=0)


def test_a_query_is_no_reply():
    query = wire.encode_legacy_hello({"isMaster": 1})
    refused(query, "at byte 12: unexpected opcode 2004", response_to=0)


def test_compressed_messages_are_refused_by_name():
    data = message(struct.pack("<iiB", wire.OP_MSG, 30, 2) + bytes(20), wire.OP_COMPRESSED)
    refused(data, "at byte 12: an OP_COMPRESSED message came, but no compressor was agreed on")
    with pytest.raises(ProtocolError, match="OP_COMPRESSED"):
        wire.message_length(data)


@pytest.mark.parametrize("opcode", [0, 2, 2001, 2005, 2014, -1, 0x7FFFFFFF])
def test_unknown_opcodes_are_refused(opcode):
    refused(message(kind0() + bytes(20), opcode), f"at byte 12: unexpected opcode {opcode}")


@pytest.mark.parametrize("size", [-(1 << 31), -1, 0, 15, 16, 20, 25])
def test_a_length_below_what_the_opcode_needs_is_refused(size):
    with pytest.raises(ProtocolError, match=f"at byte 0: the header says {size} bytes; a message"):
        wire.message_length(header(size))


def test_a_length_above_the_limit_is_refused_before_anything_is_allocated():
    assert wire.message_length(header(1000), max_message_size=1000) == 1000
    with pytest.raises(ProtocolError, match="says 1001 bytes; at most 1000 are accepted"):
        wire.message_length(header(1001), max_message_size=1000)
    with pytest.raises(ProtocolError, match="says 48000001 bytes; at most 48000000"):
        wire.message_length(header(48_000_001))
    with pytest.raises(ProtocolError, match="says 2147483647 bytes"):
        wire.message_length(header(0x7FFFFFFF))


def test_a_length_that_is_not_the_messages_is_refused():
    data = op_msg(kind0())
    refused(data + b"\0", f"at byte 0: the header says {len(data)} bytes but the message has")
    refused(data[:-1], f"the header says {len(data)} bytes but the message has {len(data) - 1}")


@pytest.mark.parametrize("size", range(16))
def test_less_than_a_header_is_refused(size):
    with pytest.raises(ProtocolError, match=f"{size} bytes are shorter than the 16-byte header"):
        wire.message_length(bytes(size))
    refused(bytes(size), "shorter than the 16-byte header")


def test_a_message_has_exactly_one_body():
    at = 20 + len(kind0())
    refused(op_msg(kind0(), kind0()), f"at byte {at}: an OP_MSG with a second body")
    section = kind1("documents", BODY)
    refused(op_msg(section), f"at byte {20 + len(section)}: an OP_MSG without a body")


@pytest.mark.parametrize("kind", [2, 3, 255])
def test_unknown_section_kinds_are_refused(kind):
    at = 20 + len(kind0())
    refused(op_msg(kind0(), bytes([kind]) + BODY), f"at byte {at}: unknown section kind {kind}")


@pytest.mark.parametrize("size", [-1, 0, 4, len(BODY) + 1, 0x7FFFFFFF])
def test_a_document_that_does_not_fit_is_refused(size):
    document = struct.pack("<i", size) + BODY[4:]
    refused(
        op_msg(kind0(document)), f"at byte 21: a document of {size} bytes where {len(BODY)} are"
    )


def test_a_document_without_its_closing_zero_is_refused():
    refused(
        op_msg(kind0(BODY[:-1] + b"\x05")),
        f"at byte {20 + len(BODY)}: a document ends with byte 0x05 instead of zero",
    )


@pytest.mark.parametrize("size", [-1, 0, 4, 1000, 0x7FFFFFFF])
def test_a_section_that_does_not_fit_is_refused(size):
    section = b"\1" + struct.pack("<i", size) + b"documents\0"
    at = 21 + len(kind0())
    refused(op_msg(kind0(), section), f"at byte {at}: a section of {size} bytes where 14 are left")


def test_an_identifier_without_its_closing_zero_is_refused():
    section = b"\1" + struct.pack("<i", 8) + b"docs"
    at = 25 + len(kind0())
    refused(op_msg(kind0(), section), f"at byte {at}: a name without its closing zero")


def test_an_identifier_that_is_not_utf_8_is_refused():
    section = b"\1" + struct.pack("<i", 7) + b"a\xff\0"
    at = 25 + len(kind0()) + 1
    refused(op_msg(kind0(), section), f"at byte {at}: a name is not UTF-8")


def test_two_sections_of_one_name_are_refused():
    refused(op_msg(kind0(), kind1("a"), kind1("a")), "two sections named 'a'")


def test_a_document_in_a_section_must_fit_the_section():
    section = bytearray(kind1("d", BODY))
    struct.pack_into("<i", section, 7, len(BODY) + 1)
    data = op_msg(bytes(section), kind0())
    refused(data, f"at byte 27: a document of {len(BODY) + 1} bytes where {len(BODY)} are left")
    section = b"\1" + struct.pack("<i", 9) + b"d\0abc"
    refused(op_msg(section, kind0()), "a document of 5 bytes where 3 are left")


def test_a_body_that_is_not_bson_is_invalid_bson():
    broken = bytearray(BODY)
    broken[4] = 0x77
    with pytest.raises(InvalidBSON):
        wire.decode_message(op_msg(kind0(bytes(broken))))


def test_codec_options_reach_bodies_and_sections():
    from mongokey.bson.codec_options import CodecOptions
    from mongokey.bson.son import SON

    options = CodecOptions(document_class=SON)
    data = op_msg(kind0(), kind1("d", BODY))
    decoded = wire.decode_message(data, codec_options=options)
    assert type(decoded.body) is SON
    assert type(decoded.sections["d"][0]) is SON


# CRC-32C


@pytest.mark.parametrize(
    ("data", "value"),
    [
        # RFC 3720 appendix B.4, and the customary check value.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_checksum_is_crc_32c(data, value):
    assert wire.crc32c(data) == value


def test_a_checksum_can_be_continued_at_any_byte():
    data = bytes(range(200))
    for at in range(len(data)):
        assert wire.crc32c(data[at:], wire.crc32c(data[:at])) == wire.crc32c(data)

"""The C validation of `wire` never reads outside a message, whatever the message says.

`include/mongokey/wire.h` is compiled with the address and undefined-behaviour sanitizers, each
message is put into a block of memory of exactly its size, and everything a caller may do with an
accepted message is done. Runs without the sanitizers where the compiler has none.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

INCLUDE = Path(__file__).parents[2] / "include"
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]

# Reads messages (each behind its size, a u32) and prints each one's error code, and for accepted
# ones the number of documents, after touching every byte that the result points at.
HARNESS = r"""
#include "mongokey/wire.h"
#include <stdio.h>
#include <stdlib.h>

static unsigned touched;
static void touch(const void *data, size_t size) {
    const uint8_t *p = (const uint8_t *)data;
    size_t i;
    for (i = 0; i < size; i++) touched += p[i];
}

int main(void) {
    uint8_t prefix[4];
    while (fread(prefix, 1, 4, stdin) == 4) {
        uint32_t size = mk_load_u32(prefix);
        uint8_t *data = (uint8_t *)malloc(size);
        mk_reply reply;
        mk_wire_error error = {0, 0, 0, 0};
        int rc;
        long documents = 1;
        if (size && fread(data, 1, size, stdin) != size) return 1;
        if (size >= MK_HEADER_SIZE) {
            int32_t length;
            mk_check_header(data, 48000000, &length, &error);
        }
        {
            mk_compressed found;
            mk_wire_error other = {0, 0, 0, 0};
            int refused = mk_parse_compressed(data, size, 48000000, &found, &other);
            if (refused && (refused != other.code || other.offset > size)) return 5;
            if (!refused) {
                touch(found.data, found.data_size);
                if (found.size < 10 || found.size > 48000000 - 16 || found.data_size == 0) return 6;
                printf("C ");
            }
        }
        rc = mk_parse_reply(data, size, -1, &reply, &error);
        if (rc == MK_WIRE_OPCODE && reply.opcode == MK_OP_QUERY) rc = MK_WIRE_OK;
        if (rc == MK_WIRE_OK) {
            size_t at = 0;
            mk_section section;
            touch(reply.body, reply.body_size);
            touch(reply.sections, reply.sections_size);
            if (reply.collection) touch(reply.collection, strlen(reply.collection) + 1);
            while (mk_next_section(&reply, &at, &section)) {
                size_t in = 0;
                touch(section.identifier, strlen(section.identifier) + 1);
                while (in < section.documents_size) {
                    size_t length = (size_t)mk_load_i32(section.documents + in);
                    touch(section.documents + in, length);
                    in += length;
                    documents++;
                }
            }
            if (at != reply.sections_size) return 2;
        } else if (rc != error.code || (size && error.offset > size)) {
            return 3;
        }
        printf("%d %ld\n", rc, rc == MK_WIRE_OK ? documents : 0);
        free(data);
    }
    return touched == 0xffffffffu ? 4 : 0;
}
"""


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    if CC is None or sys.platform == "win32":
        if os.environ.get("CI"):
            pytest.fail("no C compiler")
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("wire")
    (folder / "harness.c").write_text(HARNESS)
    program = folder / "harness"
    command = [CC, "-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}"]
    command += [str(folder / "harness.c"), "-o", str(program)]
    if subprocess.run([*command, *SANITIZERS], capture_output=True).returncode != 0:
        subprocess.run(command, check=True)
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}

    def run(messages: list[bytes]) -> list[tuple[int, int]]:
        stream = b"".join(struct.pack("<I", len(m)) + m for m in messages)
        done = subprocess.run(
            [str(program)], input=stream, capture_output=True, timeout=60, env=environment
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        lines = done.stdout.decode().splitlines()
        assert len(lines) == len(messages)
        run.compressed = sum(line.startswith("C ") for line in lines)
        return [
            (int(code), int(documents)) for code, documents in (each.split()[-2:] for each in lines)
        ]

    return run


DOCUMENT = b"\x0e\0\0\0\x10ok\0\x01\0\0\0\0\0"
DOCUMENT = struct.pack("<i", len(DOCUMENT)) + DOCUMENT[4:]


def message(payload: bytes, opcode: int = 2013) -> bytes:
    return struct.pack("<iiii", 16 + len(payload), 1, 2, opcode) + payload


def section(name: bytes, *documents: bytes) -> bytes:
    content = name + b"\0" + b"".join(documents)
    return b"\1" + struct.pack("<i", 4 + len(content)) + content


SEEDS = [
    message(bytes(4) + b"\0" + DOCUMENT),
    message(bytes(4) + b"\0" + DOCUMENT + section(b"documents", DOCUMENT, DOCUMENT)),
    message(bytes(4) + section(b"a") + b"\0" + DOCUMENT + section(b"b", DOCUMENT)),
    message(struct.pack("<iqii", 8, 0, 0, 1) + DOCUMENT, 1),
    message(bytes(4) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + DOCUMENT, 2004),
    message(bytes(4) + b"\0" + b"\5\0\0\0\0"),
]
COMPRESSED = [
    message(struct.pack("<iiB", 2013, 30, 2) + b"x" * 12, 2012),
    message(struct.pack("<iiB", 1, 200, 0) + b"x", 2012),
    message(struct.pack("<iiB", 2004, 48000000 - 16, 255) + b"x" * 40, 2012),
]


def test_well_formed_messages_are_accepted(harness):
    assert harness(SEEDS) == [(0, 1), (0, 3), (0, 2), (0, 1), (0, 1), (0, 1)]


def test_a_message_cut_at_any_byte_is_refused(harness):
    cuts = [seed[:size] for seed in SEEDS for size in range(len(seed))]
    assert all(code != 0 for code, _ in harness(cuts))


def test_a_message_cut_at_any_byte_with_a_length_to_match_stays_in_bounds(harness):
    cuts = [
        struct.pack("<i", size) + seed[4:size] for seed in SEEDS for size in range(4, len(seed))
    ]
    codes = [code for code, _ in harness(cuts)]
    assert any(codes)


@pytest.mark.parametrize(
    "value",
    [-(1 << 31), -1, 0, 1, 4, 5, 6, 100, 0x7FFFFFFF, 0x7FFFFFF0, 0xFFFF],
)
def test_any_length_anywhere_stays_in_bounds(harness, value):
    changed = [
        seed[:at] + struct.pack("<i", value) + seed[at + 4 :]
        for seed in SEEDS
        for at in range(4, len(seed) - 3)
    ]
    harness(changed)


def test_any_byte_anywhere_stays_in_bounds(harness):
    changed = [
        seed[:at] + bytes([value]) + seed[at + 1 :]
        for seed in SEEDS
        for at in range(4, len(seed))
        for value in (0, 1, 2, 4, 5, 0x7F, 0x80, 0xFF)
    ]
    harness(changed)


def test_many_random_changes_stay_in_bounds(harness):
    dice = random.Random(0x6D6B)
    changed = []
    for _ in range(20_000):
        data = bytearray(dice.choice(SEEDS))
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(16, len(data))
            if dice.random() < 0.3:
                del data[at : at + dice.randrange(1, 8)]
            elif dice.random() < 0.4:
                data[at:at] = dice.randbytes(dice.randrange(1, 8))
            else:
                data[at] = dice.choice((0, 1, 5, 0x7F, 0xFF, dice.randrange(256)))
            if len(data) <= 16:
                break
        struct.pack_into("<i", data, 0, len(data))
        changed.append(bytes(data))
    codes = {code for code, _ in harness(changed)}
    assert 0 in codes
    assert len(codes) > 5


def test_what_stands_in_front_of_compressed_data_is_read_within_bounds(harness):
    harness(COMPRESSED)
    assert harness.compressed == len(COMPRESSED)
    cuts = [seed[:size] for seed in COMPRESSED for size in range(len(seed))]
    harness(cuts)
    assert harness.compressed == 0
    changed = [
        seed[:at] + struct.pack("<i", value) + seed[at + 4 :]
        for seed in COMPRESSED
        for at in range(25)
        for value in (-(1 << 31), -1, 0, 1, 9, 15, 2012, 2013, 48000000, 0x7FFFFFFF)
        if at + 4 <= len(seed)
    ]
    harness(changed)


@pytest.mark.parametrize(
    ("opcode", "size"),
    [
        (2012, 30),
        (2010, 30),
        (0, 30),
        (2013, 9),
        (2013, -1),
        (2013, 48000000 - 15),
        (2013, 0x7FFFFFFF),
        (1, 24),
    ],
)
def test_a_head_that_cannot_be_is_refused(harness, opcode, size):
    harness([message(struct.pack("<iiB", opcode, size, 2) + b"x" * 12, 2012)])
    assert harness.compressed == 0

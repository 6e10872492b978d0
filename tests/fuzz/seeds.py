"""The fuzz targets' seed corpus, made at run time from the public specifications' data.

Nothing of them is kept in this repository: `write` fills a folder with the bytes of bson-corpus
and of the driver benchmark's documents. Where the data are missing, documents of our own do.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from mongokey import bson
from mongokey.bson import json_util
from tests.specifications import folder, suite

OWN = {
    "_id": bson.ObjectId(bytes(12)),
    "text": "text é 日本 🎉",
    "numbers": [1, 2**40, 1.5, bson.Decimal128("1.5"), bson.Timestamp(1, 2), True, None],
    "inner": {"a": {"b": [b"bytes", bson.Binary(b"old", 2), bson.Binary(bytes(16), 4)]}},
    "date": datetime.datetime(2020, 1, 1),
    "code": [bson.Code("f()"), bson.Code("f()", {"a": 1})],
    "rest": [bson.Regex("a", "im"), bson.DBRef("c", 1, "d"), bson.MinKey(), bson.MaxKey()],
}


def documents() -> Iterator[bytes]:
    """BSON, sound and broken."""
    yield bson.encode(OWN)
    for _, content in suite("bson-corpus"):
        for case in content.get("valid", []):
            yield bytes.fromhex(case["canonical_bson"])
            yield bytes.fromhex(case.get("degenerate_bson", ""))
        for case in content.get("decodeErrors", []):
            yield bytes.fromhex(case["bson"])
    if folder() is not None:
        for _, content in suite("benchmarking"):
            data = bson.encode(json_util.object_hook(content))
            # A seed of megabytes would be all that the fuzzer ever looks at.
            if len(data) < 64 * 1024:
                yield data


def write(into: Path) -> int:
    """Write the seeds to the folder, one a file; how many there are."""
    into.mkdir(parents=True, exist_ok=True)
    found = {data for data in documents() if data}
    for number, data in enumerate(sorted(found)):
        (into / f"seed-{number:04}").write_bytes(data)
    return len(found)

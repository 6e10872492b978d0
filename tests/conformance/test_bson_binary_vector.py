"""The public bson-binary-vector suite."""

from __future__ import annotations

import struct

import pytest

from mongokey import bson
from mongokey.bson.binary import Binary, BinaryVector, BinaryVectorDtype
from tests.specifications import require, suite

CASES = [
    pytest.param(content["test_key"], case, id=f"{name}: {case['description']}")
    for name, content in suite("bson-binary-vector")
    for case in content["tests"]
]


def vector_of(case) -> BinaryVector:
    dtype = BinaryVectorDtype(bytes([int(case["dtype_hex"], 16)]))
    values = case["vector"]
    if dtype is BinaryVectorDtype.FLOAT32:
        values = [
            float(value["$numberDouble"] if isinstance(value, dict) else value) for value in values
        ]
        # The file has them in double precision.
        values = [struct.unpack("<f", struct.pack("<f", value))[0] for value in values]
    return BinaryVector(values, dtype, case.get("padding", 0))


def test_the_suite_is_there():
    require("bson-binary-vector")
    assert len(CASES) > 20


@pytest.mark.parametrize(("key", "case"), CASES)
def test_vectors(key, case):
    if case["valid"]:
        data = bytes.fromhex(case["canonical_bson"])
        vector = vector_of(case)
        assert bson.decode(data)[key].as_vector() == vector
        assert bson.encode({key: Binary.from_vector(vector)}) == data
        return
    if "vector" in case:
        with pytest.raises((ValueError, struct.error, OverflowError)):
            Binary.from_vector(vector_of(case))
    if "canonical_bson" in case:
        binary = bson.decode(bytes.fromhex(case["canonical_bson"]))[key]
        if "non-zero" in case["description"].lower():
            with pytest.warns(DeprecationWarning, match="padding"):
                binary.as_vector()
        else:
            with pytest.raises(ValueError, match=r"padding|multiple|least"):
                binary.as_vector()

"""BSON: a small and a large document encoded and decoded. CPU, beside PyMongo's C extension."""

from __future__ import annotations

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.case import Api
from bench.cases import BY_NAME

#: A call of a small document is too short for the clock: so many go into one reading of it.
TIMES = {"small": 100, "large": 1}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("way", ["encode", "decode"])
def test_bson(benchmark: BenchmarkFixture, api: Api, way: str, size: str) -> None:
    benchmark.group = f"BSON {way}, {size} document, {TIMES[size]} times"
    benchmark._timer = time.process_time
    with BY_NAME[f"{way}_{size}"].setup(api, "") as operation:
        benchmark(operation.run, TIMES[size])

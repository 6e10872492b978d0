"""Benchmarks: mongokey beside PyMongo, in one run, ratio first.

    python -m bench.compare        client CPU and wall time of each case, and the floor in C
    python -m bench.report         the same as a Markdown table and an SVG chart
    python -m bench.bson           the codecs alone, on the driver benchmark's documents
    python -m bench.instructions   callgrind's instruction counts, stored and compared
    pytest bench                   pytest-benchmark cases, and the tests of the instrument
    python -m bench.server         the canned server, to play with

`cases` says what is measured, `worker` measures it in a process of its own, `runner` plays the
rounds against `server`, which is `cannedserver.c`. Nothing here is imported by mongokey.
"""

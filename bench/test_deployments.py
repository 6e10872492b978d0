"""The figures of deployments: a driver that fails gives none, and a ratio is ours to PyMongo's."""

from __future__ import annotations

from bench.deployments import Figure


def test_the_ratio_is_that_of_rounds() -> None:
    figure = Figure("case", "ms", 1.0)
    figure.values = {"mongokey": [1.0, 4.0, 9.0], "pymongo": [2.0, 4.0, 10.0]}
    assert figure.ratios() == [0.5, 1.0, 0.9]
    assert "0.900" in figure.row()
    assert "1.00 met" in figure.row()
    figure.target = 0.8
    assert "0.80 MISSED" in figure.row()


def test_a_problem_leaves_no_figure() -> None:
    figure = Figure("case", "ms", 1.0, problems=["mongokey wrote nothing within 30 s"])
    assert "FAILED  mongokey wrote nothing" in figure.row()

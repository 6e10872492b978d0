"""Deadlines: when they pass, which comes first, and what errors say of them."""

from __future__ import annotations

import re

import pytest

from mongokey._support.deadline import Deadline, Timeout, earliest
from mongokey._support.system import monotonic_ns

SECOND_NS = 1_000_000_000
FOREVER_NS = 100 * 366 * 86_400 * SECOND_NS


def test_a_deadline_comes_when_its_timeout_is_over() -> None:
    deadline = Timeout(20 * SECOND_NS, "connectTimeoutMS").start(1000)
    assert (deadline.began_ns, deadline.at_ns) == (1000, 20 * SECOND_NS + 1000)
    assert deadline.left_ns(1000) == 20 * SECOND_NS
    assert deadline.left_ns(deadline.at_ns - 1) == 1
    assert deadline.left_ns(deadline.at_ns) == deadline.left_ns(deadline.at_ns + 5) == 0
    assert not deadline.passed(deadline.at_ns - 1)
    assert deadline.passed(deadline.at_ns)


def test_a_deadline_is_reckoned_from_now() -> None:
    before = monotonic_ns()
    deadline = Timeout(SECOND_NS).start()
    assert before <= deadline.began_ns <= monotonic_ns()
    assert 0 < deadline.left_ns() <= SECOND_NS
    assert 0.0 < deadline.left_s <= 1.0
    assert not deadline.passed()
    over = Timeout(1).start()
    while monotonic_ns() <= over.at_ns:
        pass
    assert over.passed()
    assert (over.left_ns(), over.left_s) == (0, 0.0)


@pytest.mark.parametrize(
    ("ns", "option", "text"),
    [
        (20 * SECOND_NS, "connectTimeoutMS", "connectTimeoutMS=20000"),
        (1_500_000, "timeoutMS", "timeoutMS=1.5"),
        (1_000_000_000_000_000, "timeoutMS", "timeoutMS=1000000000"),
        (1, "timeoutMS", "timeoutMS=1e-06"),
        (1_500_000_000, "timeout", "timeout=1.5 s"),
        (300_000_000, None, "0.3 s"),
    ],
)
def test_an_option_is_written_in_its_own_unit(ns: int, option: str | None, text: str) -> None:
    assert str(Timeout(ns, option)) == text
    assert text in repr(Timeout(ns, option))
    assert str(Timeout(ns, option).start()) == text


def test_an_error_says_how_long_it_took_and_by_which_option() -> None:
    deadline = Timeout(SECOND_NS, "connectTimeoutMS").start(monotonic_ns() - 2 * SECOND_NS)
    said = deadline.timed_out("resolving the host name")
    assert re.fullmatch(
        r"timed out after 2\.\d{3} s of resolving the host name \(connectTimeoutMS=1000\)", said
    )
    assert re.fullmatch(r"timed out after \d\.\d{3} s", Timeout(SECOND_NS).start().timed_out())


def test_no_time_and_less_are_no_timeout() -> None:
    assert Timeout.from_seconds(None, "timeoutMS") is None
    assert Timeout.from_seconds(0, "timeoutMS") is None
    assert Timeout(0).start(5).passed(5)
    with pytest.raises(ValueError, match="0 or more"):
        Timeout(-1)
    with pytest.raises(ValueError, match="0 or more"):
        Timeout.from_seconds(-0.1)
    with pytest.raises(TypeError):
        Timeout("1000")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Timeout(1000, b"timeoutMS")  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [1e-12, 0.25, 20.0, 1e300, float("inf")])
def test_any_time_above_zero_can_be_reckoned_with(seconds: float) -> None:
    timeout = Timeout.from_seconds(seconds)
    assert timeout is not None
    assert 0 < timeout.ns <= FOREVER_NS
    assert 0 < timeout.start().at_ns < 2**63


def test_numbers_too_large_for_the_clock_are_a_hundred_years() -> None:
    assert 0 < Timeout(10**30).start().left_ns() <= FOREVER_NS


def test_the_earliest_of_two() -> None:
    sooner, later = Timeout(SECOND_NS).start(1), Timeout(2 * SECOND_NS).start(1)
    assert earliest(sooner, later) is earliest(later, sooner) is sooner
    assert earliest(None, later) is earliest(later, None) is later
    assert earliest(None, None) is None


def test_time_that_does_not_count_moves_it() -> None:
    deadline = Timeout(SECOND_NS, "timeoutMS").start(1000)
    moved = deadline.extended(5 * SECOND_NS)
    assert moved.at_ns == deadline.at_ns + 5 * SECOND_NS
    assert moved.began_ns == deadline.began_ns + 5 * SECOND_NS
    assert moved.timeout is deadline.timeout
    assert deadline.at_ns == SECOND_NS + 1000


def test_a_deadline_cannot_be_made_by_hand_or_changed() -> None:
    with pytest.raises(TypeError, match="start"):
        Deadline()
    deadline = Timeout(SECOND_NS).start()
    with pytest.raises(AttributeError):
        deadline.at_ns = 1  # type: ignore[misc]

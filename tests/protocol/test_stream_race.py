"""The schedule of a race of connection attempts (RFC 8305), without sockets or clocks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mongokey.transport.happy_eyeballs import HEAD_START_NS, Race, interleave


def test_families_take_turns_and_the_first_choice_stays_first():
    addresses = ["6a", "6b", "6c", "4a", "4b"]
    assert interleave(addresses, lambda a: a[0]) == ["6a", "4a", "6b", "4b", "6c"]
    assert interleave(addresses[::-1], lambda a: a[0]) == ["4b", "6c", "4a", "6b", "6a"]


def test_repeats_are_dropped():
    assert interleave(["4a", "4a", "6a", "4a", "6a"], lambda a: a[0]) == ["4a", "6a"]
    assert interleave([], lambda a: a[0]) == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("46"), st.integers(0, 5))))
def test_interleaving_keeps_every_address_and_each_familys_order(addresses):
    mixed = interleave(addresses, lambda a: a[0])
    unique = list(dict.fromkeys(addresses))
    assert sorted(mixed) == sorted(unique)
    for family in "46":
        assert [a for a in mixed if a[0] == family] == [a for a in unique if a[0] == family]
    assert mixed[:1] == addresses[:1]


def test_each_attempt_has_its_head_start():
    race = Race(3)
    assert race.start(100) == 0
    assert race.start(100) is None
    assert race.next_start() == 100 + HEAD_START_NS
    assert race.start(99 + HEAD_START_NS) is None
    assert race.start(100 + HEAD_START_NS) == 1
    assert race.next_start() == 100 + 2 * HEAD_START_NS
    assert race.start(10 * HEAD_START_NS) == 2
    assert race.next_start() is None
    assert race.start(20 * HEAD_START_NS) is None
    assert not race.lost


def test_a_failure_of_the_latest_lets_the_next_start_at_once():
    race = Race(3)
    race.start(0)
    race.fail(0, "refused")
    assert race.next_start() == 0
    assert race.start(1) == 1


def test_a_failure_of_an_earlier_one_does_not_hurry_the_next():
    race = Race(3)
    race.start(0)
    race.start(HEAD_START_NS)
    race.fail(0, "refused")
    assert race.start(HEAD_START_NS + 1) is None
    assert race.next_start() == 2 * HEAD_START_NS


def test_a_race_is_lost_when_all_have_failed():
    race = Race(2)
    race.start(0)
    race.fail(0, "refused")
    assert not race.lost
    race.start(0)
    assert not race.lost
    race.fail(1, "failed: no route")
    assert race.lost
    assert race.report(5) == {0: "refused", 1: "failed: no route"}


def test_the_report_tells_what_became_of_each():
    race = Race(3, head_start_ns=10)
    race.start(0)
    race.fail(0, "refused")
    race.start(500_000_000)
    assert race.report(2_000_000_000) == {
        0: "refused",
        1: "timed out after 1.500 s",
        2: "was not tried",
    }

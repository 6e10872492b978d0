"""Descriptions, error effects and selection, beyond what the specifications' suites ask."""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest

from mongokey._support.address import Address
from mongokey.bson import DatetimeMS, ObjectId
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
)
from mongokey.handshake import HelloReply
from mongokey.read_preferences import Nearest, ReadPreference, Secondary
from mongokey.topology.error_effects import effect_of, is_state_change
from mongokey.topology.round_trip_time import RoundTripTime
from mongokey.topology.selection import choose, suitable_servers
from mongokey.topology.server_description import (
    SERVER_TYPE_NAMES,
    ServerDescription,
    is_older,
)
from mongokey.topology.topology_description import (
    TOPOLOGY_TYPE_NAMES,
    TopologyDescription,
    initial_topology,
    updated_topology_description,
)

A, B, C = ("a", 1), ("b", 2), ("c", 3)
WIRE = {"minWireVersion": 0, "maxWireVersion": 21, "ok": 1}
SET = {**WIRE, "setName": "rs", "hosts": ["a:1", "b:2", "c:3"]}


def primary(address: Any = A, rtt_s: float = 0.01, **fields: Any) -> ServerDescription:
    return ServerDescription(address, HelloReply({**SET, "ismaster": True, **fields}), rtt_s)


def secondary(address: Any, rtt_s: float = 0.01, **fields: Any) -> ServerDescription:
    document = {**SET, "secondary": True, **fields}
    return ServerDescription(address, HelloReply(document), rtt_s)


def topology(*servers: ServerDescription) -> TopologyDescription:
    found = initial_topology([A], replica_set="rs")
    for each in servers:
        found = updated_topology_description(found, each)
    return found


WHOLE = topology(primary(), secondary(B), secondary(C))


def effect(error: BaseException, known: TopologyDescription = WHOLE, **given: Any) -> Any:
    options: dict[str, Any] = {"generation": 0, "pool_generation": 0, "handshake_done": True}
    return effect_of(error, known, A, **{**options, **given})


class TestServerDescription:
    def test_a_repr_can_be_read(self) -> None:
        assert repr(primary()) == (
            "<ServerDescription a:1 RSPrimary of set 'rs', round trip 10.0 ms>"
        )
        down = ServerDescription(("::1", 1), error=AutoReconnect("no route"))
        assert repr(down) == "<ServerDescription [::1]:1 Unknown, error=AutoReconnect('no route')>"

    def test_what_is_only_known_here_does_not_make_it_another(self) -> None:
        one, other = primary(rtt_s=0.01), primary(rtt_s=0.5)
        assert one == other
        assert primary(tags={"dc": "ny"}) != primary()
        assert ServerDescription(A, error=AutoReconnect("x")) == ServerDescription(
            A, error=AutoReconnect("x")
        )
        assert ServerDescription(A, error=AutoReconnect("x")) != ServerDescription(A)
        assert primary() != object()

    @pytest.mark.parametrize(
        "date",
        [
            datetime.datetime(1970, 1, 1, 0, 0, 5),
            datetime.datetime(1970, 1, 1, 0, 0, 5, tzinfo=datetime.timezone.utc),
            DatetimeMS(5000),
            5000,
        ],
    )
    def test_a_date_in_any_form(self, date: Any) -> None:
        assert primary(lastWrite={"lastWriteDate": date}).last_write_date == 5.0

    @pytest.mark.parametrize(
        "odd", [None, "x", [], {"lastWriteDate": "x"}, {"lastWriteDate": 1e999}]
    )
    def test_a_date_that_is_none(self, odd: Any) -> None:
        assert primary(lastWrite=odd).last_write_date is None

    def test_fields_of_a_strange_type_do_no_harm(self) -> None:
        odd = primary(electionId="7", setVersion="x", tags=5, topologyVersion=7)
        assert odd.election_id is odd.set_version is odd.topology_version is None
        assert odd.tags == {}
        assert topology(odd).topology_type_name == "ReplicaSetWithPrimary"

    def test_an_unknown_server_has_no_round_trip_time(self) -> None:
        assert ServerDescription(A, round_trip_time=1.0).round_trip_time is None
        assert primary().with_error(AutoReconnect("x")).round_trip_time is None


@pytest.mark.parametrize(
    ("first", "second", "older", "not_newer"),
    [
        (None, None, False, False),
        ({"processId": 1, "counter": 1}, None, False, False),
        (None, {"processId": 1, "counter": 1}, False, False),
        ({"processId": 1, "counter": 1}, {"processId": 1, "counter": 2}, True, True),
        ({"processId": 1, "counter": 2}, {"processId": 1, "counter": 2}, False, True),
        ({"processId": 1, "counter": 1}, {"processId": 2, "counter": 2}, False, False),
        ({"processId": 1, "counter": "x"}, {"processId": 1, "counter": 2}, False, False),
        (7, {"processId": 1, "counter": 2}, False, False),
        ({"processId": 1, "counter": 2}, ["x"], False, False),
    ],
)
def test_topology_versions(first: Any, second: Any, older: bool, not_newer: bool) -> None:
    assert is_older(first, second) == older
    assert is_older(first, second, or_equal=True) == not_newer


class TestTopologyDescription:
    def test_news_of_a_stranger_is_none(self) -> None:
        assert updated_topology_description(WHOLE, primary(("z", 9))) is WHOLE

    def test_old_news_is_none(self) -> None:
        process = ObjectId()
        newer = topology(primary(topologyVersion={"processId": process, "counter": 5}))
        old = secondary(A, topologyVersion={"processId": process, "counter": 4})
        assert updated_topology_description(newer, old) is newer

    def test_a_repr_names_every_server(self) -> None:
        text = repr(WHOLE)
        assert text.startswith("<TopologyDescription ReplicaSetWithPrimary 'rs', servers: [")
        assert all(name in text for name in ("a:1 RSPrimary", "b:2 RSSecondary", "c:3 RSSecondary"))

    def test_elections_of_mixed_kinds_do_no_harm(self) -> None:
        first = topology(primary(electionId=ObjectId(), setVersion=1))
        after = updated_topology_description(first, primary(B, electionId=None, setVersion=None))
        assert after.topology_type_name in ("ReplicaSetWithPrimary", "ReplicaSetNoPrimary")

    def test_the_last_server_may_go(self) -> None:
        alone = initial_topology([A, B], replica_set="rs")
        alone = updated_topology_description(alone, ServerDescription(A, HelloReply(dict(WIRE))))
        alone = updated_topology_description(alone, ServerDescription(B, HelloReply(dict(WIRE))))
        assert alone.server_descriptions() == {}
        assert suitable_servers(alone, ReadPreference.NEAREST) == []


class TestErrorEffects:
    def test_a_closed_connection_makes_the_server_unknown_and_clears_its_pool(self) -> None:
        found = effect(AutoReconnect("closed"))
        assert found.description.server_type_name == "Unknown"
        assert (found.clears_pool, found.checks_now, found.cancels_check) == (True, False, True)

    def test_a_slow_operation_means_nothing(self) -> None:
        assert effect(NetworkTimeout("slow")).description is None
        assert not effect(NetworkTimeout("slow")).clears_pool

    def test_a_silent_login_means_that_the_server_is_gone(self) -> None:
        assert effect(NetworkTimeout("slow"), handshake_done=False).clears_pool

    def test_a_refused_login_clears_the_pool(self) -> None:
        assert effect(OperationFailure("no", 18, {"ok": 0, "code": 18}), handshake_done=False)
        found = effect(OperationFailure("no", 18, {"ok": 0, "code": 18}), handshake_done=False)
        assert found.clears_pool
        assert found.description.server_type_name == "Unknown"

    def test_an_error_of_the_command_means_nothing(self) -> None:
        assert effect(OperationFailure("no", 11000, {"ok": 0, "code": 11000})).description is None

    def test_a_step_down_keeps_connections_and_a_shutdown_does_not(self) -> None:
        for code, clears in ((10107, False), (189, False), (91, True), (11600, True)):
            found = effect(NotPrimaryError("x", {"ok": 0, "code": code, "errmsg": "x"}))
            assert found.description is not None
            assert (found.clears_pool, found.checks_now) == (clears, True)

    def test_a_concern_s_error_counts_and_single_statements_do_not(self) -> None:
        concern = {"ok": 1, "writeConcernError": {"code": 91, "errmsg": "x"}}
        assert effect(OperationFailure("x", 91, concern)).clears_pool
        single = {"ok": 1, "writeErrors": [{"code": 91, "errmsg": "x"}]}
        assert not effect(OperationFailure("x", 91, single)).clears_pool

    def test_an_overloaded_server_stays(self) -> None:
        error = AutoReconnect("closed")
        error._add_error_label("SystemOverloadedError")
        assert effect(error, handshake_done=False).description is None

    def test_an_error_from_before_the_last_one_means_nothing(self) -> None:
        assert effect(AutoReconnect("x"), generation=0, pool_generation=1).description is None

    def test_a_load_balancer_stays_what_it_is(self) -> None:
        balanced = initial_topology([A], load_balanced=True)
        found = effect(AutoReconnect("x"), balanced)
        assert found.description is None
        assert found.clears_pool

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            ({"code": 10107, "errmsg": ""}, True),
            ({"code": 5, "errmsg": "not master"}, False),
            ({"errmsg": "not master"}, True),
            ({"errmsg": "node is recovering"}, True),
            ({"code": 0, "errmsg": "not master or secondary"}, True),
            ({"errmsg": 7}, False),
            ({}, False),
        ],
    )
    def test_codes_go_before_messages(self, reply: dict[str, Any], told: bool) -> None:
        assert is_state_change(reply) == told


class TestSelection:
    def test_an_application_chooses_among_the_suitable(self) -> None:
        seen: list[str] = []

        def only_c(servers: list[ServerDescription]) -> list[ServerDescription]:
            seen.extend(each.server_type_name for each in servers)
            return [each for each in servers if each.address == C]

        found = suitable_servers(WHOLE, Secondary(), server_selector=only_c)
        assert [each.address for each in found] == [C]
        assert seen == ["RSSecondary", "RSSecondary"]
        assert suitable_servers(WHOLE, Secondary(), server_selector=lambda _: []) == []

    def test_an_application_is_not_asked_to_choose_among_none(self) -> None:
        def first(servers: list[ServerDescription]) -> list[ServerDescription]:
            return [min(servers, key=lambda each: each.address)]

        nobody = initial_topology([A, B, C], replica_set="rs")
        assert suitable_servers(nobody, Secondary(), server_selector=first) == []
        found = suitable_servers(WHOLE, Secondary(), server_selector=first)
        assert [each.address for each in found] == [B]

    def test_who_is_avoided_is_taken_where_nobody_else_is(self) -> None:
        found = suitable_servers(WHOLE, ReadPreference.NEAREST, deprioritized=[A, B])
        assert [each.address for each in found] == [C]
        assert len(suitable_servers(WHOLE, ReadPreference.NEAREST, deprioritized=[A, B, C])) == 3
        assert [each.address for each in suitable_servers(WHOLE, None, deprioritized=[A])] == [A]

    def test_too_small_a_staleness_says_why(self) -> None:
        with pytest.raises(ConfigurationError, match="maxStalenessSeconds=89 is less than 90"):
            suitable_servers(WHOLE, Nearest(max_staleness=89))
        with pytest.raises(ConfigurationError, match=r"together \(130 seconds\)"):
            suitable_servers(WHOLE, Nearest(max_staleness=100), heartbeat_s=120.0)

    def test_tags_with_values_that_cannot_be_hashed(self) -> None:
        known = topology(primary(), secondary(B, tags={"dc": ["ny"]}))
        found = suitable_servers(known, Secondary([{"dc": ["ny"]}]))
        assert [each.address for each in found] == [B]

    def test_an_idle_server_is_chosen_more_often_and_the_busiest_of_all_never(self) -> None:
        load = {A: 5, B: 0, C: 5}
        servers = WHOLE.known_servers
        chosen = [choose(servers, load.__getitem__, random.Random(n)).address for n in range(300)]
        assert 150 < chosen.count(B) < 250
        load = {A: 9, B: 0, C: 5}
        chosen = [choose(servers, load.__getitem__, random.Random(n)).address for n in range(100)]
        assert A not in chosen


class TestRoundTripTime:
    def test_the_minimum_is_of_the_last_ten(self) -> None:
        rtt = RoundTripTime()
        assert (rtt.average, rtt.minimum) == (None, 0.0)
        rtt.add(0.5)
        assert (rtt.average, rtt.minimum) == (0.5, 0.0)
        for _ in range(9):
            rtt.add(2.0)
        assert rtt.minimum == 0.5
        rtt.add(2.0)
        assert rtt.minimum == 2.0
        rtt.reset()
        assert rtt.average is None


def test_pymongo_s_numbers() -> None:
    from mongokey.server_type import SERVER_TYPE
    from mongokey.topology_description import TOPOLOGY_TYPE

    for name, number in zip(SERVER_TYPE._fields, SERVER_TYPE, strict=True):
        assert SERVER_TYPE_NAMES[number] == name
    for name, number in zip(TOPOLOGY_TYPE._fields, TOPOLOGY_TYPE, strict=True):
        assert TOPOLOGY_TYPE_NAMES[number] == name
    assert primary().server_type == SERVER_TYPE.RSPrimary
    assert WHOLE.topology_type == TOPOLOGY_TYPE.ReplicaSetWithPrimary


# -- the first description is made once for equal seeds ------------------------------------------


def test_a_first_description_shows_the_addresses_that_were_given() -> None:
    """An Address equals a plain tuple, but only it prints as host:port."""
    plain = initial_topology([("same.example", 1)])
    made = initial_topology([Address(("same.example", 1))])
    assert [type(each) for each in plain.server_descriptions()] == [tuple]
    assert [type(each) for each in made.server_descriptions()] == [Address]


def test_later_deployments_are_kept_too() -> None:
    for number in range(40):
        initial_topology([Address((f"deployment{number}.example", 1))])
    late = [Address(("late.example", 1))]
    assert initial_topology(late) is initial_topology(late)

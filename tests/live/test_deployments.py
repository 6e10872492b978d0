"""What a driver makes of a deployment: whom it finds, whom it asks, and what it does when they go.

`_fleet` says which drivers are tested; each test needs the names that PyMongo has.
"""

from __future__ import annotations

import time

import pytest

from tests.live._fleet import DRIVERS, Deployment, addresses, counts, discovered

pytestmark = pytest.mark.live


# Whom it finds


@DRIVERS
def test_a_ghost_among_the_seeds_does_no_harm(made: Deployment) -> None:
    fleet = made.fleet("primary", "ghost", "secondary")
    client = made.connect(fleet)
    discovered(fleet, client, 0, 2)
    client.fleet.seeds.insert_one({})
    assert fleet.wait_for(lambda: client.nodes == addresses(fleet, 0, 2))
    assert counts(fleet, "insert") == [1, 0, 0]


@DRIVERS
def test_members_of_another_set_are_left(made: Deployment) -> None:
    fleet, other = made.fleet(), made.fleet("primary", set_name="other")
    hosts = [other.address(0), fleet.address(2)]
    client = made.connect(fleet, fleet.uri(hosts=hosts))
    discovered(fleet, client, 0, 1, 2)
    client.fleet.seeds.insert_one({})
    assert fleet.wait_for(lambda: client.nodes == addresses(fleet, 0, 1, 2))
    assert counts(other, "insert") == [0]


@DRIVERS
def test_another_sets_members_alone_are_nobody(made: Deployment) -> None:
    other = made.fleet("primary", set_name="other")
    client = made.connect(other, replicaSet="fleet", serverSelectionTimeoutMS=300)
    with pytest.raises(made.errors.ServerSelectionTimeoutError):
        client.admin.command("ping")
    assert client.nodes == frozenset()


@DRIVERS
def test_a_member_that_is_renamed_is_found_by_its_new_name(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet)
    discovered(fleet, client, 0, 1, 2)
    for member in (1, 0):
        fleet.reconfigure(member, host="localhost")
        renamed = ("localhost", fleet.ports[member])
        assert fleet.wait_for(lambda: renamed in client.nodes)  # noqa: B023
        assert not addresses(fleet, member) & client.nodes
    client.fleet.renamed.insert_one({})
    assert client.primary == ("localhost", fleet.ports[0])


@DRIVERS
def test_a_member_that_is_removed_is_asked_no_more(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet)
    discovered(fleet, client, 0, 1, 2)
    reader = client.get_database("fleet", read_preference=made.preferences.Secondary()).removed
    for _ in range(20):
        reader.find_one()
    fleet.remove(2)
    assert fleet.wait_for(lambda: client.nodes == addresses(fleet, 0, 1))
    before = counts(fleet)[2]
    for _ in range(20):
        reader.find_one()
    assert counts(fleet)[2] == before
    assert fleet.wait_for(lambda: fleet.member(2)["connections"] == 0)
    added = fleet.add("secondary")
    assert fleet.wait_for(lambda: client.nodes == addresses(fleet, 0, 1, added))


@DRIVERS
def test_a_member_that_nothing_reaches_holds_nobody_up(made: Deployment) -> None:
    fleet = made.fleet()
    fleet.black_hole(1)
    client = made.connect(fleet, fleet.uri(seeds=[1, 2]))
    started = time.monotonic()
    client.fleet.holes.insert_one({})
    assert time.monotonic() - started < 5
    reader = client.get_database("fleet", read_preference=made.preferences.Secondary()).holes
    for _ in range(10):
        reader.find_one()
    assert counts(fleet) == [0, 0, 10]
    fleet.resume(1)


@DRIVERS
def test_a_selection_that_fails_names_every_server(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, heartbeatFrequencyMS=500, serverSelectionTimeoutMS=2500)
    discovered(fleet, client, 0, 1, 2)
    fleet.step_down()
    fleet.kill(2)
    # Else the insert may still meet the old primary, and raises what that one says.
    assert fleet.wait_for(lambda: client.primary is None)
    with pytest.raises(made.errors.ServerSelectionTimeoutError) as caught:
        client.fleet.nobody.insert_one({})
    for member in range(3):
        assert str(fleet.ports[member]) in str(caught.value)


@DRIVERS
@pytest.mark.parametrize(("streaming", "mode"), [(False, "auto"), (True, "poll")])
def test_servers_that_do_not_stream_are_asked_now_and_then(
    made: Deployment, streaming: bool, mode: str
) -> None:
    fleet = made.fleet(streaming=streaming)
    client = made.connect(fleet, heartbeatFrequencyMS=500, serverMonitoringMode=mode)
    discovered(fleet, client, 0, 1, 2)
    fleet.elect(1)
    assert fleet.wait_for(lambda: client.primary == ("127.0.0.1", fleet.ports[1]))
    client.fleet.polled.insert_one({})
    # One connection to watch each server: what takes a hello measures the round trip too.
    assert fleet.member(2)["connections"] == 1


@DRIVERS
def test_a_set_in_which_nobody_is_primary_yet_gets_one(made: Deployment) -> None:
    fleet = made.fleet("secondary", "secondary")
    client = made.connect(fleet, replicaSet="fleet")
    reader = client.get_database("fleet", read_preference=made.preferences.SecondaryPreferred())
    reader.early.find_one()
    assert client.primary is None
    fleet.elect(1)
    client.fleet.early.insert_one({})
    assert client.primary == ("127.0.0.1", fleet.ports[1])


# Whom it asks


@DRIVERS
def test_reads_go_where_the_read_preference_says(made: Deployment) -> None:
    fleet = made.fleet("primary", "secondary", "passive", "hidden", "arbiter")
    client = made.connect(fleet, localThresholdMS=2000)
    discovered(fleet, client, 0, 1, 2)
    preferences = made.preferences
    for preference, members in (
        (preferences.Primary(), {0}),
        (preferences.PrimaryPreferred(), {0}),
        (preferences.Secondary(), {1, 2}),
        (preferences.SecondaryPreferred(), {1, 2}),
        (preferences.Nearest(), {0, 1, 2}),
    ):
        before = counts(fleet)
        reader = client.get_database("fleet", read_preference=preference).preferences
        for _ in range(40):
            reader.find_one()
        asked = [now - then for now, then in zip(counts(fleet), before, strict=True)]
        assert {member for member in range(5) if asked[member]} == members, (preference, asked)
        assert sum(asked) == 40
    modes = {each["mode"] for each in fleet.log(1) if each["name"] == "find"}
    assert modes <= {"secondary", "secondaryPreferred", "nearest"}


@DRIVERS
def test_reads_go_where_the_tags_say(made: Deployment) -> None:
    fleet = made.fleet(
        {"role": "primary", "tags": {"dc": "ny"}},
        {"role": "secondary", "tags": {"dc": "ny", "disk": "ssd"}},
        {"role": "secondary", "tags": {"dc": "sf"}},
    )
    client = made.connect(fleet, localThresholdMS=2000, serverSelectionTimeoutMS=300)
    discovered(fleet, client, 0, 1, 2)
    preferences = made.preferences
    for preference, members in (
        (preferences.Secondary([{"dc": "sf"}]), {2}),
        (preferences.Secondary([{"dc": "ny", "disk": "ssd"}]), {1}),
        (preferences.Secondary([{"dc": "none"}, {"dc": "ny"}]), {1}),
        (preferences.Secondary([{"dc": "none"}, {}]), {1, 2}),
        (preferences.SecondaryPreferred([{"dc": "none"}]), {0}),
        (preferences.Nearest([{"dc": "ny"}]), {0, 1}),
    ):
        before = counts(fleet)
        reader = client.get_database("fleet", read_preference=preference).tags
        for _ in range(30):
            reader.find_one()
        asked = [now - then for now, then in zip(counts(fleet), before, strict=True)]
        assert {member for member in range(3) if asked[member]} == members, (preference, asked)
    nobody = client.get_database("fleet", read_preference=preferences.Secondary([{"dc": "none"}]))
    with pytest.raises(made.errors.ServerSelectionTimeoutError):
        nobody.tags.find_one()


@DRIVERS
def test_a_member_that_is_stale_or_far_is_not_asked(made: Deployment) -> None:
    fleet = made.fleet()
    fleet.lag(1, 300)
    client = made.connect(fleet, heartbeatFrequencyMS=500, localThresholdMS=2000)
    discovered(fleet, client, 0, 1, 2)
    fresh = made.preferences.Secondary(max_staleness=90)
    for _ in range(20):
        client.get_database("fleet", read_preference=fresh).stale.find_one()
    assert counts(fleet) == [0, 0, 20]
    fleet.slow(2, 150)
    near = made.connect(fleet, localThresholdMS=50)
    discovered(fleet, near, 0, 1, 2)
    for _ in range(10):
        near.get_database("fleet", read_preference=made.preferences.Secondary()).stale.find_one()
    assert counts(fleet) == [0, 10, 20]


@DRIVERS
def test_a_cursor_is_read_where_it_was_opened(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, localThresholdMS=2000)
    collection = client.fleet.opened
    collection.drop()
    collection.insert_many([{"_id": number} for number in range(20)])
    discovered(fleet, client, 0, 1, 2)
    reader = client.get_database("fleet", read_preference=made.preferences.Nearest()).opened
    cursors = [reader.find(batch_size=3) for _ in range(6)]
    for batch in zip(*cursors, strict=True):
        assert len({each["_id"] for each in batch}) == 1


@DRIVERS
def test_a_direct_connection_asks_one_member(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, fleet.uri(seeds=[1], directConnection=True))
    client.fleet.direct.find_one()
    assert counts(fleet) == [0, 1, 0]
    assert client.nodes == addresses(fleet, 1)
    with pytest.raises(made.errors.NotPrimaryError):
        client.fleet.direct.insert_one({})


# What it does when they go


@DRIVERS
def test_what_a_step_down_refuses_is_told_where_it_may_not_be_retried(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, retryWrites=False)
    client.fleet.steps.insert_one({})
    accepted = fleet.member(0)["accepted"]
    fleet.fail_point(0, ["insert"], errorCode=10107)
    with pytest.raises(made.errors.NotPrimaryError) as caught:
        client.fleet.steps.insert_one({})
    assert caught.value.details["code"] == 10107
    # The error says that the state is newer than it is: the server is looked at anew.
    client.fleet.steps.insert_one({})
    # Since MongoDB 4.2 connections outlive a step-down.
    fleet.step_down()
    fleet.elect(0)
    client.fleet.steps.insert_one({})
    assert fleet.member(0)["accepted"] <= accepted + 2


@DRIVERS
def test_a_read_is_retried_on_another_secondary(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, localThresholdMS=2000, heartbeatFrequencyMS=500)
    discovered(fleet, client, 0, 1, 2)
    reader = client.get_database("fleet", read_preference=made.preferences.Secondary()).retried
    failed = 0
    for _ in range(10):
        before = counts(fleet)
        fleet.fail_point(2, ["find"], closeConnection=True)
        reader.find_one()
        asked = [now - then for now, then in zip(counts(fleet), before, strict=True)]
        assert asked in ([0, 1, 0], [0, 1, 1])
        failed += asked[2]
        assert fleet.wait_for(lambda: client.secondaries == addresses(fleet, 1, 2))
    assert failed > 0
    fleet.clear_fail_point(2)  # the last one, where it was not asked
    fleet.kill(1)
    for _ in range(10):
        reader.find_one()


@DRIVERS
def test_connections_that_fail_are_tried_again(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, heartbeatFrequencyMS=500)
    discovered(fleet, client, 0, 1, 2)
    fleet.fail_connects(0, 1)
    client.fleet.connects.insert_one({})
    fleet.close_connections(0)
    client.fleet.connects.insert_one({})


@DRIVERS
def test_every_mongos_is_asked_and_one_that_ends_is_not_missed(made: Deployment) -> None:
    fleet = made.fleet("mongos", "mongos", "mongos")
    client = made.connect(fleet, localThresholdMS=2000)
    collection = client.fleet.sharded
    collection.drop()
    assert fleet.wait_for(lambda: client.nodes == addresses(fleet, 0, 1, 2))
    secondary = client.get_database("fleet", read_preference=made.preferences.Secondary()).sharded
    for number in range(60):
        collection.insert_one({"_id": number})
        secondary.find_one()
    assert min(counts(fleet, "insert")) > 5
    # A mongos is told what the client wants; it chooses.
    modes = {each["mode"] for each in fleet.log(0) if each["name"] == "find"}
    assert modes == {"secondary"}
    fleet.kill(1)
    for number in range(60, 90):
        collection.insert_one({"_id": number})
    fleet.restart(1)
    fleet.cut_writes(0, 1)
    fleet.cut_writes(2, 1)
    for number in range(90, 120):
        collection.insert_one({"_id": number})
        time.sleep(0.01)
    assert collection.count_documents({}) == 120


@DRIVERS
def test_what_fails_on_one_mongos_is_retried_on_another(made: Deployment) -> None:
    fleet = made.fleet("mongos", "mongos")
    client = made.connect(fleet, localThresholdMS=2000)
    client.admin.command("ping")
    assert fleet.wait_for(lambda: client.nodes == addresses(fleet, 0, 1))
    client.fleet.sharded.find_one()
    before = counts(fleet)
    for member in range(2):
        fleet.fail_point(member, ["find"], errorCode=6)
    with pytest.raises(made.errors.PyMongoError):
        client.fleet.sharded.find_one()
    # Both fail once: the second attempt was the other's.
    assert [now - then for now, then in zip(counts(fleet), before, strict=True)] == [1, 1]


# Behind a load balancer


@DRIVERS
def test_a_cursor_stays_with_the_service_that_opened_it(made: Deployment) -> None:
    fleet = made.fleet("load_balancer")
    client = made.connect(fleet, loadBalanced=True)
    collection = client.fleet.balanced
    collection.drop()
    collection.insert_many([{"_id": number} for number in range(20)])
    for _ in range(3):
        cursors = [collection.find(batch_size=4) for _ in range(4)]
        for batch in zip(*cursors, strict=True):
            assert len({each["_id"] for each in batch}) == 1
    left = [collection.find(batch_size=4) for _ in range(2)]
    for cursor in left:
        next(cursor)
        cursor.close()
    assert fleet.wait_for(lambda: counts(fleet, "killCursors") == [2])
    # Nobody monitors what is behind a load balancer.
    status = fleet.member(0)
    assert status["commands"]["hello"] == status["accepted"]


@DRIVERS
def test_an_error_of_one_service_leaves_the_others_connections(made: Deployment) -> None:
    fleet = made.fleet("load_balancer")
    client = made.connect(fleet, loadBalanced=True, retryReads=False)
    collection = client.fleet.balanced
    collection.drop()
    collection.insert_many([{"_id": number} for number in range(20)])

    def two_at_once() -> None:
        cursors = [collection.find(batch_size=4) for _ in range(2)]
        for cursor in cursors:
            next(cursor)
        for cursor in cursors:
            cursor.close()

    two_at_once()
    before = fleet.member(0)["accepted"]
    assert before == 2
    two_at_once()
    assert fleet.member(0)["accepted"] == before
    fleet.fail_point(0, ["find"], closeConnection=True)
    with pytest.raises(made.errors.AutoReconnect):
        collection.find_one()
    two_at_once()
    assert fleet.member(0)["accepted"] == before + 1


@DRIVERS
def test_load_balancing_that_the_server_does_not_know_is_refused(made: Deployment) -> None:
    fleet = made.fleet("mongos")
    client = made.connect(fleet, loadBalanced=True, serverSelectionTimeoutMS=2000)
    with pytest.raises(made.errors.ConfigurationError, match="load balancing"):
        client.fleet.balanced.find_one()

"""The fleet is right by PyMongo's measure, so that it can judge our client: roles and elections."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from pymongo.errors import AutoReconnect, OperationFailure, ServerSelectionTimeoutError
from pymongo.read_preferences import ReadPreference, Secondary

from tests.live._fleet import EXHAUST_ALLOWED, MORE_TO_COME, RawClient, ask
from tests.servers.certificates import Authority
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fleet(open_secantus: SecantusServer) -> Iterator[Fleet]:
    """A primary and two secondaries."""
    with Fleet(open_secantus) as fleet:
        yield fleet


def connect(fleet: Fleet, user: str | None = None, **options: Any) -> pymongo.MongoClient[Any]:
    """PyMongo, with a heartbeat so slow that only streaming tells of changes in time."""
    options = {"replicaSet": fleet.set_name, "heartbeatFrequencyMS": 60_000, **options}
    options.setdefault("serverSelectionTimeoutMS", 10_000)
    return pymongo.MongoClient(fleet.uri(user), **options)


def roles(client: pymongo.MongoClient[Any]) -> dict[int, str]:
    servers = client.topology_description.server_descriptions()
    return {port: each.server_type_name for (_, port), each in servers.items()}


# Roles


def test_a_set_is_discovered_from_one_seed(open_secantus: SecantusServer) -> None:
    members = ["primary", "secondary", "passive", "arbiter", "hidden"]
    with (
        Fleet(open_secantus, members) as fleet,
        pymongo.MongoClient(fleet.uri(seeds=[1]), replicaSet="fleet") as client,
    ):
        client.admin.command("ping")
        primary, secondary, passive, arbiter, _hidden = fleet.ports
        expected = {
            primary: "RSPrimary",
            secondary: "RSSecondary",
            passive: "RSSecondary",
            arbiter: "RSArbiter",
        }
        assert fleet.wait_for(lambda: roles(client) == expected), roles(client)
        assert client.arbiters == {("127.0.0.1", arbiter)}
        assert client.topology_description.logical_session_timeout_minutes == 30


def test_a_hello_has_what_a_member_says_of_itself(open_secantus: SecantusServer) -> None:
    members = [
        "primary",
        {"role": "secondary", "tags": {"dc": "ny"}, "host": "localhost"},
        "hidden",
        "arbiter",
        "other",
    ]
    with Fleet(open_secantus, members) as fleet:
        hellos = [ask(fleet, member, {"hello": 1, "helloOk": True}) for member in range(5)]
    hosts = [f"127.0.0.1:{fleet.ports[0]}", f"localhost:{fleet.ports[1]}"]
    hosts.append(f"127.0.0.1:{fleet.ports[4]}")
    for hello, member in zip(hellos, range(5), strict=True):
        assert hello["setName"] == "fleet"
        assert hello["hosts"] == hosts
        assert hello["arbiters"] == [f"127.0.0.1:{fleet.ports[3]}"]
        assert hello["primary"] == hosts[0]
        assert hello["isWritablePrimary"] is (member == 0)
        assert hello["secondary"] is (member in (1, 2))
        assert hello["helloOk"] is True
        assert hello["maxWireVersion"] == 25
        assert hello["logicalSessionTimeoutMinutes"] == 30
        assert isinstance(hello["connectionId"], int)
        assert isinstance(hello["topologyVersion"]["processId"], bson.ObjectId)
        assert hello["operationTime"] <= hello["$clusterTime"]["clusterTime"]
        assert ("electionId" in hello) is (member == 0)
        assert ("arbiterOnly" in hello) is (member == 3)
        assert ("hidden" in hello) is (member == 2)
    assert hellos[1]["me"] == hosts[1]
    assert hellos[1]["tags"] == {"dc": "ny"}
    assert len({hello["topologyVersion"]["processId"] for hello in hellos}) == 5


def test_legacy_hello_has_its_own_word_for_a_primary(fleet: Fleet) -> None:
    reply = ask(fleet, 0, {"isMaster": 1})
    assert reply["ismaster"] is True
    assert "isWritablePrimary" not in reply
    assert "helloOk" not in reply


def test_the_last_write_moves_with_writes_and_lags_where_told(fleet: Fleet) -> None:
    before = ask(fleet, 0, {"hello": 1})["lastWrite"]
    with connect(fleet) as client:
        client.fleet.moves.insert_one({})
        after = ask(fleet, 0, {"hello": 1})["lastWrite"]
        assert after["opTime"]["ts"] > before["opTime"]["ts"]
        fleet.lag(1, 120)
        lagging = ask(fleet, 1, {"hello": 1})["lastWrite"]["lastWriteDate"]
        assert 110 < (after["lastWriteDate"] - lagging).total_seconds() < 130
        # PyMongo asks each member anew, and chooses by it.
        near = Secondary(max_staleness=90)
        with connect(fleet, heartbeatFrequencyMS=500, read_preference=near) as reader:
            # Beside a primary alone does a lag mean anything: who is found first must not be the
            # lagging one, with none to compare it with.
            assert fleet.wait_for(lambda: len(roles(reader)) == 3 and None not in (reader.primary,))
            reader.fleet.moves.find_one()
            counts = [fleet.member(member)["commands"].get("find", 0) for member in range(3)]
        assert counts == [0, 0, 1]


def test_what_a_role_refuses(open_secantus: SecantusServer) -> None:
    insert = {"insert": "refused", "documents": [{}], "$db": "fleet"}
    find = {"find": "refused", "$db": "fleet"}
    by_secondary = {**find, "$readPreference": {"mode": "secondaryPreferred"}}
    with Fleet(open_secantus, ["primary", "secondary", "arbiter", "other"]) as fleet:
        for member, command, code in (
            (0, find, None),
            (1, insert, 10107),
            (1, find, 13435),
            (1, by_secondary, None),
            (2, by_secondary, 13436),
            (2, insert, 10107),
            (3, by_secondary, 13436),
            (3, {"ping": 1}, None),
        ):
            reply = ask(fleet, member, command)
            assert reply.get("code") == code, (member, command, reply)
            assert ("topologyVersion" in reply) is (code is not None)
            assert "errorLabels" not in reply
        retryable = {**insert, "lsid": {"id": bson.Binary(bytes(16), 4)}, "txnNumber": 1}
        reply = ask(fleet, 1, retryable)
        assert (reply["codeName"], reply["errorLabels"]) == (
            "NotWritablePrimary",
            ["RetryableWriteError"],
        )


def test_a_standalone_takes_no_transaction_number(open_secantus: SecantusServer) -> None:
    with (
        Fleet(open_secantus, ["standalone"]) as fleet,
        pymongo.MongoClient(fleet.uri()) as client,
    ):
        client.fleet.alone.insert_one({})
        assert roles(client) == {fleet.ports[0]: "Standalone"}
        numbered = {"lsid": {"id": bson.Binary(bytes(16), 4)}, "txnNumber": 1}
        reply = ask(fleet, 0, {"insert": "alone", "documents": [{}], **numbered, "$db": "fleet"})
        assert reply["code"] == 20


def test_several_mongos_share_the_work(open_secantus: SecantusServer) -> None:
    with (
        Fleet(open_secantus, ["mongos", "mongos"]) as fleet,
        pymongo.MongoClient(fleet.uri()) as client,
    ):
        collection = client.fleet.sharded
        collection.drop()
        assert fleet.wait_for(lambda: set(roles(client).values()) == {"Mongos"})
        for number in range(60):
            collection.insert_one({"_id": number})
        assert collection.count_documents({}) == 60
        for member in range(2):
            assert fleet.member(member)["commands"]["insert"] > 5


def test_a_load_balancer_leads_to_several_services(open_secantus: SecantusServer) -> None:
    with Fleet(open_secantus, ["load_balancer"]) as fleet:
        asked = {"hello": 1, "loadBalanced": True}
        services = [ask(fleet, 0, asked)["serviceId"] for _ in range(4)]
        assert services[:2] == services[2:]
        assert services[0] != services[1]
        assert "serviceId" not in ask(fleet, 0, {"hello": 1})
        with pymongo.MongoClient(fleet.uri(loadBalanced=True)) as client:
            collection = client.fleet.balanced
            collection.drop()
            collection.insert_many([{"_id": number} for number in range(9)])
            # Two cursors at once have two connections, each leading elsewhere.
            one, other = (collection.find(batch_size=2) for _ in range(2))
            pairs = list(zip(one, other, strict=True))
            assert [a["_id"] for a, _ in pairs] == list(range(9))
            assert [b["_id"] for _, b in pairs] == list(range(9))


def test_a_cursor_lives_on_one_server(fleet: Fleet) -> None:
    with connect(fleet) as client:
        client.fleet.cursors.drop()
        client.fleet.cursors.insert_many([{} for _ in range(5)])
    find = {"find": "cursors", "batchSize": 2, "$db": "fleet"}
    with RawClient(fleet.ports[0]) as owner, RawClient(fleet.ports[1]) as another:
        cursor = owner.ask(find)["cursor"]["id"]
        more = {"getMore": bson.Int64(cursor), "collection": "cursors", "$db": "fleet"}
        assert another.ask(more)["code"] == 43
        close = {"killCursors": "cursors", "cursors": [bson.Int64(cursor)], "$db": "fleet"}
        assert another.ask(close)["cursorsNotFound"] == [cursor]
        assert len(owner.ask(more)["cursor"]["nextBatch"]) == 3


def test_an_exhaust_cursor_is_passed_on(fleet: Fleet) -> None:
    with connect(fleet) as client:
        client.fleet.exhausted.drop()
        client.fleet.exhausted.insert_many([{"_id": number} for number in range(7)])
    with RawClient(fleet.ports[0]) as raw:
        cursor = raw.ask({"find": "exhausted", "batchSize": 2, "$db": "fleet"})["cursor"]
        found = cursor["firstBatch"]
        more = {"getMore": bson.Int64(cursor["id"]), "collection": "exhausted", "batchSize": 2}
        raw.send({**more, "$db": "fleet"}, EXHAUST_ALLOWED)
        replies = 0
        while True:
            found += raw.receive()["cursor"]["nextBatch"]
            replies += 1
            if not raw.flags & MORE_TO_COME:
                break
        assert [each["_id"] for each in found] == list(range(7))
        assert replies > 2
        assert raw.ask({"ping": 1})["ok"] == 1


# Streaming


def test_a_waiting_hello_is_answered_when_the_state_changes(fleet: Fleet) -> None:
    with RawClient(fleet.ports[1]) as client:
        version = client.ask({"hello": 1})["topologyVersion"]
        waiting = {"hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 20_000}
        client.send(waiting)
        fleet.step_down()
        started = time.monotonic()
        reply = client.receive()
        assert time.monotonic() - started < 5
        assert "primary" not in reply
        assert reply["topologyVersion"]["counter"] > version["counter"]
        assert not client.flags & MORE_TO_COME
        # One that is behind is answered at once, one that is up to date when its time is over.
        assert client.ask(waiting)["ok"] == 1
        waiting = {**waiting, "topologyVersion": reply["topologyVersion"], "maxAwaitTimeMS": 300}
        started = time.monotonic()
        client.ask(waiting)
        assert time.monotonic() - started > 0.25


def test_an_exhaust_hello_goes_on_by_itself(fleet: Fleet) -> None:
    with RawClient(fleet.ports[2]) as client:
        version = client.ask({"hello": 1})["topologyVersion"]
        command = {"hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 100}
        previous = client.send(command, EXHAUST_ALLOWED)
        for _ in range(3):
            reply = client.receive()
            assert client.flags & MORE_TO_COME
            assert client.response_to == previous
            assert reply["topologyVersion"] == version
            previous = client.reply_id
        fleet.elect(2)
        while not reply["isWritablePrimary"]:
            reply = client.receive()
        assert reply["electionId"] > bson.ObjectId("7fffffff0000000000000001")


def test_a_hello_that_waits_must_say_for_what(fleet: Fleet) -> None:
    assert ask(fleet, 0, {"hello": 1, "maxAwaitTimeMS": 5})["code"] == 31368


def test_without_streaming_there_is_no_topology_version(open_secantus: SecantusServer) -> None:
    with Fleet(open_secantus, streaming=False) as fleet:
        assert "topologyVersion" not in ask(fleet, 0, {"hello": 1})
        insert = {"insert": "refused", "documents": [{}]}
        assert "topologyVersion" not in ask(fleet, 1, insert)
        with connect(fleet, heartbeatFrequencyMS=500) as client:
            client.fleet.polled.insert_one({})
            fleet.elect(1)
            assert fleet.wait_for(lambda: client.primary == ("127.0.0.1", fleet.ports[1]))


# Elections and configuration


def test_pymongo_follows_a_step_down_at_once(fleet: Fleet) -> None:
    with connect(fleet) as client:
        collection = client.fleet.failover
        collection.insert_one({})
        # The pool's, the monitor's, and the one that measures round trips.
        assert fleet.wait_for(lambda: fleet.member(0)["accepted"] == 3)
        before = fleet.member(0)["accepted"]
        fleet.step_down()
        fleet.elect(1)
        started = time.monotonic()
        collection.insert_one({})
        assert time.monotonic() - started < 5
        assert client.primary == ("127.0.0.1", fleet.ports[1])
        # Since MongoDB 4.2 a step-down closes no connection.
        assert fleet.member(0)["accepted"] == before


def test_a_client_can_tell_the_primary_to_step_down(fleet: Fleet) -> None:
    assert ask(fleet, 1, {"replSetStepDown": 5, "force": True})["code"] == 10107
    assert ask(fleet, 0, {"replSetStepDown": 5, "force": True})["ok"] == 1
    assert fleet.primary is None
    fleet.elect(1)
    with connect(fleet) as client:
        client.fleet.told.insert_one({})


def test_a_set_elects_by_itself(open_secantus: SecantusServer) -> None:
    with Fleet(open_secantus, election_ms=100) as fleet, connect(fleet) as client:
        collection = client.fleet.elections
        collection.insert_one({})
        for _ in range(2):
            old = fleet.primary
            assert old is not None
            fleet.kill(old)
            collection.insert_one({})
            assert fleet.primary not in (None, old)
            fleet.restart(old)
        fleet.step_down()
        collection.insert_one({})


def test_a_newer_primary_is_believed_and_an_unaware_one_is_not(fleet: Fleet) -> None:
    with connect(fleet) as client:
        client.fleet.unaware.drop()
        client.fleet.unaware.insert_one({"n": 1})
        newest = {"find": "unaware", "sort": {"n": -1}, "limit": 1, "$db": "fleet"}
        assert ask(fleet, 0, newest)["cursor"]["firstBatch"][0]["n"] == 1
        fleet.elect(1, unaware=True)
        assert fleet.wait_for(lambda: client.primary == ("127.0.0.1", fleet.ports[1]))
        old, new = (ask(fleet, member, {"hello": 1}) for member in (0, 1))
        assert old["isWritablePrimary"] is new["isWritablePrimary"] is True
        assert old["electionId"] < new["electionId"]
        client.fleet.unaware.insert_one({"n": 2})
        assert fleet.member(1)["commands"]["insert"] == 1
        # The old one knows nothing of what has been written since.
        assert ask(fleet, 0, newest)["cursor"]["firstBatch"][0]["n"] == 1
        assert ask(fleet, 1, newest)["cursor"]["firstBatch"][0]["n"] == 2
        with RawClient(fleet.ports[0]) as raw:
            raw.send({"insert": "unaware", "documents": [{"n": 3}], "$db": "fleet"})
            assert fleet.wait_for(lambda: fleet.member(0)["commands"]["insert"] == 2)
            fleet.inform(0)
            assert raw.receive()["code"] == 11602
        assert client.fleet.unaware.count_documents({"n": 3}) == 0


def test_members_come_and_go_and_change_their_names(fleet: Fleet) -> None:
    with connect(fleet) as client:
        client.admin.command("ping")
        version = ask(fleet, 0, {"hello": 1})["setVersion"]
        added = fleet.add(tags={"dc": "far"})
        assert fleet.wait_for(lambda: ("127.0.0.1", fleet.ports[added]) in client.secondaries)
        fleet.remove(2)
        assert fleet.wait_for(lambda: fleet.ports[2] not in roles(client))
        assert ask(fleet, 2, {"hello": 1})["isreplicaset"] is True
        fleet.reconfigure(1, host="localhost", tags={"dc": "near"})
        assert fleet.wait_for(lambda: ("localhost", fleet.ports[1]) in client.secondaries)
        assert ("127.0.0.1", fleet.ports[1]) not in client.nodes
        fleet.reconfigure(added, hidden=True)
        assert fleet.wait_for(lambda: fleet.ports[added] not in roles(client))
        assert ask(fleet, 0, {"hello": 1})["setVersion"] == version + 4
        fleet.set_role(1, "other")
        assert fleet.wait_for(lambda: roles(client)[fleet.ports[1]] == "RSOther")
        fleet.set_role(1, None)
        assert fleet.wait_for(lambda: roles(client)[fleet.ports[1]] == "RSSecondary")


def test_a_restarted_member_is_another_process(fleet: Fleet) -> None:
    before = ask(fleet, 1, {"hello": 1})["topologyVersion"]
    fleet.kill(1)
    with pytest.raises(ConnectionRefusedError):
        RawClient(fleet.ports[1])
    fleet.restart(1)
    after = ask(fleet, 1, {"hello": 1})["topologyVersion"]
    assert after["processId"] != before["processId"]
    assert after["counter"] == 0


def test_transactions_end_with_their_primary(fleet: Fleet) -> None:
    with connect(fleet) as client, client.start_session() as session:
        collection = client.fleet.transactions
        collection.drop()
        collection.insert_one({"_id": 0})
        with session.start_transaction():
            collection.insert_one({"_id": 1}, session=session)
        session.start_transaction()
        collection.insert_one({"_id": 2}, session=session)
        fleet.step_down()
        fleet.elect(1)
        assert fleet.wait_for(lambda: client.primary == ("127.0.0.1", fleet.ports[1]))
        with pytest.raises(OperationFailure) as caught:
            collection.insert_one({"_id": 3}, session=session)
        assert caught.value.code == 251
        assert caught.value.has_error_label("TransientTransactionError")
        session.abort_transaction()
        assert [each["_id"] for each in collection.find()] == [0, 1]
        # Nothing of it is left to be in the way.
        collection.insert_one({"_id": 2})


# Logins and TLS


def test_logins_reach_secantusdb(secantus: SecantusServer) -> None:
    with Fleet(secantus) as fleet:
        with connect(fleet, "both") as client:
            client.fleet.logins.insert_one({})
            reader = client.get_database("fleet", read_preference=ReadPreference.SECONDARY)
            assert reader.logins.find_one() is not None
        with pymongo.MongoClient(fleet.uri(), replicaSet="fleet") as client:
            with pytest.raises(OperationFailure, match="authentication"):
                client.fleet.logins.find_one()
        uri = fleet.uri("both").replace("pencil-both", "wrong")
        with pymongo.MongoClient(uri, replicaSet="fleet") as client:
            with pytest.raises(OperationFailure) as caught:
                client.fleet.logins.find_one()
            assert caught.value.code == 18


def test_members_speak_tls(secantus: SecantusServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("member", "127.0.0.1")
    files = (pair.certificate_file, pair.key_file)
    with Fleet(secantus, tls=files, election_ms=100) as fleet:
        with connect(fleet, "both", tlsCAFile=authority.certificate_file) as client:
            client.fleet.tls.insert_one({})
            fleet.kill(0)
            client.fleet.tls.insert_one({})
        with connect(fleet, "both", serverSelectionTimeoutMS=500) as client:
            with pytest.raises(ServerSelectionTimeoutError, match="certificate verify failed"):
                client.fleet.tls.find_one()


# The process


def test_nothing_is_left_when_it_stops(open_secantus: SecantusServer) -> None:
    before = open_secantus.open_connections()
    with Fleet(open_secantus) as fleet:
        client: pymongo.MongoClient[Any] = connect(fleet, serverSelectionTimeoutMS=300)
        client.fleet.left.insert_one({})
        assert open_secantus.open_connections() > before
        ports = fleet.ports
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            RawClient(port)
    deadline = time.monotonic() + 10
    while open_secantus.open_connections() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert open_secantus.open_connections() <= before
    with pytest.raises((AutoReconnect, ServerSelectionTimeoutError)):
        client.get_database("fleet").command("ping")
    client.close()


def test_a_control_that_fails_says_why(fleet: Fleet) -> None:
    for control, arguments, words in (
        ("elect", {"member": 9}, "there is no member 9"),
        ("step_down", {"member": 1}, "not the primary"),
        ("explode", {}, "unknown control 'explode'"),
        ("slow", {"member": 0}, "missing a required argument: 'ms'"),
        ("add", {"role": "king"}, "unknown role 'king'"),
    ):
        with pytest.raises(RuntimeError, match=words):
            fleet.do(control, **arguments)


def test_it_is_run_from_a_shell() -> None:
    lines = "help\nkill 0\nelect\nreconfigure 2 hidden=true\nelect 2\nstatus\n"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.servers.fleet", "--members", "3"],
        cwd=ROOT,
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.startswith("mongodb://127.0.0.1:")
    assert "step_down [member=]" in ended.stdout
    assert '"failed": "ValueError: member 2 cannot be elected"' in ended.stdout
    status = json.loads(ended.stdout[ended.stdout.rindex('{\n  "done": {\n    "set_name"') :])
    members = status["done"]["members"]
    assert [each["role"] for each in members] == ["secondary", "primary", "hidden"]
    assert [each["alive"] for each in members] == [False, True, True]
    assert ended.stderr == ""

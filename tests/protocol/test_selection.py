"""Which server a client goes to, and what it says when there is none."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import (
    ConfigurationError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from mongokey.read_preferences import ReadPreference
from tests.pools import drop_connections
from tests.servers.scripted import (
    Close,
    Error,
    Login,
    Reply,
    ScriptedServer,
    Silence,
    arbiter,
    ghost,
    in_turn,
    make_set,
    mongos,
    primary,
    secondary,
    standalone,
    too_new,
    too_old,
)

SELECT_MS = 300
PATIENCE_S = 1.5
FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
ON = {"find": FOUND, "insert": {"ok": 1.0, "n": 1}}


def seeds(*servers: ScriptedServer, **options: Any) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"mongodb://{','.join(server.address for server in servers)}/?{query}"


def refused(*servers: ScriptedServer, **options: Any) -> ServerSelectionTimeoutError:
    with MongoClient(seeds(*servers, serverSelectionTimeoutMS=SELECT_MS, **options)) as client:
        began = time.monotonic()
        with pytest.raises(ServerSelectionTimeoutError) as caught:
            client["x"]["y"].find_one()
        assert time.monotonic() - began < SELECT_MS / 1000 + PATIENCE_S
    assert f"serverSelectionTimeoutMS={SELECT_MS}" in str(caught.value)
    return caught.value


@pytest.mark.parametrize("hello", [standalone(), primary(), mongos()])
def test_servers_that_take_writes_are_used(hello: Any) -> None:
    with ScriptedServer(hello=hello, on=ON) as server, MongoClient(seeds(server)) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
        assert client.address == ("127.0.0.1", server.port)
        # Only a replica set has one.
        assert client.primary == (client.address if "setName" in hello else None)
        assert client.is_primary
        assert client.is_mongos == (hello.get("msg") == "isdbgrid")
        assert client.nodes == {client.address}


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        (secondary(), "not writable"),
        (secondary(primary="10.0.0.9:27018", secondary=True), "10.0.0.9:27018"),
        (ghost(), "rs.initiate"),
        (arbiter(), "arbiter"),
        (primary(hidden=True), "not writable"),
    ],
)
def test_servers_that_do_not_are_told_by_what_they_answered(hello: Any, words: str) -> None:
    on = {"hello": in_turn(Reply(hello))}
    with ScriptedServer(hello=hello, on=on) as server:
        error = refused(server)
        assert words in str(error)
        assert server.address in str(error)
        assert server.wait_for(lambda: server.open == 0)


@pytest.mark.parametrize("hello", [secondary(), ghost(), arbiter(), standalone(), mongos()])
def test_a_direct_connection_takes_any_server(hello: Any) -> None:
    uri = {"directConnection": "true"}
    with ScriptedServer(hello=hello, on=ON) as server, MongoClient(seeds(server, **uri)) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
        assert client.is_primary == (hello["ismaster"] is True)


def preference(server: ScriptedServer, name: str) -> Any:
    return server.commands(name)[-1].get("$readPreference")


def test_a_secondary_that_is_read_directly_is_told_that_it_may_be() -> None:
    """server-selection, "Topology type: Single"."""
    uri = {"directConnection": "true"}
    for hello in (secondary(), primary()):
        with ScriptedServer(hello=hello, on=ON) as server:
            with MongoClient(seeds(server, **uri)) as client:
                things = client["x"]["y"]
                things.find_one()
                assert preference(server, "find") == {"mode": "primaryPreferred"}
                client.admin.command("ping")
                assert preference(server, "ping") == {"mode": "primaryPreferred"}
                things.with_options(read_preference=ReadPreference.SECONDARY).find_one()
                assert preference(server, "find") == {"mode": "secondary"}
                things.insert_one({})
                assert preference(server, "insert") is None
    for hello in (standalone(), mongos()):
        with ScriptedServer(hello=hello, on=ON) as server:
            with MongoClient(seeds(server, **uri)) as client:
                client["x"]["y"].find_one()
                assert preference(server, "find") is None
    with ScriptedServer(hello=primary(), on=ON) as server, MongoClient(seeds(server)) as client:
        client["x"]["y"].find_one()
        assert preference(server, "find") is None


def test_an_arbiter_is_not_logged_in_to() -> None:
    with ScriptedServer(hello=arbiter(), login=Login()) as server:
        with MongoClient(server.uri(directConnection=True)) as client:
            assert client.admin.command("ping")["ok"] == 1
        assert server.logins == 0


@pytest.mark.parametrize(
    ("hello", "words"), [(too_old(), "requires at least"), (too_new(), "only supports up to")]
)
def test_servers_of_another_age_are_a_configuration_error(hello: Any, words: str) -> None:
    with ScriptedServer(hello=hello) as server, MongoClient(seeds(server)) as client:
        with pytest.raises(ConfigurationError, match=words) as caught:
            client["x"]["y"].find_one()
        assert server.address in str(caught.value)
        assert server.used == 0


def test_the_replica_set_must_have_the_right_name() -> None:
    with ScriptedServer(hello=primary(), on=ON) as server:
        with MongoClient(seeds(server, replicaSet="rs")) as client:
            assert client["x"]["y"].find_one() == {"_id": 1}
        error = refused(server, replicaSet="other")
        assert "'rs'" in str(error)
        assert "'other'" in str(error)
    with ScriptedServer(hello=standalone(), on=ON) as server:
        assert "not in a set" in str(refused(server, replicaSet="rs"))


def test_a_secondary_shows_the_way_to_the_primary() -> None:
    with ScriptedServer(hello=primary(), on=ON) as first:
        with ScriptedServer(hello=secondary()) as second, MongoClient(seeds(second)) as client:
            make_set(first, second)
            assert client["x"]["y"].find_one() == {"_id": 1}
            assert client.address == ("127.0.0.1", first.port)
            assert second.used == 0


def test_a_direct_connection_does_not_follow() -> None:
    with ScriptedServer(hello=primary(), on=ON) as first:
        hello = secondary(primary=first.address)
        with ScriptedServer(hello=hello, on=ON) as second:
            with MongoClient(seeds(second, directConnection="true")) as client:
                assert client["x"]["y"].find_one() == {"_id": 1}
        assert first.accepted == 0


def test_the_writable_one_of_several_seeds_is_found() -> None:
    with (
        ScriptedServer(hello=secondary()) as one,
        ScriptedServer(hello=primary(), on=ON) as two,
        ScriptedServer(hello=arbiter()) as three,
        MongoClient(seeds(one, two, three)) as client,
    ):
        make_set(one, two, three)
        assert client["x"]["y"].find_one() == {"_id": 1}
        assert client.address == ("127.0.0.1", two.port)
        assert [each.used for each in (one, two, three)] == [0, 1, 0]


def test_a_seed_that_never_answers_is_not_waited_for() -> None:
    with (
        ScriptedServer(on={"hello": Silence()}) as silent,
        ScriptedServer(hello=primary(), on=ON) as answering,
        MongoClient(seeds(silent, answering, serverSelectionTimeoutMS=20_000)) as client,
    ):
        began = time.monotonic()
        assert client["x"]["y"].find_one() == {"_id": 1}
        assert time.monotonic() - began < 5


def test_a_seed_that_refuses_connections_is_not_waited_for() -> None:
    with ScriptedServer(hello=primary(), on=ON) as server:
        uri = f"mongodb://127.0.0.1:1,{server.address}/?serverSelectionTimeoutMS=5000"
        with MongoClient(uri) as client:
            assert client["x"]["y"].find_one() == {"_id": 1}


def test_every_seed_s_answer_is_in_the_error() -> None:
    with (
        ScriptedServer(hello=secondary()) as one,
        ScriptedServer(on={"hello": Silence()}) as two,
        ScriptedServer(on={"hello": Close()}) as three,
        ScriptedServer(on={"hello": Error(message="go away", code=8000)}) as four,
    ):
        error = refused(one, two, three, connectTimeoutMS=200)
        for server, words in ((one, "not writable"), (two, "timed out"), (three, "closed")):
            (part,) = [p for p in str(error).split("; ") if p.startswith(server.address)]
            assert words in part
        assert set(error.errors) >= {("127.0.0.1", two.port), ("127.0.0.1", three.port)}
        # Refusing hello, it may be none that is to be used: the others may still elect one.
        assert "go away" in str(refused(one, four))
        with MongoClient(seeds(four)) as client:
            with pytest.raises(OperationFailure, match="go away"):
                client["x"]["y"].find_one()


def test_a_seed_without_an_answer_is_named() -> None:
    with (
        ScriptedServer(hello=secondary()) as one,
        ScriptedServer(on={"hello": Silence()}) as two,
    ):
        error = refused(one, two, connectTimeoutMS=60_000)
        assert two.address in str(error)


def test_selection_goes_on_until_a_server_takes_writes() -> None:
    with ScriptedServer(hello=secondary(), on=ON) as server:
        with MongoClient(seeds(server, serverSelectionTimeoutMS=20_000)) as client:

            def elect(request: Any) -> None:
                if server.count("hello") == 2:
                    server.hello = primary()

            server.on["hello"] = elect
            assert client["x"]["y"].find_one() == {"_id": 1}
            # Two checks, and the hello of the connection that is used.
            assert server.count("hello") == 3
            assert server.used == 1


def test_a_server_that_steps_down_is_left_for_the_new_primary() -> None:
    with (
        ScriptedServer(hello=primary(), on=dict(ON)) as one,
        ScriptedServer(hello=secondary(), on=dict(ON)) as two,
        MongoClient(seeds(one, two, serverSelectionTimeoutMS=10_000)) as client,
    ):
        make_set(one, two)
        things = client["x"]["y"]
        things.insert_one({"_id": 1})
        assert client.address == ("127.0.0.1", one.port)
        one.hello, two.hello = secondary(), primary()
        one.on["insert"] = Error(
            code=10107, code_name="NotWritablePrimary", labels=["RetryableWriteError"]
        )
        things.insert_one({"_id": 2})
        assert client.address == ("127.0.0.1", two.port)
        assert [each["documents"][0]["_id"] for each in two.commands("insert")] == [2]


@pytest.mark.parametrize("code", [10107, 13435, 11602, 189])
def test_not_primary_errors_lead_to_a_new_selection(code: int) -> None:
    with ScriptedServer(hello=primary(), on=ON) as server, MongoClient(seeds(server)) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
        server.on["ping"] = in_turn(Error(code=code, message="not primary"), None)
        with pytest.raises(NotPrimaryError) as caught:
            client.admin.command("ping")
        assert caught.value.details["code"] == code
        before = server.count("hello")
        assert client.admin.command("ping")["ok"] == 1
        assert server.count("hello") == before + 1
        # The connection is good: server-discovery-and-monitoring keeps it since MongoDB 4.2.
        assert server.open == 2


@pytest.mark.parametrize("code", [91, 11600])
def test_a_server_that_shuts_down_loses_its_connections(code: int) -> None:
    with ScriptedServer(hello=primary(), on=ON) as server, MongoClient(seeds(server)) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
        server.on["ping"] = in_turn(Error(code=code, message="shutting down"), None)
        with pytest.raises(NotPrimaryError):
            client.admin.command("ping")
        # The monitor's is left.
        assert server.wait_for(lambda: server.open == 1)
        assert client.admin.command("ping")["ok"] == 1


def test_a_server_that_cannot_be_reached_in_time_is_left_for_another_once_checked() -> None:
    """client-backpressure: a new connection that fails may only mean that the server is busy; what
    it is, the next check tells."""
    uri = {"connectTimeoutMS": 500, "heartbeatFrequencyMS": 500, "serverSelectionTimeoutMS": 10_000}
    with (
        ScriptedServer(hello=primary(), on=ON) as one,
        ScriptedServer(hello=secondary(), on=ON) as two,
        MongoClient(seeds(one, two, **uri)) as client,
    ):
        make_set(one, two)
        assert client["x"]["y"].find_one() == {"_id": 1}
        assert client.address == ("127.0.0.1", one.port)
        drop_connections(client)
        one.on["hello"] = Silence()
        two.hello = primary()
        found, began = None, time.monotonic()
        while found is None and time.monotonic() - began < 10:
            with contextlib.suppress(NetworkTimeout):
                found = client["x"]["y"].find_one()
        assert found == {"_id": 1}
        assert client.address == ("127.0.0.1", two.port)


def test_unix_sockets_are_servers_too(tmp_path: Any) -> None:
    with ScriptedServer(path=str(tmp_path / "mongodb.sock"), on=ON) as server:
        with MongoClient(server.uri()) as client:
            assert client["x"]["y"].find_one() == {"_id": 1}
            assert client.address == (server.path, None)
        server.on["hello"] = Close()
        with MongoClient(server.uri(serverSelectionTimeoutMS=100)) as client:
            with pytest.raises(ServerSelectionTimeoutError, match=r"mongodb\.sock"):
                client["x"]["y"].find_one()


def test_ipv6_addresses_are_servers_too() -> None:
    try:
        server = ScriptedServer(host="::1", on=ON).start()
    except OSError:
        pytest.skip("no IPv6 here")
    with MongoClient(server.uri()) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
        assert client.address == ("::1", server.port)
    server.stop()


def test_a_server_that_hangs_up_once_and_then_falls_silent_is_told_in_time() -> None:
    """The first check says more than that the second one has no answer yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        later: list[socket.socket] = []

        def serve() -> None:
            listener.accept()[0].close()
            with contextlib.suppress(OSError):
                while True:
                    later.append(listener.accept()[0])

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        with MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=1500) as client:
            began = time.monotonic()
            with pytest.raises(ServerSelectionTimeoutError, match="closed"):
                client.admin.command("ping")
            assert 1.5 <= time.monotonic() - began < 10
        for each in later:
            each.close()
        listener.shutdown(socket.SHUT_RDWR)

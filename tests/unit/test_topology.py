"""The topology on made-up checks: no sockets, only what monitors would say."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from mongokey._support.address import format_address
from mongokey.diagnostics import POSSIBLE, Diagnosis
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    TLSError,
    WaitQueueTimeoutError,
)
from mongokey.events.publisher import Publisher
from mongokey.handshake import HelloReply
from mongokey.handshake.reply import RS_SECONDARY
from mongokey.monitoring import ServerListener, TopologyListener
from mongokey.pool.blocking import BlockingPool
from mongokey.read_preferences import Nearest, Secondary
from mongokey.topology.objection import objection
from mongokey.topology.selected_servers import ServerCriteria
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology import Topology
from tests.deadlines import timeout_of
from tests.servers.scripted import (
    arbiter,
    ghost,
    mongos,
    primary,
    secondary,
    standalone,
    too_new,
)
from tests.threads import outcomes

A, B, C = ("a", 1), ("b", 2), ("c", 3)
HOSTS = ["a:1", "b:2", "c:3"]
SECONDARY = ServerCriteria(Secondary())


class Monitors:
    """Servers by name: a hello document, an exception, or a list of those, one for each check;
    each request for a check is answered by another thread."""

    def __init__(self, servers: dict[str, Any], on_check: Any) -> None:
        self.servers = servers
        self.on_check = on_check
        self.watched: list[Any] = []
        self.unwatched: list[Any] = []
        self.requested: list[Any] = []
        self.cancelled: list[Any] = []
        self.closed = False

    def watch(self, address: Any) -> None:
        self.watched.append(address)
        self._check_soon(address)

    def unwatch(self, address: Any) -> None:
        self.unwatched.append(address)

    def request_check(self, address: Any) -> None:
        self.requested.append(address)
        self._check_soon(address)

    def cancel_check(self, address: Any) -> None:
        self.cancelled.append(address)

    def is_own_thread(self) -> bool:
        return False

    def hold(self) -> None:
        """Its checks are another thread's in any case."""

    def carry_out(self, done: Any, until_ns: int) -> None:
        """See `hold`."""

    def let_go(self) -> None:
        """See `hold`."""

    def close(self) -> None:
        self.closed = True

    def _check_soon(self, address: Any) -> None:
        threading.Timer(0.005, self._check, (address,)).start()

    def _check(self, address: Any) -> None:
        answer = self.servers.get(address[0])
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is not None:
            self.say(address, answer)

    def say(self, address: Any, answer: Any, round_trip_s: float = 0.001) -> None:
        """One check's outcome."""
        if isinstance(answer, BaseException):
            self.on_check(ServerDescription(address, error=answer))
        else:
            self.on_check(
                ServerDescription(
                    address,
                    HelloReply(answer),
                    round_trip_s,
                    last_update_time=time.monotonic(),
                )
            )


class Deployment:
    def __init__(self, *seeds: Any, timeout: float = 5, servers: Any = None, **options: Any):
        self.servers: dict[str, Any] = dict(servers or {})
        self.made: list[Monitors] = []
        self.topology = Topology(
            list(seeds),
            lambda address: BlockingPool(address, lambda _: None),  # type: ignore[arg-type, return-value]
            self._monitors,
            selection_timeout=timeout_of(timeout * 1000, "serverSelectionTimeoutMS"),
            **options,
        )

    def _monitors(self, on_check: Any) -> Monitors:
        self.made.append(Monitors(self.servers, on_check))
        return self.made[-1]

    @property
    def monitors(self) -> Monitors:
        return self.made[-1]

    def say(self, address: Any, answer: Any, round_trip_s: float = 0.001) -> None:
        self.topology.open()
        self.monitors.say(address, answer, round_trip_s)

    def explained(self, criteria: ServerCriteria | None = None) -> str:
        with pytest.raises(ServerSelectionTimeoutError) as caught:
            self.topology.select(criteria)
        return str(caught.value)


def replica_set(**options: Any) -> Deployment:
    made = Deployment(A, **options)
    made.say(A, primary(hosts=HOSTS, me="a:1", primary="a:1"))
    for address, name in ((B, "b:2"), (C, "c:3")):
        made.say(address, secondary(hosts=HOSTS, me=name, primary="a:1"))
    return made


@pytest.mark.parametrize(
    ("address", "text"),
    [(("h", 1), "h:1"), (("::1", 2), "[::1]:2"), (("/tmp/m.sock", None), "/tmp/m.sock")],
)
def test_addresses_are_written_as_in_connection_strings(address: Any, text: str) -> None:
    assert format_address(address) == text


# -- what is found --------------------------------------------------------------------------------


def test_nothing_is_watched_before_the_first_use() -> None:
    deployment = Deployment(A, servers={"a": standalone()})
    assert deployment.made == []
    assert deployment.topology.pools == []
    assert deployment.topology.select().address == A
    assert deployment.monitors.watched == [A]


def test_members_are_discovered_and_the_primary_is_where_executions_look() -> None:
    deployment = replica_set()
    topology = deployment.topology
    assert topology.description.topology_type_name == "ReplicaSetWithPrimary"
    assert sorted(deployment.monitors.watched) == [A, B, C]
    assert topology.selected.writable is topology.select() is topology.pool(A)
    assert topology.primary() == A
    assert topology.members(RS_SECONDARY) == {B, C}
    assert topology.any_pool() is topology.pool(A)


def test_a_selected_primary_is_let_go_of_when_it_is_one_no_more() -> None:
    deployment = replica_set()
    deployment.say(A, secondary(hosts=HOSTS, me="a:1"))
    assert deployment.topology.selected.writable is None
    deployment.say(B, primary(hosts=HOSTS, me="b:2"))
    assert deployment.topology.selected.writable is deployment.topology.pool(B)


def test_reads_go_where_the_read_preference_says() -> None:
    topology = replica_set().topology
    chosen = {topology.select(SECONDARY).address for _ in range(60)}
    assert chosen == {B, C}
    # From then on executions find them without asking.
    found = {topology.selected.choose(SECONDARY) for _ in range(60)}
    assert found == {topology.pool(B), topology.pool(C)}


def test_what_is_remembered_for_reads_is_forgotten_when_the_topology_changes() -> None:
    deployment = replica_set()
    deployment.topology.select(SECONDARY)
    deployment.say(B, AutoReconnect("gone"))
    assert deployment.topology.selected.choose(SECONDARY) is None
    assert {deployment.topology.select(SECONDARY).address for _ in range(20)} == {C}


def test_criteria_of_another_client_are_not_taken_for_one_s_own() -> None:
    one, other = replica_set(), replica_set()
    one.topology.select(SECONDARY)
    assert other.topology.selected.choose(SECONDARY) is None


def test_the_less_loaded_of_two_is_taken() -> None:
    deployment = Deployment(A, B)
    deployment.say(A, mongos())
    deployment.say(B, mongos())
    chosen = [deployment.topology.selected.choose(None) for _ in range(200)]
    assert {each.address for each in chosen if each} == {A, B}
    assert deployment.topology.routes


def test_servers_out_of_the_latency_window_are_left_out() -> None:
    deployment = Deployment(A, B, local_threshold_s=0.010)
    deployment.say(A, mongos(), 0.005)
    deployment.say(B, mongos(), 0.020)
    assert deployment.topology.selected.writable is deployment.topology.pool(A)
    deployment.say(A, mongos(), 0.060)  # an average of 16 ms, so to speak
    assert deployment.topology.selected.writable is deployment.topology.pool(B)


def test_the_application_s_selector_is_asked_each_time() -> None:
    asked = []

    def selector(servers: Any) -> Any:
        asked.append(sorted(each.address for each in servers))
        return [each for each in servers if each.address == C]

    topology = replica_set(server_selector=selector).topology
    nearest = ServerCriteria(Nearest())
    assert topology.selected.writable is None
    assert topology.select(nearest).address == C
    assert topology.selected.choose(nearest) is None
    assert topology.select(nearest).address == C
    assert asked[-1] == asked[-2] == [A, B, C]


def test_servers_that_failed_are_avoided_where_there_are_others() -> None:
    topology = replica_set().topology
    assert {topology.select(SECONDARY, [B]).address for _ in range(20)} == {C}
    assert topology.select(SECONDARY, [B, C]).address in (B, C)
    assert topology.select(None, [A]).address == A
    # What was avoided once is not avoided for ever.
    assert {topology.select(SECONDARY).address for _ in range(60)} == {B, C}


@pytest.mark.parametrize(("version", "address"), [(12, A), (13, B)])
def test_aggregations_that_write_go_to_secondaries_that_can(version: int, address: Any) -> None:
    deployment = Deployment(A)
    hosts = ["a:1", "b:2"]
    deployment.say(A, primary(hosts=hosts, me="a:1", maxWireVersion=version))
    deployment.say(B, secondary(hosts=hosts, me="b:2", maxWireVersion=version))
    criteria = ServerCriteria(Secondary(), output_stage=True)
    assert deployment.topology.select(criteria).address == address


def test_a_direct_connection_takes_what_there_is() -> None:
    for hello in (standalone(), secondary(hosts=HOSTS), arbiter(hosts=HOSTS), ghost(), mongos()):
        deployment = Deployment(A, direct_connection=True)
        deployment.say(A, hello)
        assert deployment.topology.select().address == A
        assert deployment.monitors.watched == [A]


def test_a_load_balancer_is_not_watched() -> None:
    made = Topology(
        [A],
        lambda address: BlockingPool(address, lambda _: None),  # type: ignore[arg-type, return-value]
        None,
        load_balanced=True,
    )
    assert made.select().address == A
    assert made.is_load_balanced
    assert made.monitors is None


# -- waiting --------------------------------------------------------------------------------------


def test_selection_waits_until_somebody_is_writable() -> None:
    other = secondary(hosts=["a:1"], me="a:1")
    deployment = Deployment(A, servers={"a": [other, other, primary(hosts=["a:1"], me="a:1")]})
    assert deployment.topology.select().address == A
    assert deployment.monitors.requested


def test_many_threads_wait_for_one_check() -> None:
    deployment = Deployment(A, timeout=10)
    entered: list[int] = []

    def select() -> Any:
        entered.append(1)
        if len(entered) == 20:
            threading.Timer(0.1, deployment.say, (A, standalone())).start()
        return deployment.topology.select()

    assert {each.address for each in outcomes(20, select)} == {A}
    assert deployment.monitors.watched == [A]


def test_the_error_says_what_is_known_of_each_server() -> None:
    error = AutoReconnect("c:3: refused")
    error.diagnoses = (Diagnosis("TCP-REFUSED", POSSIBLE, "nobody listens"),)
    deployment = Deployment(A, B, timeout=0.2)
    hosts = [*HOSTS, "d:4"]
    deployment.say(A, secondary(hosts=hosts, me="a:1"))
    deployment.say(B, arbiter(hosts=hosts, me="b:2", arbiters=["b:2"]))
    deployment.say(C, error)
    text = deployment.explained()
    assert "no server that takes writes was found within serverSelectionTimeoutMS=200" in text
    assert "a:1: not writable: a member of set 'rs' (RSSecondary) whose primary is none" in text
    assert "b:2: an arbiter: it holds no data" in text
    assert text.count("c:3: ") == 1
    assert "refused" in text
    assert "no answer yet from d:4" in text
    with pytest.raises(ServerSelectionTimeoutError) as caught:
        deployment.topology.select()
    assert caught.value.errors == {C: error}
    assert set(error.diagnoses) < set(caught.value.diagnoses)
    assert [each.code for each in caught.value.diagnoses] == [
        "TOPOLOGY-MEMBERS-UNREACHABLE",
        "TOPOLOGY-NO-PRIMARY",
        "TCP-REFUSED",
    ]


def test_the_error_of_a_read_names_the_read_preference() -> None:
    deployment = Deployment(A, timeout=0.1)
    deployment.say(A, primary(hosts=["a:1"], me="a:1"))
    text = deployment.explained(SECONDARY)
    assert "for reads with the read preference Secondary(" in text
    assert "a:1: the primary of set 'rs'" in text


def test_a_server_that_was_never_initiated_is_told() -> None:
    deployment = Deployment(A, timeout=0.1, replica_set="rs")
    deployment.say(A, ghost())
    assert "rs.initiate()" in deployment.explained()


@pytest.mark.parametrize(
    ("options", "hello", "reason"),
    [
        ({"replica_set": "rs1"}, primary(), "a:1: the server is called 'rs', not replicaSet='rs1'"),
        (
            {"replica_set": "rs"},
            standalone(),
            "a:1: the server is not in a set, not replicaSet='rs'",
        ),
        (
            {"replica_set": "rs"},
            secondary(hosts=["x:1"], me="x:1"),
            "a:1: its set knows it as x:1",
        ),
    ],
)
def test_servers_that_are_not_used_are_named_with_the_reason(
    options: Any, hello: Any, reason: str
) -> None:
    deployment = Deployment(A, B, timeout=0.1, **options)
    deployment.say(A, hello)
    assert reason in deployment.explained()


def test_a_standalone_among_several_seeds_is_named() -> None:
    deployment = Deployment(A, B, timeout=0.1)
    deployment.say(A, standalone())
    text = deployment.explained()
    assert "a:1: a Standalone server, which is no part of a deployment of type Unknown" in text


def test_a_set_name_that_does_not_fit_a_direct_connection_is_told() -> None:
    deployment = Deployment(A, timeout=0.1, direct_connection=True, replica_set="rs1")
    deployment.say(A, primary())
    assert "member of set 'rs', not of replicaSet='rs1'" in deployment.explained()


# -- what waiting cannot mend ---------------------------------------------------------------------


def test_a_version_that_does_not_fit_is_told_at_once() -> None:
    deployment = Deployment(A, timeout=30)
    deployment.say(A, too_new())
    with pytest.raises(ConfigurationError, match="a:1 requires wire version 9999"):
        deployment.topology.select()


@pytest.mark.parametrize(
    "error",
    [
        TLSError("a certificate", permanent=True),
        ProtocolError("this port speaks SSH", True),
        OperationFailure("hello refused", 18),
        ConfigurationError("TLS is not used over Unix sockets"),
    ],
)
def test_what_no_waiting_mends_is_raised_at_once_and_is_every_thread_s_own(error: Any) -> None:
    deployment = Deployment(A, timeout=30, servers={"a": error})
    caught = outcomes(8, deployment.topology.select)
    assert {type(each) for each in caught} == {type(error)}
    assert len({id(each) for each in caught}) == 8


def test_an_error_from_before_the_call_is_not_taken_for_its_outcome() -> None:
    failed = TLSError("a certificate", permanent=True)
    deployment = Deployment(A, timeout=30, servers={"a": failed})
    with pytest.raises(TLSError):
        deployment.topology.select()
    deployment.servers["a"] = standalone()
    assert deployment.topology.select().address == A


def test_one_server_that_may_still_answer_keeps_the_selection_going() -> None:
    failed = TLSError("a certificate", permanent=True)
    hung_up = TLSError("it hangs up")
    deployment = Deployment(A, B, timeout=0.3, servers={"a": failed, "b": hung_up})
    assert "a certificate" in deployment.explained()


def test_certificates_of_all_servers_are_told_together() -> None:
    diagnosis = Diagnosis("TLS-EXPIRED", POSSIBLE, "expired")
    one, other = TLSError("a: expired", permanent=True), TLSError("b: name", permanent=True)
    one.diagnoses = (diagnosis,)
    deployment = Deployment(A, B, timeout=30, servers={"a": one, "b": other})
    with pytest.raises(TLSError, match="expired; b: name") as caught:
        deployment.topology.select()
    assert caught.value.diagnoses == (diagnosis,)
    assert caught.value.errors == {A: one, B: other}


# -- errors of operations -------------------------------------------------------------------------


def fail(deployment: Deployment, error: Any, *, sent: bool = True, generation: int = -1) -> None:
    pool = deployment.topology.pool(A)
    assert pool is not None
    deployment.topology.handle_application_error(
        pool, error, pool.generation if generation < 0 else generation, sent
    )


def generation(deployment: Deployment) -> int:
    pool = deployment.topology.pool(A)
    assert pool is not None
    return pool.generation


def test_a_lost_connection_makes_the_server_unknown_and_clears_its_pool() -> None:
    deployment = replica_set()
    before = generation(deployment)
    fail(deployment, AutoReconnect("reset"))
    found = deployment.topology.description.get(A)
    assert found is not None
    assert not found.is_server_type_known
    assert generation(deployment) == before + 1
    assert deployment.monitors.cancelled == [A]
    assert deployment.monitors.requested == []
    assert deployment.topology.selected.writable is None


def test_a_stale_error_changes_nothing() -> None:
    deployment = replica_set()
    fail(deployment, AutoReconnect("reset"))
    deployment.say(A, primary(hosts=HOSTS, me="a:1"))
    fail(deployment, AutoReconnect("reset"), generation=generation(deployment) - 1)
    assert deployment.topology.primary() == A


def test_a_slow_command_says_nothing_about_the_server() -> None:
    deployment = replica_set()
    fail(deployment, NetworkTimeout("slow"))
    assert deployment.topology.primary() == A


def test_a_step_down_is_checked_at_once_and_keeps_the_pool() -> None:
    deployment = replica_set()
    before = generation(deployment)
    fail(deployment, NotPrimaryError("no", {"ok": 0, "code": 10107, "errmsg": "not primary"}))
    assert deployment.topology.primary() is None
    assert generation(deployment) == before
    assert deployment.monitors.requested == [A]


@pytest.mark.parametrize("odd", [7, "x", True, [1], {}, {"processId": 1, "counter": "x"}])
def test_a_step_down_whose_version_of_the_topology_is_none(odd: Any) -> None:
    deployment = replica_set()
    document = {"ok": 0, "code": 10107, "errmsg": "not primary", "topologyVersion": odd}
    fail(deployment, NotPrimaryError("no", document))
    assert deployment.topology.primary() is None
    server = deployment.topology.description.get(A)
    assert server is not None
    assert server.topology_version is None


def test_a_server_that_shuts_down_loses_its_connections() -> None:
    deployment = replica_set()
    before = generation(deployment)
    fail(deployment, NotPrimaryError("no", {"ok": 0, "code": 91, "errmsg": "shutdown"}))
    assert generation(deployment) == before + 1


def test_a_refused_login_makes_the_server_unknown() -> None:
    deployment = replica_set()
    before = generation(deployment)
    fail(deployment, OperationFailure("Authentication failed.", 18, {"ok": 0}), sent=False)
    assert deployment.topology.primary() is None
    assert generation(deployment) == before + 1


@pytest.mark.parametrize(
    "error",
    [
        InvalidOperation("this thread itself holds all"),
        ConfigurationError("no credentials"),
        WaitQueueTimeoutError("all are in use"),
        KeyboardInterrupt(),
    ],
)
def test_the_client_s_own_troubles_say_nothing_about_the_server(error: BaseException) -> None:
    deployment = replica_set()
    before = generation(deployment)
    fail(deployment, error, sent=False)
    assert deployment.topology.primary() == A
    assert generation(deployment) == before


@pytest.mark.parametrize(
    ("hello", "kind", "words"),
    [
        (primary(setName="other"), AutoReconnect, "is called 'other'"),
        (standalone(), AutoReconnect, "not in a set"),
        (ghost(), AutoReconnect, "not in a set"),
        (secondary(secondary=False), NotPrimaryError, "neither primary nor secondary"),
        (arbiter(), NotPrimaryError, "neither primary nor secondary"),
        (secondary(), NotPrimaryError, "not primary any more"),
        (primary(), None, ""),
    ],
)
def test_whom_a_new_connection_is_not_logged_in_to(hello: Any, kind: Any, words: str) -> None:
    made = replica_set()
    error = objection(made.topology.description, A, HelloReply(hello))
    assert type(error) is (kind or type(None))
    assert words in str(error or "")
    assert error is None or "a:1" in str(error)
    if kind is NotPrimaryError and error is not None:
        assert objection(made.topology.description, B, HelloReply(secondary())) is None
        # It is asked at once what it is now, and is not used until then.
        fail(made, error, sent=False)
        assert made.topology.primary() is None
        assert made.monitors.requested[-1] == A


def test_a_direct_connection_logs_in_to_whatever_is_there() -> None:
    made = Deployment(A, direct_connection=True)
    made.say(A, primary())
    for hello in (secondary(), ghost(), arbiter(), standalone()):
        assert objection(made.topology.description, A, HelloReply(hello)) is None


def test_an_error_of_a_server_that_is_gone_changes_nothing() -> None:
    deployment = replica_set()
    pool = deployment.topology.pool(B)
    assert pool is not None
    deployment.say(A, primary(hosts=["a:1"], me="a:1"))
    assert deployment.topology.pool(B) is None
    assert pool.closed
    assert sorted(deployment.monitors.unwatched) == [B, C]
    deployment.topology.handle_application_error(pool, AutoReconnect("x"), pool.generation, True)
    assert deployment.topology.primary() == A


def test_who_needs_one_server_waits_for_it_and_no_other() -> None:
    made = replica_set(timeout=0.2)
    pool = made.topology.pool(B)
    assert pool is not None
    made.topology.wait_for_server(pool)  # at once: it is ready
    made.servers["b"] = AutoReconnect("b:2: gone")
    made.say(B, AutoReconnect("b:2: gone"))
    with pytest.raises(ServerSelectionTimeoutError) as caught:
        made.topology.wait_for_server(pool)
    assert "b:2, which has the cursor" in str(caught.value)
    assert "gone" in str(caught.value)
    assert set(caught.value.errors) == {B}
    assert B in made.monitors.requested
    made.servers["b"] = [AutoReconnect("b:2: gone"), secondary(hosts=HOSTS, me="b:2")]
    threading.Timer(0.05, made.topology.monitors.request_check, (B,)).start()
    made.topology.wait_for_server(pool)
    assert not pool.paused
    # One that is gone for good is not waited for: the pool says why.
    made.say(B, AutoReconnect("b:2: gone"))
    made.say(A, primary(hosts=["a:1", "c:3"], me="a:1"))
    made.topology.wait_for_server(pool)
    assert made.topology.pool(B) is None


def test_which_servers_another_attempt_avoids() -> None:
    overloaded = AutoReconnect("busy")
    overloaded._add_error_label("SystemOverloadedError")
    for topology, avoids in (
        (replica_set().topology, (False, False)),
        (replica_set(overload_retargeting=True).topology, (False, True)),
    ):
        assert (
            topology.avoids_after(AutoReconnect("x")),
            topology.avoids_after(overloaded),
        ) == avoids
    sharded = Deployment(A, B)
    sharded.say(A, mongos())
    assert sharded.topology.avoids_after(AutoReconnect("x"))


# -- DNS ------------------------------------------------------------------------------------------


def test_dns_is_asked_once_at_first_use() -> None:
    asked = []

    def resolve() -> Any:
        asked.append(1)
        return [A, B], "rs", False

    deployment = Deployment(("dns", 27017), resolve_srv=resolve)
    topology = deployment.topology
    assert topology.description.get(("dns", 27017)) is not None
    deployment.say(A, primary(hosts=["a:1"], me="a:1"))
    assert topology.select().address == A
    topology.select()
    assert asked == [1]
    assert topology.seeds == [A, B]


def test_a_failed_look_up_is_raised_and_tried_again() -> None:
    answers: list[Any] = [ConfigurationError("no such name"), ([A], None, False)]

    def resolve() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    deployment = Deployment(A, resolve_srv=resolve, servers={"a": standalone()})
    with pytest.raises(ConfigurationError, match="no such name"):
        deployment.topology.select()
    assert deployment.topology.select().address == A


def test_routers_come_and_go_as_dns_says() -> None:
    deployment = Deployment(A, B)
    for address in (A, B):
        deployment.say(address, mongos())
    deployment.topology.update_seeds([B, C])
    assert set(deployment.topology.description.server_descriptions()) == {B, C}
    assert deployment.monitors.unwatched == [A]
    assert deployment.topology.selected.writable is deployment.topology.pool(B)
    deployment.topology.update_seeds([A, B, C, ("d", 4)], max_hosts=3)
    servers = deployment.topology.description.server_descriptions()
    assert len(servers) == 3
    assert {B, C} <= set(servers)


def test_a_replica_set_s_members_are_not_dns_s_to_name() -> None:
    deployment = replica_set()
    deployment.topology.update_seeds([B])
    assert set(deployment.topology.description.server_descriptions()) == {A, B, C}


# -- events ---------------------------------------------------------------------------------------


class Listener(TopologyListener, ServerListener):
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.on_event: Any = None

    def _take(self, event: Any) -> None:
        self.events.append(event)
        if self.on_event is not None:
            self.on_event()

    opened = description_changed = closed = _take


def test_listeners_are_told_in_order_and_without_a_lock() -> None:
    listener = Listener()
    free = []

    def enter() -> None:
        if deployment.topology._lock.acquire(timeout=5):
            free.append(None)
            deployment.topology._lock.release()

    def look() -> None:
        # In another thread: this one would be let in.
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(10)

    listener.on_event = look
    deployment = Deployment(A, publisher=Publisher((listener,)))
    deployment.say(A, standalone())
    deployment.topology.close()
    assert [type(each).__name__ for each in listener.events] == [
        "TopologyOpenedEvent",
        "TopologyDescriptionChangedEvent",
        "ServerOpeningEvent",
        "ServerDescriptionChangedEvent",
        "TopologyDescriptionChangedEvent",
        "ServerClosedEvent",
        "TopologyDescriptionChangedEvent",
        "TopologyClosedEvent",
    ]
    assert len(free) == len(listener.events)
    assert {each.topology_id for each in listener.events} == {deployment.topology.topology_id}


def test_a_check_that_finds_nothing_new_is_no_event() -> None:
    listener = Listener()
    deployment = Deployment(A, publisher=Publisher((listener,)))
    deployment.say(A, standalone())
    told = len(listener.events)
    deployment.say(A, standalone(), 0.5)
    assert len(listener.events) == told


def test_selections_are_logged_when_logging_is_turned_on(caplog: pytest.LogCaptureFixture) -> None:
    deployment = replica_set(timeout=0.1)
    assert deployment.topology.selected.writable is not None
    with caplog.at_level("DEBUG", logger="mongokey.serverSelection"):
        assert deployment.topology.selected.writable is None, "each one asks, or is not seen"
        deployment.topology.select(None, (), "ping", 7)
        assert [json.loads(each.getMessage())["message"] for each in caplog.records] == [
            "Server selection started",
            "Server selection succeeded",
        ]
        caplog.clear()
        deployment.say(A, AutoReconnect("gone"))
        deployment.explained()
        assert [json.loads(each.getMessage())["message"] for each in caplog.records] == [
            "Server selection started",
            "Waiting for suitable server to become available",
            "Server selection failed",
        ]


# -- the end --------------------------------------------------------------------------------------


def test_closing_wakes_who_waits_for_a_server() -> None:
    deployment = Deployment(A, timeout=30)
    threading.Timer(0.1, deployment.topology.close).start()
    began = time.monotonic()
    with pytest.raises(InvalidOperation, match="after close"):
        deployment.topology.select()
    assert time.monotonic() - began < 10


def test_a_closed_topology_closes_its_pools_and_selects_no_more() -> None:
    deployment = replica_set()
    pools = deployment.topology.pools
    deployment.topology.close()
    deployment.topology.close()
    assert all(pool.closed for pool in pools)
    assert deployment.monitors.closed
    with pytest.raises(InvalidOperation, match="after close"):
        deployment.topology.select()
    before = deployment.topology.description
    deployment.monitors.say(A, secondary())
    assert deployment.topology.description is before


def test_a_child_begins_anew_and_does_not_wait_for_a_lock_of_the_parent() -> None:
    deployment = replica_set(servers={"a": primary(hosts=HOSTS, me="a:1")})
    topology = deployment.topology
    held = threading.Event()

    def hold() -> None:
        with topology._lock:
            held.set()
            time.sleep(30)

    threading.Thread(target=hold, daemon=True).start()
    held.wait(5)
    topology.reset_after_fork()  # as in a child, where that thread is not
    assert topology.selected.writable is None
    assert not topology.description.has_known_servers
    assert topology.select().address == A


def test_seeds_are_told_and_are_not_the_caller_s_list() -> None:
    topology = Deployment(A, B).topology
    topology.seeds.clear()
    assert topology.seeds == [A, B]


def test_a_load_balancer_is_told_of_as_if_it_had_been_checked() -> None:
    listener = Listener()
    topology = Topology(
        [A],
        lambda address: BlockingPool(address, lambda _: None, load_balanced=True),  # type: ignore[arg-type, return-value]
        None,
        load_balanced=True,
        publisher=Publisher((listener,)),
    )
    topology.open()
    assert [type(each).__name__ for each in listener.events] == [
        "TopologyOpenedEvent",
        "TopologyDescriptionChangedEvent",
        "ServerOpeningEvent",
        "ServerDescriptionChangedEvent",
        "TopologyDescriptionChangedEvent",
    ]
    changes = [each for each in listener.events if hasattr(each, "new_description")]
    kinds = [
        (each.previous_description, each.new_description)
        for each in changes
        if hasattr(each, "server_address")
    ]
    assert [(old.server_type_name, new.server_type_name) for old, new in kinds] == [
        ("Unknown", "LoadBalancer")
    ]
    assert changes[0].new_description.topology_type_name == "LoadBalanced"


def test_a_server_is_watched_once_listeners_know_of_it() -> None:
    listener = Listener()
    watched: list[list[Any]] = []
    deployment = Deployment(A, publisher=Publisher((listener,)))
    listener.on_event = lambda: watched.append(list(deployment.monitors.watched))
    deployment.topology.open()
    assert watched == [[]] * 3
    assert deployment.monitors.watched == [A]


def test_a_pool_is_ready_before_its_server_can_be_selected() -> None:
    deployment = replica_set()
    fail(deployment, AutoReconnect("reset"))
    pool = deployment.topology.pool(A)
    assert pool is not None
    assert pool.paused
    deployment.say(A, primary(hosts=HOSTS, me="a:1"))
    assert not pool.paused
    deployment.say(A, AutoReconnect("gone"))
    assert pool.paused


def test_whether_there_are_servers_to_read_from_and_to_write_to() -> None:
    description = replica_set().topology.description
    assert description.has_writable_server()
    assert description.has_readable_server(Secondary())
    assert description.has_readable_server()
    lonely = Deployment(A)
    lonely.say(A, secondary(hosts=["a:1"], me="a:1"))
    found = lonely.topology.description
    assert not found.has_writable_server()
    assert not found.has_readable_server()
    assert found.has_readable_server(Secondary())


def test_an_error_while_a_check_is_taken_in_leaves_no_server_without_its_pool() -> None:
    deployment = Deployment(A)
    failures = [AutoReconnect("reset")]

    def made(address: Any) -> BlockingPool:
        def fails_meanwhile() -> None:
            if failures:
                fail(deployment, failures.pop())

        return BlockingPool(address, lambda _: None, min_size=1, on_ready=fails_meanwhile)  # type: ignore[arg-type, return-value]

    deployment.topology._make_pool = made  # type: ignore[assignment]
    deployment.say(A, standalone())
    assert not failures
    pool = deployment.topology.select()
    assert not pool.paused
    assert pool.generation == 1
    # Of a server that is unknown, or was never checked, it stays paused.
    fail(deployment, AutoReconnect("reset"))
    assert pool.paused
    deployment.say(A, AutoReconnect("gone"))
    assert pool.paused


def test_a_pool_is_cleared_before_others_see_that_its_server_is_unknown() -> None:
    deployment = replica_set()
    topology = deployment.topology
    pool = topology.pool(A)
    assert pool is not None
    assert not pool.paused
    seen: list[bool] = []

    def look() -> None:
        with topology._lock:
            seen.append(pool.paused)

    other = threading.Thread(target=look)

    def begin() -> None:
        other.start()
        time.sleep(0.05)

    assert not topology.changed_since(topology._changes, begin)
    topology.handle_application_error(pool, AutoReconnect("gone"), pool.generation, sent=True)
    other.join()
    assert seen == [True]

"""Polling SRV records: the prose tests of polling-srv-records-for-mongos-discovery, at a real DNS
server on loopback, with a topology whose servers are only said to be there; and when polling goes
on, pauses and ends.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey._support.jobs import run_job
from mongokey.dns import Resolver
from mongokey.dns import resolver as resolver_module
from mongokey.dns.polling import SrvPolling, make_ask
from mongokey.errors import ConfigurationError
from mongokey.handshake import HelloReply
from mongokey.options.connection_string import DNSAnswer, SRVQuestion
from mongokey.pool.blocking import BlockingPool
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology import Topology
from tests.deadlines import timeout_of
from tests.pools import ConnectionFactory
from tests.servers import dns_script as script
from tests.servers.dns import HOST, DNSServer, require
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

ZONE = "10gen.cc"
NAME = f"test1.test.build.{ZONE}"
LOCALHOST = f"localhost.test.build.{ZONE}"


def srv(*ports: int, name: str = NAME, service: str = "mongodb", ttl: int = 86400) -> list[str]:
    return [f"_{service}._tcp.{name}. {ttl} IN SRV 0 0 {port} {LOCALHOST}." for port in ports]


class Scheduler:
    """What of monitors polling uses; time passes when `pass_time` is called."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.beside: list[Callable[[], object]] = []

    def call_every(self, period_ns: int, job: Callable[[], object]) -> Any:
        made = Job(self, period_ns, job)
        self.jobs.append(made)
        return made

    def run_beside(self, job: Callable[[], object]) -> bool:
        self.beside.append(job)
        return True

    def pass_time(self) -> None:
        """The period of the one job is over, and what was to be run beside is done."""
        (job,) = self.jobs
        job.job()
        while self.beside:
            run_job(self.beside.pop(0))


class Job:
    def __init__(self, scheduler: Scheduler, period_ns: int, job: Callable[[], object]) -> None:
        self.scheduler, self.period_s, self.job = scheduler, period_ns / 1e9, job

    def cancel(self) -> None:
        if self in self.scheduler.jobs:
            self.scheduler.jobs.remove(self)


class NoMonitors:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Routers:
    """A client of the routers that DNS names, without the client."""

    def __init__(self, server: DNSServer, question: SRVQuestion, **options: Any) -> None:
        self.resolver = Resolver(name_servers=[HOST], port=server.port)
        answer = self.resolver(question)
        self.factory = ConnectionFactory()
        self.monitors = NoMonitors()
        self.topology = Topology(
            answer.hosts,
            lambda address: BlockingPool(address, self.factory),
            lambda on_check: self.monitors,
        )
        self.topology.open()
        self.scheduler = Scheduler()
        self.polling = SrvPolling(
            make_ask(question, self.resolver),
            lambda hosts: self.topology.update_seeds(hosts, question.max_hosts),
            lambda: self.topology.follows_dns,
            heartbeat_s=options.get("heartbeat_s", 10.0),
            ttl_s=answer.ttl_s,
        )
        self.polling.start(self.scheduler)

    @property
    def ports(self) -> list[int]:
        servers = self.topology.description.server_descriptions()
        assert {address[0] for address in servers} <= {LOCALHOST}
        return sorted(port for _, port in servers)

    def say(self, port: int, hello: dict[str, Any]) -> None:
        """A monitor's check."""
        address = (LOCALHOST, port)
        self.topology.on_check(
            ServerDescription(address, HelloReply({"ok": 1, "maxWireVersion": 21, **hello}))
        )


@pytest.fixture
def dns_server() -> Iterator[DNSServer]:
    require()
    with DNSServer({ZONE: srv(27017, 27018)}) as server:
        yield server


@pytest.fixture
def routers(dns_server: DNSServer) -> Routers:
    return Routers(dns_server, SRVQuestion(NAME, timeout=timeout_of(5000)))


# -- prose tests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ports",
    [(27017, 27018, 27019), (27017,), (27017, 27019), (27019,), (27019, 27020)],
    ids=["1-addition", "2-removal", "3-replacement", "4-both-by-one", "5-both-by-two"],
)
def test_what_dns_names_is_followed(
    dns_server: DNSServer, routers: Routers, ports: tuple[int, ...]
) -> None:
    assert routers.ports == [27017, 27018]
    before = routers.topology.pool((LOCALHOST, 27017))
    dns_server.change(ZONE, srv(*ports))
    routers.scheduler.pass_time()
    assert routers.ports == list(ports)
    if 27017 in ports:
        assert routers.topology.pool((LOCALHOST, 27017)) is before, "it was left alone"
        assert before is not None
        assert not before.closed
    else:
        assert before is not None
        assert before.closed


def test_6_a_look_up_that_takes_too_long_changes_nothing(routers: Routers) -> None:
    with script.ScriptedDNS(script.silent) as silent:
        routers.polling._ask = make_ask(
            SRVQuestion(NAME, timeout=timeout_of(200)),
            Resolver(name_servers=[HOST], port=silent.port),
        )
        routers.scheduler.pass_time()
    assert routers.ports == [27017, 27018]
    assert [each.period_s for each in routers.scheduler.jobs] == [10.0]


@pytest.mark.parametrize("way", ["7-no-such-name", "8-no-records", "no-zone"])
def test_a_look_up_that_fails_changes_nothing_and_is_done_again_after_a_heartbeat(
    dns_server: DNSServer, routers: Routers, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mongokey.topology")
    assert [each.period_s for each in routers.scheduler.jobs] == [86400.0]
    lines = {
        "7-no-such-name": [],
        "8-no-records": [f"_mongodb._tcp.{NAME}. 300 IN TXT none"],
        "no-zone": None,
    }[way]
    dns_server.change(ZONE, lines)
    routers.scheduler.pass_time()
    assert routers.ports == [27017, 27018]
    assert [each.period_s for each in routers.scheduler.jobs] == [10.0]
    assert NAME in caplog.text
    dns_server.change(ZONE, srv(27019, ttl=300))
    routers.scheduler.pass_time()
    assert routers.ports == [27019]
    assert [each.period_s for each in routers.scheduler.jobs] == [300.0]


def test_9_behind_a_load_balancer_nobody_polls(
    dns_server: DNSServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(SrvPolling, "start", started.append)
    dns_server.change(ZONE, srv(27017))
    resolver = Resolver(name_servers=[HOST], port=dns_server.port)
    for options in ({"loadBalanced": True}, {"loadBalanced": True, "connect": False}):
        with MongoClient(f"mongodb+srv://{NAME}/", srv_resolver=resolver, **options) as client:
            client._topology.open()
            description = client.topology_description
            assert list(description.server_descriptions()) == [(LOCALHOST, 27017)]
            assert description.topology_type_name == "LoadBalanced"
            assert client._topology.monitors is None
    # The TXT record may say so too.
    dns_server.change(ZONE, [*srv(27017), f'{NAME}. 300 IN TXT "loadBalanced=true"'])
    with MongoClient(f"mongodb+srv://{NAME}/", srv_resolver=resolver, connect=False) as client:
        client._topology.open()
        assert client.topology_description.topology_type_name == "LoadBalanced"
    assert started == []


@pytest.mark.parametrize(
    ("max_hosts", "named", "fixed", "count"),
    [
        (0, (27017, 27019, 27020), {27017, 27019, 27020}, 3),
        (2, (27019, 27020), {27019, 27020}, 2),
        (2, (27017, 27019, 27020), {27017}, 2),
    ],
    ids=["10-all", "11-as-many", "12-at-random"],
)
def test_srv_max_hosts(
    dns_server: DNSServer, max_hosts: int, named: tuple[int, ...], fixed: set[int], count: int
) -> None:
    routers = Routers(dns_server, SRVQuestion(NAME, max_hosts=max_hosts, timeout=timeout_of(5000)))
    assert routers.ports == [27017, 27018]
    dns_server.change(ZONE, srv(*named))
    routers.scheduler.pass_time()
    assert fixed <= set(routers.ports) <= set(named)
    assert len(routers.ports) == count


def test_13_srv_service_name(dns_server: DNSServer) -> None:
    name = f"test22.test.build.{ZONE}"
    dns_server.change(ZONE, srv(27017, 27018, name=name, service="customname"))
    routers = Routers(dns_server, SRVQuestion(name, "customname", timeout=timeout_of(5000)))
    dns_server.change(ZONE, srv(27019, 27020, name=name, service="customname"))
    routers.scheduler.pass_time()
    assert routers.ports == [27019, 27020]


# -- other rules ----------------------------------------------------------------------------------


def test_hosts_of_strangers_are_passed_over(
    dns_server: DNSServer, routers: Routers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mongokey.topology")
    stranger = f"_mongodb._tcp.{NAME}. 300 IN SRV 0 0 27017 evil.example.test."
    dns_server.change(ZONE, [*srv(27019), stranger])
    routers.scheduler.pass_time()
    assert routers.ports == [27019]
    assert "evil.example.test" in caplog.text
    # None but strangers: as if DNS had failed.
    dns_server.change(ZONE, [stranger])
    routers.scheduler.pass_time()
    assert routers.ports == [27019]
    assert [each.period_s for each in routers.scheduler.jobs] == [10.0]


def test_the_least_time_to_live_is_the_pause_but_a_minute_at_least(
    dns_server: DNSServer, routers: Routers
) -> None:
    for ttl, pause_s in ((30, 60.0), (120, 120.0)):
        dns_server.change(ZONE, srv(27017, ttl=ttl))
        routers.scheduler.pass_time()
        assert [each.period_s for each in routers.scheduler.jobs] == [pause_s]


def test_a_replica_set_ends_the_polling(dns_server: DNSServer, routers: Routers) -> None:
    routers.say(27017, {"msg": "isdbgrid"})
    routers.scheduler.pass_time()
    assert len(routers.scheduler.jobs) == 1, "a sharded cluster is polled"
    other = Routers(dns_server, SRVQuestion(NAME, timeout=timeout_of(5000)))
    here = f"{LOCALHOST}:27017"
    other.say(
        27017,
        {"setName": "rs", "hosts": [here], "me": here, "isWritablePrimary": True},
    )
    dns_server.change(ZONE, srv(27019))
    other.scheduler.pass_time()
    assert other.ports == [27017]
    assert other.scheduler.jobs == []


def test_one_that_turns_out_to_be_a_set_while_dns_is_asked_is_left_alone(routers: Routers) -> None:
    wanted = [True, False]
    taken: list[Any] = []
    polling = SrvPolling(
        lambda: DNSAnswer([("x.test", 1)]),  # type: ignore[list-item]
        taken.append,
        lambda: wanted.pop(0) if len(wanted) > 1 else wanted[0],
        heartbeat_s=10,
    )
    wanted.pop(0)
    polling.rescan()
    assert taken == []


def test_a_closed_topology_is_not_polled(dns_server: DNSServer, routers: Routers) -> None:
    routers.topology.close()
    routers.scheduler.pass_time()
    assert routers.scheduler.jobs == []


def test_a_resolver_of_the_application_may_fail_as_it_likes() -> None:
    answers: list[Any] = [ZeroDivisionError(), ([], None), ([("/tmp/x", 1)], None)]
    asked: list[SRVQuestion] = []

    def resolve(question: SRVQuestion) -> Any:
        asked.append(question)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    taken: list[Any] = []
    question = SRVQuestion("x.y.test", max_hosts=2)
    polling = SrvPolling(
        make_ask(question, resolve), taken.append, lambda: True, heartbeat_s=10, ttl_s=90
    )
    assert polling.interval_s == 90
    for _ in range(3):
        polling.rescan()
        assert polling.interval_s == 10
    assert taken == []
    answers.append(([("a.y.test", 1), ("b.y.test", 1), ("c.y.test", 1)], None))
    polling.rescan()
    assert [len(hosts) for hosts in taken] == [3]
    assert polling.interval_s == 60
    assert {each.max_hosts for each in asked} == {0}, "who is chosen is the topology's to say"


def test_polling_keeps_nobody_alive() -> None:
    scheduler = Scheduler()
    polling = SrvPolling(lambda: DNSAnswer(()), lambda hosts: None, lambda: True, heartbeat_s=10)
    polling.start(scheduler)
    (job,) = scheduler.jobs
    scheduler.jobs.clear()
    gone = weakref.ref(scheduler)
    job.scheduler = None
    del scheduler
    gc.collect()
    assert gone() is None
    job.scheduler = Scheduler()
    job.job()


def test_what_is_asked_is_what_the_client_was_told(dns_server: DNSServer) -> None:
    resolver = Resolver(name_servers=[HOST], port=dns_server.port)
    with pytest.raises(ConfigurationError):
        MongoClient(f"mongodb+srv://{NAME}/?srvServiceName=other", srv_resolver=resolver)


@pytest.mark.live
def test_a_client_follows_routers_that_come_and_go(
    open_secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    require()
    monkeypatch.setattr(resolver_module, "MIN_POLL_S", 0.05)
    with Fleet(open_secantus, ["mongos"] * 3) as fleet:

        def records(*members: int) -> list[str]:
            return [
                f"_mongodb._tcp.cluster.example.test. 0 IN SRV 0 0 {fleet.ports[each]} 127.0.0.1."
                for each in members
            ]

        with DNSServer({"example.test": records(0, 1)}) as server:
            with MongoClient(
                "mongodb+srv://cluster.example.test/?tls=false",
                srv_resolver=Resolver(name_servers=[HOST], port=server.port),
                srv_host_validator=lambda host: True,
                heartbeatFrequencyMS=500,
            ) as client:
                client.admin.command("ping")

                def ports() -> set[int]:
                    return {port for _, port in client.topology_description.server_descriptions()}

                assert ports() == {fleet.ports[0], fleet.ports[1]}
                server.change("example.test", records(1, 2))
                assert fleet.wait_for(lambda: ports() == {fleet.ports[1], fleet.ports[2]})
                assert client.admin.command("ping")["ok"] == 1
                server.change("example.test", None)
                for _ in range(20):
                    client.admin.command("ping")
                assert ports() == {fleet.ports[1], fleet.ports[2]}
                server.change("example.test", records(2))
                assert fleet.wait_for(lambda: ports() == {fleet.ports[2]})
                assert client.admin.command("ping")["ok"] == 1

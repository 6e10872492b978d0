"""How long MONGODB-AWS keeps credentials: fetched once, refreshed in time, dropped when refused.

Each test counts what the sources were asked for (auth.md, "Caching Credentials"; the prose of
tests/mongodb-aws.md, "Cached Credentials", with our cache, which is the process's). How to
look into the cache is nobody's business: what a place hands out is what tells.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import AutoReconnect, OperationFailure
from tests.pools import drop_connections
from tests.servers.aws_cloud import AwsDeployment, ContainerCredentials, Imds
from tests.servers.mechanism.aws import AwsAcceptor, AwsKey
from tests.servers.needs import need_module
from tests.threads import in_threads, outcomes

pytestmark = pytest.mark.live

MINUTES = 60.0
#: Credentials are good for this long before they expire (auth.md).
MARGIN = 5 * MINUTES
ROLE = "arn:aws:iam::123456789012:role/pod"


def connect(deployment: AwsDeployment, **options: Any) -> MongoClient[Any]:
    return MongoClient(
        deployment.uri(directConnection=True), serverSelectionTimeoutMS=10_000, retryReads=False,
        **options,
    )  # fmt: skip


def use(client: MongoClient[Any]) -> None:
    """An operation by a connection that is new, and the last one of it."""
    client["aws"]["cache"].find_one()
    drop_connections(client)


def fetched(place: Any) -> int:
    """How often a place handed out credentials."""
    if isinstance(place, Imds):
        return len(place.seen("GET", f"{Imds.CREDENTIALS}{place.role}"))
    return len(place.seen("GET"))


class Container(ContainerCredentials):
    """A container's agent whose credentials last as long as `lifetime` says."""

    def __init__(self, deployment: AwsDeployment, lifetime: float) -> None:
        super().__init__(lambda: deployment.session("task", self.lifetime))
        self.lifetime = lifetime
        deployment.run(self)
        deployment.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=self.full_uri)


# Fetched once


def together(acceptor: AwsAcceptor, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, hold logins back until so many are under way."""
    barrier = threading.Barrier(count)
    judge = acceptor.judge

    def wait(payload: bytes, nonce: bytes) -> str:
        barrier.wait(10.0)
        return judge(payload, nonce)

    monkeypatch.setattr(acceptor, "judge", wait)


def test_fifty_connections_opened_at_once_ask_the_metadata_service_once(
    deployment: AwsDeployment,
) -> None:
    imds = deployment.imds()
    vend = imds.vend

    def slow() -> AwsKey:
        time.sleep(0.2)
        return vend()

    imds.vend = slow
    with connect(deployment, maxPoolSize=50, maxConnecting=50) as client:
        in_threads(50, client["aws"]["cache"].find_one)
    assert fetched(imds) == 1
    assert len(imds.seen("PUT")) == 1
    assert len(set(deployment.acceptor.signed)) == 1


@pytest.mark.parametrize("again", [False, True], ids=["kept", "expired"])
def test_connections_that_log_in_at_the_same_time_share_one_fetch(
    deployment: AwsDeployment, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Cold, the first connection finds out what server it is, alone; so the cache is emptied by
    an expiry before the others come together."""
    agent = Container(deployment, MARGIN - 5 if again else 3600)
    with connect(deployment, maxPoolSize=50, maxConnecting=50) as client:
        use(client)
        before = fetched(agent)
        agent.lifetime = 3600
        together(deployment.acceptor, 50, monkeypatch)
        in_threads(50, client["aws"]["cache"].find_one)
        assert deployment.server.logins == 51
    assert fetched(agent) == before + again
    assert len(set(deployment.acceptor.signed[1:])) == 1


def test_connections_that_log_in_at_the_same_time_share_one_failure(
    deployment: AwsDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = need_module("botocore.utils", extra="aws")
    monkeypatch.setattr(utils.ContainerMetadataFetcher, "SLEEP_TIME", 0.2)
    agent = Container(deployment, MARGIN - 5)
    with connect(deployment, maxPoolSize=50, maxConnecting=50) as client:
        use(client)
        before = fetched(agent)
        agent.authorization = "nobody has this"
        errors = outcomes(8, client["aws"]["cache"].find_one)
    assert all(isinstance(error, OperationFailure) for error in errors)
    assert len({str(error) for error in errors}) == 1
    # boto3 tries three times.
    assert fetched(agent) == before + 3


def test_a_web_identity_is_exchanged_once(deployment: AwsDeployment) -> None:
    path = deployment.environment.write("token", deployment.issuer.token())
    deployment.environment.set(AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=ROLE)
    deployment.sts.delay = 0.2
    with connect(deployment, maxConnecting=10) as client:
        in_threads(10, client["aws"]["cache"].find_one)
    assert deployment.sts_calls() == ["AssumeRoleWithWebIdentity"]


def test_twenty_clients_one_after_the_other_make_one_call_of_sts(
    deployment: AwsDeployment,
) -> None:
    """As of a Lambda function, or a test suite, that makes a client for each call."""
    path = deployment.environment.write("token", deployment.issuer.token())
    deployment.environment.set(AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=ROLE)
    for _ in range(20):
        with connect(deployment) as client:
            client.admin.command("ping")
    assert deployment.server.logins == 20
    assert deployment.sts_calls() == ["AssumeRoleWithWebIdentity"]


def test_four_clients_at_once_ask_the_container_s_agent_once(deployment: AwsDeployment) -> None:
    agent = Container(deployment, 3600)

    def work() -> None:
        with connect(deployment) as client:
            client["aws"]["cache"].find_one()

    in_threads(4, work)
    assert deployment.server.logins == 4
    assert fetched(agent) == 1


def test_another_environment_is_asked_by_itself(deployment: AwsDeployment) -> None:
    agent = Container(deployment, 3600)
    with connect(deployment) as first:
        use(first)
        other = Container(deployment, 3600)  # now the environment names this one
        assert other.full_uri != agent.full_uri
        with connect(deployment) as second:
            use(second)
        assert (fetched(agent), fetched(other)) == (1, 1)
        use(first)
    assert (fetched(agent), fetched(other)) == (1, 1)


def test_a_client_that_comes_after_the_files_changed_asks_anew(deployment: AwsDeployment) -> None:
    command = deployment.environment.process(deployment.session())
    deployment.environment.config_file({"default": {"credential_process": command}})
    for runs in (1, 1):
        with connect(deployment) as client:
            use(client)
        assert deployment.environment.runs() == runs
    deployment.environment.config_file(
        {"default": {"credential_process": command, "region": "eu-central-1"}}
    )
    with connect(deployment) as client:
        use(client)
    assert deployment.environment.runs() == 2


def test_keys_that_one_client_found_refused_are_fetched_anew_for_all(
    deployment: AwsDeployment,
) -> None:
    agent = Container(deployment, 3600)
    with connect(deployment) as one, connect(deployment) as other:
        use(one)
        use(other)
        assert fetched(agent) == 1
        deployment.acceptor.refuse()
        with pytest.raises(OperationFailure):
            use(one)
        use(other)
        assert fetched(agent) == 2


def test_a_process_runs_once(deployment: AwsDeployment) -> None:
    command = deployment.environment.process(deployment.session())
    deployment.environment.config_file({"default": {"credential_process": command}})
    with connect(deployment) as client:
        for _ in range(3):
            use(client)
    assert deployment.environment.runs() == 1


def test_a_credential_provider_that_says_when_its_credentials_expire_is_asked_once(
    deployment: AwsDeployment,
) -> None:
    from botocore.credentials import RefreshableCredentials

    calls = []

    def refresh() -> dict[str, str]:
        calls.append(1)
        key = deployment.session("callback")
        assert key.token is not None
        assert key.expires is not None
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(key.expires))
        return {"access_key": key.access_key, "secret_key": key.secret_key, "token": key.token,
                "expiry_time": expiry}  # fmt: skip

    def provider() -> Any:
        return RefreshableCredentials.create_from_metadata(refresh(), refresh, "mine")

    properties = {"AWS_CREDENTIAL_PROVIDER": provider}
    with connect(deployment, authMechanismProperties=properties) as client:
        for _ in range(3):
            use(client)
    assert len(calls) == 1


# Refreshed five minutes before they expire


def test_credentials_within_five_minutes_of_their_end_are_fetched_again(
    deployment: AwsDeployment,
) -> None:
    agent = Container(deployment, MARGIN - 5)
    with connect(deployment) as client:
        for number in (1, 2, 3):
            before = fetched(agent)
            use(client)
            assert fetched(agent) > before
            assert len(set(deployment.acceptor.signed)) == number
        agent.lifetime = 3600
        before = fetched(agent)
        for _ in range(3):
            use(client)
        assert fetched(agent) == before + 1


def test_credentials_with_more_than_five_minutes_left_are_kept(deployment: AwsDeployment) -> None:
    agent = Container(deployment, MARGIN + 60)
    with connect(deployment) as client:
        use(client)
        # botocore itself refreshes what it has just fetched when less than 15 minutes are left.
        before = fetched(agent)
        for _ in range(3):
            use(client)
    assert fetched(agent) == before
    assert len(set(deployment.acceptor.signed)) == 1


@pytest.mark.parametrize("place", ["container", "instance"])
def test_credentials_are_fetched_again_when_the_time_has_come(
    deployment: AwsDeployment, place: str
) -> None:
    # Expirations are whole seconds. botocore adds some minutes to what an instance's metadata
    # says; the true end counts.
    need_module("botocore.session", extra="aws")  # its import takes a while
    due = math.ceil(time.time() + 1.2)
    lifetime = due + MARGIN - time.time() + 0.01
    if place == "container":
        Container(deployment, lifetime)
    else:
        deployment.imds(lifetime)
    with connect(deployment) as client:
        use(client)
        use(client)
        assert time.time() < due, "this machine is too slow for this test"
        assert len(set(deployment.acceptor.signed)) == 1
        time.sleep(due - time.time() + 0.05)
        use(client)
    assert len(set(deployment.acceptor.signed)) == 2


def test_a_role_is_assumed_again_when_the_time_has_come(deployment: AwsDeployment) -> None:
    deployment.environment.credentials_file({"base": deployment.user})
    deployment.environment.config_file(
        {"default": {"role_arn": ROLE, "source_profile": "base", "region": "eu-west-1"}}
    )
    deployment.sts.lifetime = MARGIN - 10
    with connect(deployment) as client:
        use(client)
        use(client)
        assert len(set(deployment.acceptor.signed)) == 2
        deployment.sts.lifetime = 3600
        use(client)
        use(client)
    assert len(set(deployment.acceptor.signed)) == 3


def test_a_web_identity_s_token_is_read_again(deployment: AwsDeployment) -> None:
    """Kubernetes rotates the file."""
    path = deployment.environment.write("token", deployment.issuer.token("first"))
    deployment.environment.set(AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=ROLE)
    deployment.sts.lifetime = MARGIN - 10
    with connect(deployment) as client:
        use(client)
        deployment.environment.write("token", deployment.issuer.token("second"))
        use(client)
    tokens = [call.parameters.get("WebIdentityToken") for call in deployment.sts.calls]
    assert len({token for token in tokens if token}) == 2


# Dropped when the server refuses them


@pytest.mark.parametrize("place", ["instance", "container", "web identity"])
def test_refused_credentials_are_dropped(deployment: AwsDeployment, place: str) -> None:
    """The prose test's steps 7 to 12, by a server that refuses what it took before."""
    if place == "instance":
        deployment.imds()
    elif place == "container":
        Container(deployment, 3600)
    else:
        path = deployment.environment.write("token", deployment.issuer.token())
        deployment.environment.set(AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=ROLE)
    with connect(deployment) as client:
        use(client)
        (old,) = deployment.acceptor.signed
        deployment.acceptor.expire(old)
        with pytest.raises(OperationFailure) as caught:
            use(client)
        assert caught.value.code == 18
        use(client)
        use(client)
    assert deployment.acceptor.signed[:2] == [old, old]
    (new,) = set(deployment.acceptor.signed[2:])
    assert new != old


def test_credentials_are_dropped_for_every_kind_of_refusal(deployment: AwsDeployment) -> None:
    imds = deployment.imds()
    with connect(deployment) as client:
        use(client)
        deployment.acceptor.refuse()
        with pytest.raises(OperationFailure) as caught:
            use(client)
        assert caught.value.code == 8000
        use(client)
    assert fetched(imds) == 2


def test_a_lost_connection_is_no_reason_to_drop_them(deployment: AwsDeployment) -> None:
    imds = deployment.imds()
    with connect(deployment) as client:
        use(client)
        deployment.server.fail_command(["find"], close=True)
        with pytest.raises(AutoReconnect):
            use(client)
        use(client)
    assert fetched(imds) == 1


def test_a_late_refusal_does_not_drop_newer_credentials(
    deployment: AwsDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two logins with the same credentials are refused one after the other: the second one's
    refusal is about the old ones, not about those fetched in between."""
    imds = deployment.imds()
    judge = deployment.acceptor.judge
    release = threading.Event()
    held = threading.Event()
    calls: list[int] = []

    def hold(payload: bytes, nonce: bytes) -> str:
        calls.append(1)
        if len(calls) == 2:
            held.set()
            assert release.wait(20.0)
        return judge(payload, nonce)

    with connect(deployment, maxConnecting=5) as client:
        use(client)
        (old,) = deployment.acceptor.signed
        calls.clear()
        calls.append(1)
        monkeypatch.setattr(deployment.acceptor, "judge", hold)
        drop_connections(client)
        late: list[BaseException] = []
        slow = threading.Thread(
            target=lambda: late.extend(outcomes(1, client["aws"]["cache"].find_one))
        )
        slow.start()
        assert held.wait(20.0)
        deployment.acceptor.expire(old)
        with pytest.raises(OperationFailure):
            client["aws"]["cache"].find_one()
        client["aws"]["cache"].find_one()
        assert fetched(imds) == 2
        release.set()
        slow.join(20.0)
        assert [type(error).__mro__[1] for error in late] == [OperationFailure]
        drop_connections(client)
        use(client)
    assert fetched(imds) == 2


# The environment is never cached


def test_environment_variables_are_read_at_every_login(deployment: AwsDeployment) -> None:
    """Lambda's, or another part of the program that refreshes them."""
    with connect(deployment) as client:
        for _ in range(3):
            key = deployment.session()
            deployment.environment.set_key(key)
            use(client)
            assert deployment.acceptor.signed[-1] == key.access_key


def test_the_credential_provider_s_own_environment_reading_is_not_cached(
    deployment: AwsDeployment,
) -> None:
    deployment.environment.set_key(deployment.user)
    with connect(deployment) as client:
        use(client)
        deployment.environment.set_key(AwsKey(deployment.user.access_key, "invalid"))
        with pytest.raises(OperationFailure):
            use(client)
        deployment.environment.set_key(deployment.user)
        use(client)


def test_variables_that_appear_later_do_not_replace_cached_credentials(
    deployment: AwsDeployment,
) -> None:
    """The second prose test's steps 11 to 18; auth.md, "Environment variables"."""
    imds = deployment.imds()
    with connect(deployment) as client:
        use(client)
        deployment.environment.set_key(AwsKey("AKIAINVALIDINVALIDAA", "invalid"))
        use(client)
    assert fetched(imds) == 1
    assert len(set(deployment.acceptor.signed)) == 1


def test_the_environment_s_credentials_leave_nothing_in_the_cache(
    deployment: AwsDeployment,
) -> None:
    """The second prose test's steps 4 to 10: gone variables send the client to the next place."""
    imds = deployment.imds()
    deployment.environment.set_key(deployment.user)
    with connect(deployment) as client:
        use(client)
        assert fetched(imds) == 0
        deployment.environment.set(
            AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_SESSION_TOKEN=None
        )
        use(client)
        assert fetched(imds) == 1


def test_keys_of_the_program_s_own_are_tried_again_after_a_refusal(
    deployment: AwsDeployment,
) -> None:
    key = deployment.user
    login = {"username": key.access_key, "password": key.secret_key}
    with connect(deployment, **login, loginBackoffMS=0) as client:
        use(client)
        deployment.acceptor.refuse()
        with pytest.raises(OperationFailure):
            use(client)
        use(client)
    assert deployment.acceptor.signed == [key.access_key] * 3


def test_a_shared_file_that_changed_is_read_after_a_refusal(deployment: AwsDeployment) -> None:
    """Whoever rotated the key in the file need not restart the program."""
    deployment.environment.credentials_file(
        {"default": AwsKey(deployment.user.access_key, "rotated away")}
    )
    with connect(deployment) as client:
        with pytest.raises(OperationFailure):
            use(client)
        deployment.environment.credentials_file({"default": deployment.user})
        use(client)


def test_a_shared_file_that_changed_is_read_at_the_next_login(deployment: AwsDeployment) -> None:
    deployment.environment.credentials_file({"default": deployment.session()})
    with connect(deployment) as client:
        use(client)
        deployment.environment.credentials_file({"default": deployment.user})
        use(client)
    assert deployment.acceptor.signed[-1] == deployment.user.access_key

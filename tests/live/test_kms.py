"""Data keys of key management systems: what is asked of their servers, by TLS, and what becomes of
one that is slow, broken, or somebody else. On both faces."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from select import select
from typing import Any

import pytest

import mongokey
from mongokey.encryption_options import (
    AsyncHTTPProxyKMSConnect,
    HTTPProxyKMSConnect,
    KMSConnectContext,
)
from mongokey.errors import ConfigurationError, EncryptionError, MongoError
from tests.faces.wrapper import Wrapped
from tests.live._encryption import DETERMINISTIC, LOCAL, client_encryption
from tests.servers.certificates import Authority
from tests.servers.kmip import ACTIVATE, GET, REGISTER, KMIPServer
from tests.servers.kms import HOST, KMSServer
from tests.servers.managed_server import ManagedServer
from tests.servers.web import WebReply

pytestmark = pytest.mark.live

PROVIDERS = ["aws", "azure", "gcp"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KMSServer]:
    with KMSServer(tmp_path_factory.mktemp("kms")) as made:
        yield made


@pytest.fixture
def kms(server: KMSServer) -> KMSServer:
    server.mend()
    return server


@pytest.fixture
def crypt(client: Any, database_name: str, kms: KMSServer) -> Iterator[Any]:
    with client_encryption(
        client, f"{database_name}.keys", kms.providers(), kms_tls_options=kms.tls_options()
    ) as made:
        yield made


def other(client: Any, database_name: str, kms: KMSServer, **further: Any) -> Any:
    """One more, which knows no key yet."""
    given = {"kms_tls_options": kms.tls_options(), **further}
    return client_encryption(client, f"{database_name}.keys", kms.providers(), **given)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_is_encrypted_and_decrypted_there(
    client: Any, database_name: str, crypt: Any, kms: KMSServer, provider: str
) -> None:
    key_id = crypt.create_data_key(provider, kms.master_key(provider))
    assert crypt.get_key(key_id)["masterKey"]["provider"] == provider
    asked = kms.count()
    assert asked == {"aws": 1}.get(provider, 2)  # the others want a token first
    sealed = crypt.encrypt("text", DETERMINISTIC, key_id=key_id)
    with other(client, database_name, kms) as second:
        assert second.decrypt(sealed) == "text"
    assert kms.count() > asked
    paths = [request.path for request in kms.requests]
    assert {"aws": "/", "azure": "/keys/key//unwrapkey"}.get(provider, paths[-1]) == paths[-1]


def test_a_key_goes_from_one_system_to_another(
    client: Any, database_name: str, crypt: Any, kms: KMSServer
) -> None:
    key_id = crypt.create_data_key("aws", kms.master_key("aws"))
    sealed = crypt.encrypt("text", DETERMINISTIC, key_id=key_id)
    done = crypt.rewrap_many_data_key({}, "azure", kms.master_key("azure"))
    assert done.bulk_write_result.modified_count == 1
    assert crypt.get_key(key_id)["masterKey"]["provider"] == "azure"
    with other(client, database_name, kms) as second:
        assert second.decrypt(sealed) == "text"


def test_a_key_of_a_kmip_server(client: Any, database_name: str, tmp_path: Path) -> None:
    with KMIPServer(tmp_path) as kmip:
        providers = {"kmip": {"endpoint": kmip.address}}
        further = {"kms_tls_options": {"kmip": {"tlsCAFile": kmip.authority}}}
        vault = f"{database_name}.keys"
        with client_encryption(client, vault, providers, **further) as crypt:
            key_id = crypt.create_data_key("kmip")
            sealed = crypt.encrypt("text", DETERMINISTIC, key_id=key_id)
            assert crypt.get_key(key_id)["masterKey"]["keyId"] == "1"
        # Made, and got again for the value.
        assert kmip.operations == [REGISTER, ACTIVATE, GET, GET]
        assert kmip.active == {"1"}
        assert len(kmip.secrets["1"]) == 96
        with client_encryption(client, vault, providers, **further) as crypt:
            assert crypt.decrypt(sealed) == "text"
            assert crypt.create_data_key("kmip", {"keyId": "1"}).subtype == 4
            with pytest.raises(EncryptionError):
                crypt.create_data_key("kmip", {"keyId": "unknown"})


class TestFaults:
    @pytest.mark.parametrize(
        "fault", [WebReply(503, "busy"), WebReply(429, "later"), WebReply(hang_up=True)]
    )
    def test_what_passes_is_tried_again(self, crypt: Any, kms: KMSServer, fault: Any) -> None:
        # Prose test 24, "KMS Retry Tests".
        master_key = kms.master_key("aws")
        kms.fail(fault)
        assert crypt.create_data_key("aws", master_key).subtype == 4
        assert kms.count() == 2

    def test_what_does_not_pass_is_told(self, crypt: Any, kms: KMSServer) -> None:
        master_key = kms.master_key("aws")
        kms.fail_always(WebReply(hang_up=True))
        with pytest.raises(EncryptionError, match="last attempt failed with"):
            crypt.create_data_key("aws", master_key)
        assert 2 <= kms.count() <= 10

    def test_a_refusal_is_told_and_not_tried_again(self, crypt: Any, kms: KMSServer) -> None:
        master_key = {**kms.master_key("aws"), "key": "arn:aws:kms:us-east-1:123:key/unknown"}
        with pytest.raises(EncryptionError) as raised:
            crypt.create_data_key("aws", master_key)
        assert "aws-secret-key" not in str(raised.value)
        assert kms.count() == 1

    def test_an_answer_in_drops_is_read(self, crypt: Any, kms: KMSServer) -> None:
        master_key = kms.master_key("gcp")
        kms.fail(WebReply(body={"access_token": "the token", "expires_in": 3600}, pause=0.002))
        assert crypt.create_data_key("gcp", master_key).subtype == 4

    def test_nobody_there(self, crypt: Any, kms: KMSServer) -> None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            endpoint = f"{HOST}:{free.getsockname()[1]}"
            with pytest.raises(EncryptionError, match="refused"):
                crypt.create_data_key("aws", {**kms.master_key("aws"), "endpoint": endpoint})

    def test_a_slow_answer_ends_with_the_time(
        self, client: Any, crypt: Any, kms: KMSServer
    ) -> None:
        master_key = kms.master_key("aws")
        kms.fail_always(WebReply(delay=30))
        with mongokey.timeout(0.5), pytest.raises(EncryptionError) as raised:
            crypt.create_data_key("aws", master_key)
        assert raised.value.timeout
        assert kms.count() == 1

    def test_a_wrong_endpoint(self, crypt: Any, kms: KMSServer) -> None:
        with pytest.raises((EncryptionError, ConfigurationError)):
            crypt.create_data_key("aws", {**kms.master_key("aws"), "endpoint": "a.b:99999"})


class TestTLS:
    def test_a_server_of_another_authority_is_refused(
        self, client: Any, database_name: str, kms: KMSServer, tmp_path: Path
    ) -> None:
        # Prose test 10, "KMS TLS Tests".
        stranger = {"aws": {"tlsCAFile": Authority(tmp_path, "stranger").certificate_file}}
        master_key = kms.master_key("aws")
        with other(client, database_name, kms, kms_tls_options=stranger) as crypt:
            with pytest.raises(EncryptionError, match="certificate"):
                crypt.create_data_key("aws", master_key)
        assert kms.count() == 0

    def test_a_server_of_another_name_is_refused(self, crypt: Any, kms: KMSServer) -> None:
        master_key = {**kms.master_key("aws"), "endpoint": f"localhost.localdomain:{kms.port}"}
        with pytest.raises(EncryptionError):
            crypt.create_data_key("aws", master_key)
        assert kms.count() == 0

    @pytest.mark.parametrize(
        "option",
        [
            "tlsInsecure",
            "tlsAllowInvalidCertificates",
            "tlsAllowInvalidHostnames",
            "tlsDisableOCSPEndpointCheck",
        ],
    )
    def test_checks_cannot_be_turned_off(
        self, client: Any, database_name: str, option: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=option):
            client_encryption(
                client, f"{database_name}.keys", kms_tls_options={"aws": {option: True}}
            )

    def test_wrong_options(self, client: Any, database_name: str, tmp_path: Path) -> None:
        for wrong in (5, {"aws": 5}):
            with pytest.raises(TypeError, match="kms_tls_options"):
                client_encryption(client, f"{database_name}.keys", kms_tls_options=wrong)
        for wrong in ({"tls": False}, {"tlsCAFile": 5}, {"unknown": 5}):
            with pytest.raises((ConfigurationError, TypeError)):
                client_encryption(client, f"{database_name}.keys", kms_tls_options={"aws": wrong})


class TestConnections:
    def connecting(self, client: Any, kms: KMSServer, seen: list[Any], result: Any = None) -> Any:
        def connect(context: KMSConnectContext) -> Any:
            seen.append(context)
            return socket.create_connection((HOST, kms.port)) if result is None else result

        async def connect_soon(context: KMSConnectContext) -> Any:
            await asyncio.sleep(0)
            return connect(context)

        return connect_soon if isinstance(client, Wrapped) else connect

    def test_the_users_own_are_used(self, client: Any, database_name: str, kms: KMSServer) -> None:
        seen: list[Any] = []
        callback = self.connecting(client, kms, seen)
        with other(client, database_name, kms, kms_connect_callback=callback) as crypt:
            assert crypt.create_data_key("aws", kms.master_key("aws")).subtype == 4
        (context,) = seen
        assert (context.host, context.port) == (HOST, kms.port)
        assert 0 < context.timeout <= 20

    def test_what_is_no_socket_is_refused(
        self, client: Any, database_name: str, kms: KMSServer
    ) -> None:
        callback = self.connecting(client, kms, [], result=5)
        with other(client, database_name, kms, kms_connect_callback=callback) as crypt:
            with pytest.raises(ConfigurationError, match=r"unwrapped socket\.socket, not int"):
                crypt.create_data_key("aws", kms.master_key("aws"))


class Proxy(ManagedServer):
    """An HTTP proxy that knows CONNECT, by TLS with a `context`; `asked` are its requests."""

    def __init__(self, context: ssl.SSLContext | None = None, status: str = "200 OK") -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), contextlib.ExitStack() as closing:
                    stream = self.request
                    stream.settimeout(30)
                    if context is not None:
                        stream = context.wrap_socket(stream, server_side=True)
                        closing.callback(stream.close)
                    request = b""
                    while not request.endswith(b"\r\n\r\n"):
                        piece = stream.recv(1)
                        if not piece:
                            return
                        request += piece
                    outer.asked.append(request.decode())
                    stream.sendall(f"HTTP/1.1 {status}\r\nVia: test\r\n\r\n".encode())
                    if not status.startswith("2"):
                        return
                    host, _, port = request.split()[1].decode().rpartition(":")
                    with socket.create_connection((host, int(port))) as target:
                        self.pump(stream, target)

            def pump(self, stream: Any, target: socket.socket) -> None:
                while True:
                    waiting = getattr(stream, "pending", lambda: 0)()
                    ready = [stream] if waiting else select([stream, target], [], [], 30)[0]
                    for source, sink in ((stream, target), (target, stream)):
                        if source in ready:
                            data = source.recv(16384)
                            if not data:
                                return
                            sink.sendall(data)

        self._server = socketserver.ThreadingTCPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address = f"{HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def start(self) -> Any:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


class TestProxies:
    def connecting(self, client: Any, *arguments: Any) -> Any:
        kind = AsyncHTTPProxyKMSConnect if isinstance(client, Wrapped) else HTTPProxyKMSConnect
        return kind(*arguments)

    def test_by_http(self, client: Any, database_name: str, kms: KMSServer) -> None:
        with Proxy() as proxy:
            callback = self.connecting(
                client, f"http://user:p%40ss@{proxy.address}", None, {"X-Trace": "5"}
            )
            assert "ss@" not in repr(callback)
            with other(client, database_name, kms, kms_connect_callback=callback) as crypt:
                assert crypt.create_data_key("aws", kms.master_key("aws")).subtype == 4
        (asked,) = proxy.asked
        lines = asked.split("\r\n")
        assert lines[0] == f"CONNECT {kms.address} HTTP/1.1"
        assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in lines
        assert "X-Trace: 5" in lines
        assert kms.count() == 1

    def test_by_https(
        self, client: Any, database_name: str, kms: KMSServer, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path, "proxy-authority")
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(authority.issue("proxy", HOST).pem)
        trusting = ssl.create_default_context(cafile=authority.certificate_file)
        with Proxy(serving) as proxy:
            callback = self.connecting(client, f"https://{proxy.address}", trusting)
            with other(client, database_name, kms, kms_connect_callback=callback) as crypt:
                assert crypt.create_data_key("azure", kms.master_key("azure")).subtype == 4
        assert len(proxy.asked) == kms.count() == 2

    def test_one_that_refuses(self, client: Any, database_name: str, kms: KMSServer) -> None:
        with Proxy(status="407 Proxy Authentication Required") as proxy:
            callback = self.connecting(client, f"http://{proxy.address}")
            with other(client, database_name, kms, kms_connect_callback=callback) as crypt:
                with pytest.raises(EncryptionError, match="407 Proxy Authentication Required"):
                    crypt.create_data_key("aws", kms.master_key("aws"))
        assert kms.count() == 0

    @pytest.mark.parametrize(
        "url", ["", "proxy:80", "ftp://proxy", "http://", "http://u:secret@h:99999"]
    )
    def test_wrong_urls(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="proxy_url") as raised:
            HTTPProxyKMSConnect(url)
        assert "secret" not in str(raised.value)
        with pytest.raises(TypeError):
            HTTPProxyKMSConnect(5)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="headers"):
            HTTPProxyKMSConnect("http://h", None, {"a": "b\r\nc: d"})


class TestOnDemand:
    def test_aws_credentials_of_the_environment(
        self,
        client: Any,
        database_name: str,
        kms: KMSServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Prose test 15 of automatic credentials.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFROMENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with client_encryption(
            client, f"{database_name}.keys", {"aws": {}}, kms_tls_options=kms.tls_options()
        ) as crypt:
            assert crypt.create_data_key("aws", kms.master_key("aws")).subtype == 4
        assert "Credential=AKIAFROMENV/" in kms.requests[-1].headers["authorization"]

    def test_none_are_told(
        self, client: Any, database_name: str, kms: KMSServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GCE_METADATA_HOST", f"{HOST}:1")
        with client_encryption(client, f"{database_name}.keys", {"gcp": {}}) as crypt:
            with pytest.raises(EncryptionError, match="cannot be reached"):
                crypt.create_data_key("gcp", kms.master_key("gcp"))


def test_other_tasks_go_on_while_a_system_is_asked(
    face: str, client: Any, crypt: Any, kms: KMSServer
) -> None:
    if face != "asyncio":
        pytest.skip("of asyncio")
    master_key = kms.master_key("aws")
    inner = crypt._inner

    async def ask() -> None:
        waiting = asyncio.ensure_future(inner.create_data_key("aws", master_key))
        while not kms.count():
            await asyncio.sleep(0.01)
        # The server answers when the loop has gone on.
        hold.set()
        await waiting

    hold = kms.hold = threading.Event()
    try:
        client._loop.call(ask)
    finally:
        kms.hold = None
    assert kms.let_go is True


def test_a_task_that_is_cancelled_leaves_nothing(
    face: str, client: Any, crypt: Any, kms: KMSServer
) -> None:
    if face != "asyncio":
        pytest.skip("of asyncio")
    master_key = kms.master_key("aws")
    inner = crypt._inner
    kms.fail(WebReply(delay=30))

    async def cancel() -> None:
        waiting = asyncio.ensure_future(inner.create_data_key("aws", master_key))
        while not kms.count():
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    client._loop.call(cancel)
    # libmongocrypt is as it was.
    assert crypt.create_data_key("aws", master_key).subtype == 4


def test_secrets_are_in_no_error(client: Any, database_name: str, kms: KMSServer) -> None:
    kms.fail_always(WebReply(hang_up=True))
    with other(client, database_name, kms) as crypt:
        for provider in PROVIDERS:
            with pytest.raises(MongoError) as raised:
                crypt.create_data_key(provider, {**kms.master_key(provider), **LOCAL})
            for secret in ("aws-secret-key", "azure-secret"):
                assert secret not in f"{raised.value!r}{raised.value.__cause__!r}"

"""The HTTP endpoints that hand credentials to a machine: IMDSv2, the container agent's, SSO's.

Written from AWS's user guides (EC2 "Use IMDS", ECS "Task IAM role", EKS "Pod Identity", SSO
Portal API "GetRoleCredentials"). What they hand out comes from a function, so that whoever made
it can check it later. Knows nothing of MongoDB.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.servers.mechanism.aws import AwsKey
from tests.servers.web import Served

LONGEST_TOKEN = 21600

Vend = Callable[[], AwsKey]


@dataclass(frozen=True)
class Seen:
    """A request that came; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Fault:
    """What the next `times` requests of this method get: a status, or (0) nothing for `wait` s."""

    method: str = "GET"
    status: int = 0
    body: bytes = b""
    wait: float = 0.0
    times: int = 1


class MetadataServer(Served):
    """An HTTP server on loopback, or on `listener`; subclasses answer in `answer`.

    `requests` are those that came, in order; `faults` go before the right answers.
    """

    def __init__(self, listener: socket.socket | None = None) -> None:
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._handle(self)

            do_PUT = do_GET

            def log_message(self, *args: object) -> None:
                """A test has no use for a line per request."""

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        if listener is None:
            http.server_bind()
            http.server_activate()
        else:
            http.socket.close()
            http.socket = listener
            http.server_address = listener.getsockname()
        http.daemon_threads = True
        super().__init__(http)

    @property
    def url(self) -> str:
        """`http://host:port`, without a slash at the end."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def seen(self, method: str = "GET", containing: str = "") -> list[Seen]:
        """The requests of this method whose path has `containing` in it."""
        with self._lock:
            return [s for s in self.requests if s.method == method and containing in s.path]

    def answer(self, seen: Seen) -> tuple[int, bytes]:
        """Status and body."""
        raise NotImplementedError

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        seen = Seen(handler.command, handler.path, headers)
        with self._lock:
            self.requests.append(seen)
            fault = next((f for f in self.faults if f.method == seen.method and f.times), None)
            if fault is not None:
                fault.times -= 1
        if fault is None:
            status, body = self.answer(seen)
        else:
            self._stopping.wait(fault.wait)
            if not fault.status:
                return
            status, body = fault.status, fault.body
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


class Imds(MetadataServer):
    """An EC2 instance's metadata service, version 2 only; `url` is its endpoint.

    Answers what a request with a session token may see of `role`; `vend` makes the credentials.
    """

    CREDENTIALS = "/latest/meta-data/iam/security-credentials/"
    TOKEN = "/latest/api/token"

    def __init__(self, vend: Vend, role: str = "ec2-role") -> None:
        super().__init__()
        self.vend = vend
        self.role: str | None = role
        self._tokens: dict[str, float] = {}

    def answer(self, seen: Seen) -> tuple[int, bytes]:
        if seen.method == "PUT":
            return self._issue(seen)
        good_until = self._tokens.get(seen.headers.get("x-aws-ec2-metadata-token", ""), 0.0)
        if time.monotonic() >= good_until:
            return HTTPStatus.UNAUTHORIZED, b""
        path = urlsplit(seen.path).path
        if self.role is None:
            return HTTPStatus.NOT_FOUND, b""
        if path in (self.CREDENTIALS, self.CREDENTIALS.rstrip("/")):
            return HTTPStatus.OK, self.role.encode()
        if path == self.CREDENTIALS + self.role:
            key = self.vend()
            document = {
                "Code": "Success",
                "LastUpdated": _iso(time.time()),
                "Type": "AWS-HMAC",
                **credentials_document(key),
            }
            return HTTPStatus.OK, json.dumps(document).encode()
        return HTTPStatus.NOT_FOUND, b""

    def _issue(self, seen: Seen) -> tuple[int, bytes]:
        ttl = seen.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if urlsplit(seen.path).path != self.TOKEN:
            return HTTPStatus.NOT_FOUND, b""
        if not ttl.isascii() or not ttl.isdigit() or not 1 <= int(ttl) <= LONGEST_TOKEN:
            return HTTPStatus.BAD_REQUEST, b""
        if "x-forwarded-for" in seen.headers:
            return HTTPStatus.FORBIDDEN, b""
        token = secrets.token_urlsafe(42)
        self._tokens[token] = time.monotonic() + int(ttl)
        return HTTPStatus.OK, token.encode()


class ContainerCredentials(MetadataServer):
    """The agent of ECS, or of EKS Pod Identity: `url` + `path` gives `vend`'s credentials.

    `authorization` is what the Authorization header has to be, None for no header at all.
    """

    def __init__(
        self,
        vend: Vend,
        *,
        path: str = "/v2/credentials/6f3f7a4e",
        authorization: str | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        super().__init__(listener)
        self.vend = vend
        self.path = path
        self.authorization = authorization

    @property
    def full_uri(self) -> str:
        """What AWS_CONTAINER_CREDENTIALS_FULL_URI has to be."""
        return self.url + self.path

    def answer(self, seen: Seen) -> tuple[int, bytes]:
        if seen.path != self.path:
            return HTTPStatus.NOT_FOUND, b'{"code":"NoIdInRequest"}'
        if seen.headers.get("authorization") != self.authorization:
            return HTTPStatus.UNAUTHORIZED, b'{"code":"AccessDeniedException"}'
        key = self.vend()
        document = {"RoleArn": key.arn, **credentials_document(key)}
        return HTTPStatus.OK, json.dumps(document).encode()


class SsoPortal(MetadataServer):
    """IAM Identity Center's portal: credentials of a role for whoever has the access token."""

    def __init__(self, vend: Vend, *, account: str, role: str) -> None:
        super().__init__()
        self.vend = vend
        self.account = account
        self.role = role
        self.access_token = secrets.token_urlsafe(24)

    def answer(self, seen: Seen) -> tuple[int, bytes]:
        parts = urlsplit(seen.path)
        if parts.path != "/federation/credentials":
            return HTTPStatus.NOT_FOUND, b"{}"
        if seen.headers.get("x-amz-sso_bearer_token") != self.access_token:
            return HTTPStatus.UNAUTHORIZED, b'{"message":"Session token not found or invalid"}'
        query = parse_qs(parts.query)
        if query != {"role_name": [self.role], "account_id": [self.account]}:
            return HTTPStatus.FORBIDDEN, b'{"message":"No access"}'
        key = self.vend()
        assert key.expires is not None
        document = {
            "roleCredentials": {
                "accessKeyId": key.access_key,
                "secretAccessKey": key.secret_key,
                "sessionToken": key.token,
                "expiration": int(key.expires * 1000),
            }
        }
        return HTTPStatus.OK, json.dumps(document).encode()


def credentials_document(key: AwsKey) -> dict[str, str]:
    """A key as IMDS, the container agent and `credential_process` spell it, but for the token's
    name, which is SessionToken for the last one."""
    assert key.token is not None
    assert key.expires is not None
    return {
        "AccessKeyId": key.access_key,
        "SecretAccessKey": key.secret_key,
        "Token": key.token,
        "Expiration": _iso(key.expires),
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

"""STS and IAM: moto's server on loopback, and in front of it a guard that says no as AWS does.

moto issues keys and knows whose they are, but takes every request for genuine. The guard checks
the signature (by moto's own `IAMRequest`, which uses botocore), the age of the session and the
signature and claims of web identity tokens, counts calls and fails them when told to. Knows
nothing of MongoDB.
"""

from __future__ import annotations

import io
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timezone
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from moto.core.exceptions import ServiceException
from moto.iam.access_control import IAMRequest
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sts.models import AssumedRole, sts_backends
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, make_server

from tests.servers.managed_server import ManagedServer
from tests.servers.mechanism.aws import ACCOUNT, AwsKey

PARTITION = "aws"
AUDIENCE = "sts.amazonaws.com"
JOIN_TIMEOUT = 10.0

Environ = dict[str, Any]


class Issuer:
    """A cluster's OpenID Connect issuer, which signs the tokens that Kubernetes projects."""

    def __init__(self, url: str = "https://oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE") -> None:
        self.url = url
        self._key = RSAKey.generate_key(2048, parameters={"kid": secrets.token_hex(8)})

    def token(
        self,
        subject: str = "system:serviceaccount:default:app",
        *,
        audience: str = AUDIENCE,
        lifetime: float = 3600.0,
    ) -> str:
        """A signed token of a service account; `lifetime` in seconds, negative for expired."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": subject,
            "aud": [audience],
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime),
        }
        return jwt.encode({"alg": "RS256", "kid": self._key.kid}, claims, self._key)

    def check(self, token: str) -> None:
        """Raises `Denied` in STS's words unless the token is good."""
        try:
            claims = jwt.decode(token, self._key, algorithms=["RS256"]).claims
        except (JoseError, ValueError) as error:
            raise Denied(400, "InvalidIdentityToken", "Couldn't verify the token") from error
        if claims["iss"] != self.url or AUDIENCE not in claims["aud"]:
            raise Denied(400, "InvalidIdentityToken", "Incorrect token audience")
        if claims["exp"] <= time.time():
            raise Denied(400, "ExpiredTokenException", "Token expired")


class Denied(Exception):
    """An error answer of STS's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Call:
    """A request that came: `access_key` is None for an unsigned one."""

    action: str
    access_key: str | None
    parameters: dict[str, str] = field(repr=False)


class Sts(ManagedServer):
    """The server; `endpoint` is what AWS_ENDPOINT_URL_STS has to be.

    `issuer` is trusted for web identities. `lifetime` replaces the length of the sessions that
    clients ask for, in seconds (AWS gives none shorter than 900). `delay` makes every answer so
    many seconds late. `calls` are the requests so far, in order.
    """

    def __init__(self, issuer: Issuer | None = None) -> None:
        self.issuer = issuer
        self.lifetime: float | None = None
        self.delay = 0.0
        self.calls: list[Call] = []
        self.errors: list[BaseException] = []
        self.address = ("", 0)
        self._faults: list[tuple[str, Denied]] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def start(self) -> Sts:
        # Its lines about each request are none of a test's log.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.address = ("127.0.0.1", self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sts", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join(JOIN_TIMEOUT)
            self._server.server_close()
        if self.errors:
            raise self.errors[0]

    def fail(self, action: str, status: int, code: str, message: str, times: int = 1) -> None:
        """Answer the next calls of this action with an error."""
        with self._lock:
            self._faults += [(action, Denied(status, code, message))] * times

    def reset(self) -> None:
        """Forget calls, faults and lifetimes; what was issued stays valid."""
        with self._lock:
            self.calls.clear()
            self._faults.clear()
        self.lifetime = None
        self.delay = 0.0

    def actions(self) -> list[str]:
        """The names of the calls so far."""
        with self._lock:
            return [call.action for call in self.calls]

    # What AWS's administrator does; by moto's models, so that lifetimes may be short

    def create_user(self, name: str, secret_key: str | None = None) -> AwsKey:
        """A new IAM user and its key pair, with this secret key if one is given."""
        backend = iam_backends[ACCOUNT][PARTITION]
        user = backend.create_user("us-east-1", name, "/")
        key = backend.create_access_key(name)
        if secret_key is not None:
            key.secret_access_key = secret_key
        return AwsKey(key.access_key_id, key.secret_access_key, None, user.arn)

    def assume_role(self, role: str, session: str, lifetime: float = 3600.0) -> AwsKey:
        """Temporary credentials of a role, for `lifetime` seconds."""
        backend = sts_backends[ACCOUNT][PARTITION]
        assumed = backend.assume_role(
            region_name="us-east-1",
            role_session_name=session,
            role_arn=role_arn(role),
            policy="",
            duration=lifetime,  # type: ignore[arg-type]
            external_id="",
        )
        return _temporary_key(assumed)

    def find_key(self, access_key: str) -> AwsKey | None:
        """What was issued under this access key id."""
        for assumed in list(sts_backends[ACCOUNT][PARTITION].assumed_roles):
            if assumed.access_key_id == access_key:
                return _temporary_key(assumed)
        for user in list(iam_backends[ACCOUNT][PARTITION].users.values()):
            for key in user.access_keys:
                if key.access_key_id == access_key:
                    return AwsKey(access_key, key.secret_access_key, None, user.arn)
        return None

    def issued(self) -> list[AwsKey]:
        """All that was ever issued."""
        users = list(iam_backends[ACCOUNT][PARTITION].users.values())
        pairs = [
            AwsKey(key.access_key_id, key.secret_access_key, None, user.arn)
            for user in users
            for key in user.access_keys
        ]
        roles = list(sts_backends[ACCOUNT][PARTITION].assumed_roles)
        return pairs + [_temporary_key(assumed) for assumed in roles]

    # The guard

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = parameters.get("Action", "")
        try:
            self._check(action, parameters, environ, body)
        except Denied as denied:
            return _error(denied, start_response)
        except Exception as error:
            self.errors.append(error)
            raise
        if self.delay:
            time.sleep(self.delay)
        if self.lifetime is not None and action.startswith("AssumeRole"):
            parameters["DurationSeconds"] = str(int(self.lifetime))
            body = urlencode(parameters).encode()
            environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _check(
        self, action: str, parameters: dict[str, str], environ: Environ, body: bytes
    ) -> None:
        authorization = environ.get("HTTP_AUTHORIZATION")
        access_key = None
        if authorization is not None:
            access_key = authorization.partition("Credential=")[2].partition("/")[0]
        with self._lock:
            self.calls.append(Call(action, access_key, parameters))
            for fault in self._faults:
                if fault[0] == action:
                    self._faults.remove(fault)
                    raise fault[1]
        if action == "AssumeRoleWithWebIdentity":
            if self.issuer is None:
                raise Denied(403, "AccessDenied", "Not authorized to perform " + action)
            self.issuer.check(parameters.get("WebIdentityToken", ""))
            return
        if access_key is None:
            raise Denied(403, "MissingAuthenticationToken", "Request is missing a token")
        key = self.find_key(access_key)
        if key is not None and key.expires is not None and time.time() >= key.expires:
            raise Denied(403, "ExpiredToken", "The security token included in it is expired")
        headers = {
            name[5:].replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        headers["Content-Type"] = environ["CONTENT_TYPE"]
        headers["Content-Length"] = environ["CONTENT_LENGTH"]
        try:
            IAMRequest(ACCOUNT, "POST", "/", {}, body, headers, action).check_signature()
        except (ServiceException, HTTPException) as refused:
            code = getattr(refused, "error_type", None) or getattr(refused, "code", "AccessDenied")
            raise Denied(403, str(code), str(getattr(refused, "message", refused))) from refused


def role_arn(role: str) -> str:
    """The ARN of a role by its name."""
    return f"arn:aws:iam::{ACCOUNT}:role/{role}"


def _temporary_key(assumed: AssumedRole) -> AwsKey:
    expiration = assumed.expiration
    if expiration.tzinfo is None:
        expiration = expiration.replace(tzinfo=timezone.utc)
    return AwsKey(
        assumed.access_key_id,
        assumed.secret_access_key,
        assumed.session_token,
        assumed.arn,
        expiration.timestamp(),
    )


def _error(denied: Denied, start_response: Callable[..., Any]) -> Iterable[bytes]:
    text = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
        f"<Type>Sender</Type><Code>{escape(denied.code)}</Code>"
        f"<Message>{escape(denied.message)}</Message></Error>"
        f"<RequestId>{secrets.token_hex(16)}</RequestId></ErrorResponse>"
    ).encode()
    start_response(
        f"{denied.status} Refused",
        [("Content-Type", "text/xml"), ("Content-Length", str(len(text)))],
    )
    return [text]

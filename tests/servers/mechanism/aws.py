"""MONGODB-AWS, the server's side, and AWS Signature Version 4 as the one who verifies it.

Written from source/auth/auth.md ("MONGODB-AWS") and AWS's published description of Signature
Version 4, with hashlib and hmac alone: a client that signs with botocore is checked by other
code than its own. Knows keys and, when given an STS, what STS says of the forwarded request, as a
real server does; must not know the code under test, nor botocore.

`python -m tests.servers.mechanism.aws --access-key ... --secret-key ...` serves one key alone.
"""

from __future__ import annotations

import argparse
import base64
import calendar
import hashlib
import hmac
import http.client
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree import ElementTree

import bson
import bson.errors

from tests.servers.mechanism import (
    Acceptor,
    Continue,
    Done,
    Exchange,
    MechanismServer,
    Refused,
    Session,
    serve,
)

ACCOUNT = "123456789012"
STS_HOST = "sts.amazonaws.com"
DEFAULT_REGION = "us-east-1"
ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "sts"
TERMINATOR = "aws4_request"
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
CONTENT_TYPE = "application/x-www-form-urlencoded"
NO_CHANNEL_BINDING = ord("n")
NONCE_LENGTH = 32
#: How far the signing date may be from the clock of STS, in seconds.
SKEW_ALLOWED = 300.0
STS_TIMEOUT = 10.0

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} "
    r"Credential=(?P<key>\w{16,128})/(?P<day>[0-9]{8})/(?P<region>[^/, ]+)/(?P<service>[^/, ]+)"
    r"/(?P<terminator>[^/, ]+), "
    r"SignedHeaders=(?P<headers>[a-z0-9-]+(?:;[a-z0-9-]+)*), "
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_ASSUMED_ROLE = re.compile(r"(arn:[^:]+:sts::[^:]*:assumed-role/[^/]+)/.+")


@dataclass(frozen=True)
class AwsKey:
    """An access key that AWS has issued; `token` is None for a user's own, long-lived key.

    `arn` is the whole ARN of its owner, `expires` the end of its life (Unix time, seconds).
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    arn: str = f"arn:aws:iam::{ACCOUNT}:user/alice"
    expires: float | None = None


def identity_of(arn: str) -> str:
    """The name in $external that an ARN logs in as: of an assumed role every session is one."""
    role = _ASSUMED_ROLE.fullmatch(arn)
    return f"{role[1]}/*" if role else arn


def region_of(host: str) -> str:
    """The region in whose scope a request to this STS host has to be signed."""
    labels = host.split(".")
    if host == STS_HOST or len(labels) == 1:
        return DEFAULT_REGION
    return labels[1]


# Signature Version 4


@dataclass(frozen=True)
class SignedRequest:
    """GetCallerIdentity as the client signed it; `headers` are all that go to STS, lower case."""

    headers: Mapping[str, str]
    body: bytes = BODY

    def canonical(self, signed: Iterable[str]) -> bytes:
        """The canonical request over these headers."""
        names = list(signed)
        lines = [f"{name}:{' '.join(self.headers[name].split())}\n" for name in names]
        digest = hashlib.sha256(self.body).hexdigest()
        return "\n".join(["POST", "/", "", "".join(lines), ";".join(names), digest]).encode()


def signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service, derived from the secret key."""
    key = b"AWS4" + secret_key.encode()
    for part in (day, region, service, TERMINATOR):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def signature(key: bytes, date: str, scope: str, canonical_request: bytes) -> str:
    """The signature, in hexadecimal digits."""
    digest = hashlib.sha256(canonical_request).hexdigest()
    text = "\n".join([ALGORITHM, date, scope, digest])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


# The mechanism

#: What is known of an access key id.
KeyStore = Callable[[str], AwsKey | None]
#: What STS makes of a request: the caller's ARN, or `Refused`.
Sts = Callable[[SignedRequest], str]


class AwsAcceptor(Acceptor):
    """Logs in whoever signs with one of `keys`, or with a key that one of `stores` knows.

    `sts` gets every request that was found right here, and has the last word, as it has for a
    real server; None leaves it out. A test may change the public attributes at any time:

    - `host`: the STS host that is sent to the client, in whatever shape,
    - `clock`: STS's clock (Unix time); `skew_allowed`: seconds, None for any date,
    - `users`: the identities that $external has, None for everybody,
    - `make_nonce`: the server nonce for a client nonce,
    - `first`: the complete answer to the client's first payload, instead of the right one.

    `identities` are the full ARNs logged in, in order; `signed` the access keys seen.
    """

    mechanism = "MONGODB-AWS"

    def __init__(
        self,
        *keys: AwsKey,
        stores: Iterable[KeyStore] = (),
        sts: Sts | None = None,
        host: str = STS_HOST,
        clock: Callable[[], float] = time.time,
        users: Collection[str] | None = None,
    ) -> None:
        self.keys = {key.access_key: key for key in keys}
        self.stores = list(stores)
        self.sts = sts
        self.host = host
        self.clock = clock
        self.skew_allowed: float | None = SKEW_ALLOWED
        self.users = users
        self.make_nonce: Callable[[bytes], bytes] = fresh_nonce
        self.first: Callable[[bytes], bytes] | None = None
        self.identities: list[str] = []
        self.signed: list[str] = []
        self._expired: set[str] = set()
        self._refusals: list[Refused] = []
        self._signing_keys: dict[tuple[str, str, str], bytes] = {}
        self._lock = threading.Lock()

    def begin(self, session: Session) -> Exchange:
        return _Exchange(self)

    def expire(self, *access_keys: str) -> None:
        """From now on these keys' tokens are expired."""
        with self._lock:
            self._expired.update(access_keys)

    def refuse(self, refusal: Refused | None = None, times: int = 1) -> None:
        """Refuse the next logins, however right they are; by default in Atlas's words."""
        with self._lock:
            self._refusals += [refusal or atlas_refusal()] * times

    def find_key(self, access_key: str) -> AwsKey | None:
        """What is known of an access key."""
        finders: list[KeyStore] = [self.keys.get, *self.stores]
        for find in finders:
            key = find(access_key)
            if key is not None:
                with self._lock:
                    expired = access_key in self._expired
                return replace(key, expires=0.0) if expired else key
        return None

    def judge(self, payload: bytes, nonce: bytes) -> str:
        """The identity that the client's second payload proves; raises `Refused`."""
        request, date = _read_second(payload, nonce, self.host)
        key = self._verify(request, date)
        with self._lock:
            if self._refusals:
                raise self._refusals.pop(0)
        arn = key.arn
        if self.sts is not None:
            arn = self.sts(request)
            if arn != key.arn:
                raise AssertionError(f"STS says {arn}, and the key was issued to {key.arn}")
        identity = identity_of(arn)
        if self.users is not None and identity not in self.users:
            raise Refused(detail=f"Could not find user {identity!r} for db '$external'")
        with self._lock:
            self.identities.append(arn)
        return identity

    def _verify(self, request: SignedRequest, date: str) -> AwsKey:
        parts = _AUTHORIZATION.fullmatch(request.headers["authorization"])
        if parts is None:
            raise Refused(detail="the authorization header is malformed")
        signed = parts["headers"].split(";")
        expected = sorted(set(request.headers) - {"authorization"})
        if signed != expected:
            raise Refused(detail=f"SignedHeaders are {signed}, not {expected}")
        region = region_of(self.host)
        scope = "/".join((parts["day"], parts["region"], parts["service"], parts["terminator"]))
        right = "/".join((date[:8], region, SERVICE, TERMINATOR))
        if scope != right:
            raise Refused(detail=f"the credential scope is {scope}, not {right}")
        with self._lock:
            self.signed.append(parts["key"])
        key = self.find_key(parts["key"])
        if key is None:
            raise Refused(detail="403 InvalidClientTokenId: the access key is unknown")
        token = request.headers.get("x-amz-security-token")
        if token != key.token:
            raise Refused(detail="403 InvalidClientTokenId: the security token is another one")
        wanted = signature(
            self._signing_key(key, date[:8], region), date, scope, request.canonical(signed)
        )
        if not hmac.compare_digest(wanted, parts["signature"]):
            raise Refused(detail="403 SignatureDoesNotMatch")
        now = self.clock()
        at = _unix_time(date)
        if self.skew_allowed is not None and abs(now - at) > self.skew_allowed:
            raise Refused(
                detail=f"403 SignatureDoesNotMatch: signed at {date}, {now - at:+.0f} s from now"
            )
        if key.expires is not None and now >= key.expires:
            raise Refused(detail="403 ExpiredToken: the security token is expired")
        return key

    def _signing_key(self, key: AwsKey, day: str, region: str) -> bytes:
        """Cached, so that a benchmark's server costs little; it is the same all day."""
        place = (key.secret_key, day, region)
        found = self._signing_keys.get(place)
        if found is None:
            found = self._signing_keys[place] = signing_key(key.secret_key, day, region, SERVICE)
        return found


class _Exchange(Exchange):
    def __init__(self, acceptor: AwsAcceptor) -> None:
        self._acceptor = acceptor
        self._nonce: bytes | None = None

    def step(self, payload: bytes) -> Continue | Done:
        acceptor = self._acceptor
        if self._nonce is not None:
            return Done(acceptor.judge(payload, self._nonce))
        client_nonce = _read_first(payload)
        self._nonce = acceptor.make_nonce(client_nonce)
        if acceptor.first is not None:
            return Continue(acceptor.first(client_nonce))
        return Continue(bson.encode({"s": self._nonce, "h": acceptor.host}))


def fresh_nonce(client_nonce: bytes) -> bytes:
    """The client's nonce and as many random bytes of the server's."""
    return client_nonce + secrets.token_bytes(NONCE_LENGTH)


def atlas_refusal(status: int = 403) -> Refused:
    """What Atlas answers when STS refuses the request."""
    text = f"bad auth : aws sts call has response {status}"
    return Refused(text, 8000, "AtlasError", detail=text)


def _document(payload: bytes) -> dict[str, Any]:
    try:
        return bson.decode(payload)
    except bson.errors.InvalidBSON as error:
        raise Refused(detail=f"the payload is no BSON document: {error}") from error


def _read_first(payload: bytes) -> bytes:
    document = _document(payload)
    if set(document) != {"r", "p"}:
        raise Refused(detail=f"the first payload has the fields {sorted(document)}")
    nonce, flag = document["r"], document["p"]
    # PyMongo's bson gives subtype 0 as bytes and int32 as a plain int.
    if type(nonce) is not bytes or len(nonce) != NONCE_LENGTH:
        raise Refused(detail=f"the client nonce is no binary data of {NONCE_LENGTH} bytes")
    if type(flag) is not int or flag != NO_CHANNEL_BINDING:
        raise Refused(detail=f"gs2-cb-flag is {flag!r}, not the int32 {NO_CHANNEL_BINDING}")
    return nonce


def _read_second(payload: bytes, nonce: bytes, host: str) -> tuple[SignedRequest, str]:
    """The request that the client must have signed, and its date."""
    document = _document(payload)
    if not {"a", "d"} <= set(document) <= {"a", "d", "t"}:
        raise Refused(detail=f"the second payload has the fields {sorted(document)}")
    for name, value in document.items():
        if not isinstance(value, str) or not value:
            raise Refused(detail=f"the second payload's {name!r} is no text")
    date = document["d"]
    if not _DATE.fullmatch(date):
        raise Refused(detail=f"X-Amz-Date is {date!r}")
    headers = {
        "authorization": document["a"],
        "content-length": str(len(BODY)),
        "content-type": CONTENT_TYPE,
        "host": host,
        "x-amz-date": date,
        "x-mongodb-gs2-cb-flag": chr(NO_CHANNEL_BINDING),
        "x-mongodb-server-nonce": base64.b64encode(nonce).decode(),
    }
    if "t" in document:
        headers["x-amz-security-token"] = document["t"]
    return SignedRequest(headers), date


def _unix_time(date: str) -> float:
    try:
        return float(calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")))
    except ValueError as error:
        raise Refused(detail=f"X-Amz-Date is {date!r}") from error


# STS


class StsEndpoint:
    """An STS on `address`, which gets the client's signed request as a MongoDB server sends it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def __call__(self, request: SignedRequest) -> str:
        connection = http.client.HTTPConnection(*self.address, timeout=STS_TIMEOUT)
        try:
            connection.putrequest("POST", "/", skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise Refused(detail=f"aws sts call has response {response.status}: {text}")
        arn = ElementTree.fromstring(text).find(".//{*}Arn")
        if arn is None or not arn.text:
            raise Refused(detail=f"aws sts call's response names no caller: {text}")
        return arn.text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.mechanism.aws")
    parser.add_argument("--access-key", required=True)
    parser.add_argument("--secret-key", required=True)
    parser.add_argument("--session-token", default=None)
    parser.add_argument("--host", default=STS_HOST, help="the STS host that clients are told")
    arguments = parser.parse_args()
    key = AwsKey(arguments.access_key, arguments.secret_key, arguments.session_token)
    serve(MechanismServer(AwsAcceptor(key, host=arguments.host), backend=None))


if __name__ == "__main__":
    main()

"""The signed sts:GetCallerIdentity that a MONGODB-AWS login sends (auth.md, "MONGODB-AWS").

The canonical request, the string to sign and the derivation are botocore's signer's; this module
has it make the request once for all logins with the same keys, keeps the day's derived key, and
writes none of it to the log, where the session token would stand. Knows AWS Signature Version 4;
must not know where keys come from. Imported by the first login, as botocore is heavy.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.credentials import ReadOnlyCredentials

from mongokey._support.reprs import with_safe_repr
from mongokey.auth.aws.host import region_of
from mongokey.auth.aws.keys import AwsKeys

SERVICE = "sts"
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
CONTENT_TYPE = "application/x-www-form-urlencoded"

# Stand for what differs from login to login; no header's value has a NUL.
_DATE, _NONCE = "\0date", "\0nonce"


class _Headers(dict[str, str]):
    """Headers under lower-case names, each once: as the signer reads them."""

    __slots__ = ()

    def get_all(self, name: str) -> tuple[str]:
        return (self[name],)


_NO_HEADERS = _Headers()


class _Request:
    """What the signer asks of a request."""

    __slots__ = ("context", "headers")

    method = "POST"
    url = "/"
    params: Mapping[str, str] = MappingProxyType({})
    body = BODY

    def __init__(self, date: str, headers: _Headers = _NO_HEADERS) -> None:
        self.headers = headers
        self.context: dict[str, Any] = {"timestamp": date}


@with_safe_repr
class Signer(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs with one set of keys for one STS host; may be shared by threads.

    Raises ValueError, saying what is wrong, when `host` is no host name.
    """

    def __init__(self, keys: AwsKeys, host: str) -> None:
        super().__init__(
            ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token),
            SERVICE,
            region_of(host),
        )
        self.keys = keys
        self.host = host
        headers = _Headers(
            {
                "content-length": str(len(BODY)),
                "content-type": CONTENT_TYPE,
                "host": host,
                "x-amz-date": _DATE,
                "x-mongodb-gs2-cb-flag": "n",
                "x-mongodb-server-nonce": _NONCE,
            }
        )
        if keys.token is not None:
            headers["x-amz-security-token"] = keys.token
        # All of a login's request but these two is the same for these keys and this host.
        request = self.canonical_request(_Request("", headers))
        self._before, _, rest = request.partition(_DATE)
        self._between, _, self._after = rest.partition(_NONCE)
        self._names = self.signed_headers(headers)
        self._of_day = ("", b"")

    def authorize(self, server_nonce: bytes, at: datetime) -> tuple[str, str]:
        """The Authorization header and X-Amz-Date of a login at this time (an aware datetime)."""
        date = at.astimezone(timezone.utc).strftime(SIGV4_TIMESTAMP)
        nonce = b2a_base64(server_nonce, newline=False).decode()
        request = _Request(date)
        text = self.string_to_sign(
            request, f"{self._before}{date}{self._between}{nonce}{self._after}"
        )
        return (
            f"AWS4-HMAC-SHA256 Credential={self.scope(request)}, SignedHeaders={self._names}, "
            f"Signature={self.signature(text, request)}",
            date,
        )

    def headers_to_sign(self, request: _Request) -> _Headers:
        return request.headers

    def signature(self, string_to_sign: str, request: _Request) -> str:
        day = request.context["timestamp"][:8]
        derived_on, key = self._of_day
        if derived_on != day:
            key = f"AWS4{self.keys.secret_key}".encode()
            for part in (day, self._region_name, SERVICE, "aws4_request"):
                key = self._sign(key, part)
            self._of_day = (day, key)
        signature: str = self._sign(key, string_to_sign, hex=True)
        return signature

    def __repr__(self) -> str:
        return f"<Signer of {self.keys!r} for {self.host}>"

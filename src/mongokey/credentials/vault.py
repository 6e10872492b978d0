"""`from_vault`: the secret is in HashiCorp Vault or OpenBao, by the library `hvac`.

Knows the database secrets engine (users made for the asking, on a lease), its static roles, and
KV version 2. Must not know how one logs in to Vault: the client that is given is logged in.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import keeps_secrets
from mongokey._support.system import monotonic
from mongokey.credentials import AwsSecret, Request, Secret, X509Secret
from mongokey.credentials.forms import secret_of_parts

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# A lease is renewed when so much of it has passed.
_RENEW_AT = 2 / 3
# When Vault cannot be reached it is asked again after so long, while the lease lasts.
_AGAIN_S = 10.0
# hvac's errors that say nothing of the lease.
_PASSING = frozenset(("BadGateway", "InternalServerError", "RateLimitExceeded", "VaultDown"))


@with_safe_repr
class from_vault:  # noqa: N801 - it is used as a function
    """A provider (`CredentialProvider`) that asks Vault or OpenBao:
    ``pip install mongokey[vault]``.

    Exactly one of `role`, `static_role` and `path` is given.

    :param client: an ``hvac.Client`` that is logged in, or a callable that returns one: it is
        called for each question, so that it can log in again
    :param role: a role of the database secrets engine, which makes a user for the asking
    :param static_role: a static role of that engine, whose password Vault rotates
    :param path: the path of a secret of KV version 2, which has the parts that a JSON file of
        `from_file` has
    :param mount_point: where the engine is mounted; by default ``"database"``, for `path`
        ``"secret"``
    :param refresh_s: for `static_role` and `path`: for so many seconds it is not asked again; None
        (the default): until a login is refused, or Vault rotates the static role

    A lease is renewed when two thirds of it have passed and a new connection is made; where it
    cannot be renewed any more, and after a refused login, a new user is asked for. Users whose
    lease ends are removed by Vault, so leave `maxIdleTimeMS` shorter than the lease. It raises what
    hvac raises, and ValueError for what cannot be read.
    """

    def __init__(
        self,
        client: Any,
        *,
        role: str | None = None,
        static_role: str | None = None,
        path: str | None = None,
        mount_point: str | None = None,
        refresh_s: float | None = None,
    ) -> None:
        given = [each for each in (role, static_role, path) if each is not None]
        if len(given) != 1:
            raise ValueError("from_vault takes exactly one of role, static_role and path")
        self.role = role
        self.static_role = static_role
        self.path = path
        self.mount_point = mount_point or ("secret" if path is not None else "database")
        self.refresh_s = refresh_s
        self.name = f"from_vault({self.mount_point}/{given[0]})"
        # An hvac client is no function.
        self._client: Callable[[], Any] = client if callable(client) else lambda: client
        self._lease: _Lease | None = None

    @keeps_secrets
    def __call__(self, request: Request) -> Secret | X509Secret | AwsSecret:
        client = self._client()
        if self.path is not None:
            found = client.secrets.kv.v2.read_secret_version(
                path=self.path, mount_point=self.mount_point, raise_on_deleted_version=True
            )
            return secret_of_parts(found["data"]["data"], request, self.name, None, self.refresh_s)
        if self.static_role is not None:
            found = client.secrets.database.get_static_credentials(
                name=self.static_role, mount_point=self.mount_point
            )
            data = found["data"]
            seconds = self.refresh_s
            left = data.get("ttl")
            if isinstance(left, int | float) and left > 0:
                seconds = left if seconds is None else min(seconds, left)
            return Secret(data["username"], data["password"], seconds)
        return self._leased(client, request)

    def _leased(self, client: Any, request: Request) -> Secret:
        lease = self._lease
        if lease is not None and request.reason == "expired":
            kept = _renew(client, lease)
            if kept is not None:
                return kept
        found = client.secrets.database.generate_credentials(
            name=self.role, mount_point=self.mount_point
        )
        lease = self._lease = _Lease(found)
        return lease.secret()

    def __repr__(self) -> str:
        return self.name


@with_safe_repr
class _Lease:
    """A user that Vault has made, and until when it is there."""

    __slots__ = ("_password", "ends_at", "id", "renewable", "seconds", "username")

    def __init__(self, found: Any) -> None:
        self.id: str = found["lease_id"]
        self.renewable = bool(found.get("renewable"))
        self.username: str = found["data"]["username"]
        self._password: str = found["data"]["password"]
        self.last(found["lease_duration"])

    def last(self, seconds: float) -> None:
        """It lasts for so long, from now."""
        self.seconds = seconds
        self.ends_at = monotonic() + seconds

    def secret(self, good_for_s: float | None = None) -> Secret:
        """The user and password, good until it is time to renew."""
        seconds = self.seconds * _RENEW_AT if good_for_s is None else good_for_s
        return Secret(self.username, self._password, seconds)

    def __repr__(self) -> str:
        return f"<lease of user {self.username!r}>"


def _renew(client: Any, lease: _Lease) -> Secret | None:
    """The secret of `lease`, which lasts longer now; None where another user is to be asked for."""
    asked = lease.seconds
    left = lease.ends_at - monotonic()
    if not lease.renewable or left <= 0:
        return None
    try:
        renewed = client.sys.renew_lease(lease_id=lease.id, increment=int(asked))
    except Exception as error:
        kind = type(error)
        if kind.__module__.startswith("hvac") and kind.__name__ not in _PASSING:
            return None  # Vault refused: this user ends
        return lease.secret(min(_AGAIN_S, left / 2))
    seconds = renewed["lease_duration"]
    if seconds * 2 < asked:
        return None  # its longest life (max_ttl) is nearly over
    lease.last(seconds)
    lease.seconds = asked
    return lease.secret(seconds * _RENEW_AT)


__all__ = ["from_vault"]

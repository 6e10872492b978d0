"""A set of AWS keys, and the one place where a client keeps those that were fetched for it.

Knows when fetched keys are good enough to be used again (auth.md, "Caching Credentials") and
that only one thread at a time fetches them; must not know where they come from. Holds no clock:
the time is given.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import keeps_secrets
from mongokey._support.single_flight import SingleFlight
from mongokey.auth.aws.problems import AwsProblem

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import NoReturn

# auth.md: instances get new credentials at least this long before the old ones expire.
REFRESH_BEFORE = timedelta(minutes=5)

_KEYS = "the client's keys"

_is_key_id = re.compile(r"[A-Z0-9]{16,128}").fullmatch


def mask(access_key: str) -> str:
    """An access key id as it may be shown; nothing of what does not look like one, as that may
    be the secret key in the wrong place."""
    if _is_key_id(access_key) is None:
        return "<not a key id>"
    return f"{access_key[:4]}…{access_key[-4:]}"


def oddity(value: str) -> str | None:
    """What no part of an AWS key has and `value` does, in words; None when it is all right."""
    if value[-1:] in ("\r", "\n"):
        return "ends with a line break (make the secret with printf or echo -n)"
    if value != value.strip():
        return "begins or ends with white space"
    if not value.isascii() or not value.isprintable():
        return "has characters that no key of AWS has"
    return None


@with_safe_repr
class AwsKeys:
    """An access key, immutable; its repr shows no secret.

    `token` is None for a user's own, long-lived key. `expires` is an aware datetime or None when
    no end is known. `origin` says where it came from, for people. `keep` is True for keys that
    may be used for later logins: until shortly before they expire, and as long as `unchanged`
    (None for always) says that their source would still give the same. Raises AwsProblem when a
    part cannot be one of an AWS key.
    """

    __slots__ = ("access_key", "expires", "keep", "origin", "secret_key", "token", "unchanged")

    @keeps_secrets
    def __init__(
        self,
        access_key: str,
        secret_key: str,
        token: str | None,
        origin: str,
        *,
        expires: datetime | None = None,
        keep: bool = False,
        unchanged: Callable[[], bool] | None = None,
    ) -> None:
        for what, value in (("id", access_key), ("secret", secret_key), ("token", token or "")):
            wrong = oddity(value)
            if wrong is not None:
                raise AwsProblem(
                    "AWS-KEY-ODD",
                    f"{origin}: the key's {what} {wrong}",
                    "give it as AWS gave it",
                    settings=True,
                )
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token
        self.origin = origin
        self.expires = expires
        self.keep = keep
        self.unchanged = unchanged

    def good_at(self, now: datetime) -> bool:
        """Whether a login that begins now may use these keys again."""
        if self.expires is not None and self.expires - now <= REFRESH_BEFORE:
            return False
        return self.unchanged is None or self.unchanged()

    def same_as(self, other: AwsKeys) -> bool:
        """Whether both are one set of keys from one place."""
        return self._compared() == other._compared()

    def _compared(self) -> tuple[object, ...]:
        return (self.access_key, self.secret_key, self.token, self.origin, self.expires, self.keep)

    def __reduce__(self) -> NoReturn:
        raise TypeError("AwsKeys hold a secret and cannot be pickled or copied")

    def __repr__(self) -> str:
        return f"<AwsKeys {mask(self.access_key)} from {self.origin}>"


@with_safe_repr
class KeyStore:
    """The keys that were fetched for a client; thread-safe, and a forked child may use it.

    Threads that need keys at the same time share what one of them fetches, its failure too.
    """

    __slots__ = ("__weakref__", "_flights", "_keys", "_lock", "_searches")

    def __init__(self) -> None:
        self._keys: AwsKeys | None = None
        self._searches = 0  # how many were begun
        self._flights = SingleFlight(shares_errors=True)
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: who held the lock was a thread of the parent."""
        # Reentrant: a signal handler may log in while its own thread holds it.
        self._lock = threading.RLock()

    def current(self, now: datetime) -> AwsKeys | None:
        """The kept keys while they are good, else None."""
        keys = self._keys
        return keys if keys is not None and keys.good_at(now) else None

    def obtain(self, owner: object, fetch: Callable[[], AwsKeys], now: datetime) -> AwsKeys:
        """The kept keys, or what `fetch` gives; waits while another thread fetches.

        `owner` is what `abandon` knows this search by. Raises what `fetch` raises.
        """
        keys = self.current(now)
        if keys is not None:
            return keys
        made: AwsKeys = self._flights.run(_KEYS, lambda: self._fetch(fetch, now), owner=owner)
        return made

    def _fetch(self, fetch: Callable[[], AwsKeys], now: datetime) -> AwsKeys:
        kept = self.current(now)
        if kept is not None:
            return kept  # another search ended just before this one began
        with self._lock:
            self._searches = number = self._searches + 1
        keys = fetch()
        with self._lock:
            # What comes after its login gave up is not to replace what was fetched since.
            if keys.keep and (self._searches == number or self._keys is None):
                self._keys = keys
        return keys

    def abandon(self, owner: object) -> None:
        """No thread that comes from now on waits for the search of `owner`."""
        self._flights.abandon(_KEYS, owner)

    def drop(self, keys: AwsKeys) -> None:
        """Forget these keys, which the server refused; newer ones stay."""
        with self._lock:
            if self._keys is keys:
                self._keys = None

    def __repr__(self) -> str:
        return f"<KeyStore of {self._keys!r}>"

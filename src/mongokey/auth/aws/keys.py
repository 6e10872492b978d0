"""A set of AWS keys, and the one place where a client keeps those that were fetched for it.

Knows when fetched keys are good enough to be used again (auth.md, "Caching Credentials") and
that only one thread at a time fetches them; must not know where they come from. Holds no clock:
the time is given.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from copy import copy
from datetime import datetime, timedelta

from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import keeps_secrets
from mongokey.auth.aws.problems import AwsProblem

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import NoReturn

# auth.md: instances get new credentials at least this long before the old ones expire.
REFRESH_BEFORE = timedelta(minutes=5)

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
        return self._facts() == other._facts()

    def _facts(self) -> tuple[object, ...]:
        return (self.access_key, self.secret_key, self.token, self.origin, self.expires, self.keep)

    def __reduce__(self) -> NoReturn:
        raise TypeError("AwsKeys hold a secret and cannot be pickled or copied")

    def __repr__(self) -> str:
        return f"<AwsKeys {mask(self.access_key)} from {self.origin}>"


class _Flight:
    """One thread's search for keys, which others wait for."""

    __slots__ = ("done", "error", "keys", "owner")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.done = threading.Event()
        self.keys: AwsKeys | None = None
        self.error: Exception | None = None


@with_safe_repr
class KeyStore:
    """The keys that were fetched for a client; thread-safe, and a forked child may use it.

    `obtain` is single-flight: threads that need keys at the same time share what one of them
    fetches, its failure too.
    """

    __slots__ = ("__weakref__", "_flight", "_keys", "_lock")

    def __init__(self) -> None:
        self._keys: AwsKeys | None = None
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        self._lock = threading.Lock()
        self._flight: _Flight | None = None

    def current(self, now: datetime) -> AwsKeys | None:
        """The kept keys while they are good, else None."""
        keys = self._keys
        return keys if keys is not None and keys.good_at(now) else None

    def obtain(self, owner: object, fetch: Callable[[], AwsKeys], now: datetime) -> AwsKeys:
        """The kept keys, or what `fetch` gives; waits while another thread fetches.

        `owner` is what `abandon` knows this search by. Raises what `fetch` raises.
        """
        with self._lock:
            keys = self._keys
            if keys is not None and keys.good_at(now):
                return keys
            flight = self._flight
            if flight is None:
                flight = self._flight = _Flight(owner)
        if flight.owner is not owner:
            flight.done.wait()
            if flight.error is not None:
                raise copy(flight.error) from flight.error.__cause__
            if flight.keys is None:
                raise RuntimeError("the thread that fetched AWS credentials was ended")
            return flight.keys
        try:
            flight.keys = keys = fetch()
        except Exception as error:
            flight.error = error
            raise
        else:
            with self._lock:
                # What comes after its login gave up is not to replace what was fetched since.
                if keys.keep and (self._flight is flight or self._keys is None):
                    self._keys = keys
            return keys
        finally:
            self.abandon(owner)
            flight.done.set()

    def abandon(self, owner: object) -> None:
        """No thread that comes from now on waits for the search of `owner`."""
        with self._lock:
            if self._flight is not None and self._flight.owner is owner:
                self._flight = None

    def drop(self, keys: AwsKeys) -> None:
        """Forget these keys, which the server refused; newer ones stay."""
        with self._lock:
            if self._keys is keys:
                self._keys = None

    def __repr__(self) -> str:
        return f"<KeyStore of {self._keys!r}>"

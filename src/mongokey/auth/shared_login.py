"""What the clients of one process know together about a secret: its keys, its mechanism, a refusal.

Knows what makes two logins the same (mechanism, source, user, secret, mechanism properties,
deployment, TLS settings), and keeps that only as a digest under a key of this process. Must not
know what a mechanism keeps here, nor how it logs in.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable
from weakref import WeakSet, WeakValueDictionary, ref

from mongokey._support.fork import run_after_fork
from mongokey._support.keyed_digest import keyed_digest
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import keeps_secrets
from mongokey._support.system import monotonic_ns
from mongokey.auth.turns import NO_BACKOFF, Backoff, Flight, LoginTurns, Refusal

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.errors import AuthenticationFailed

    _T = TypeVar("_T")

# A refusal outlives the clients that were refused (a program that makes a client for each try
# locks an account as well), until it was not repeated for so long, and so many are kept.
_FORGET_NS = 600_000_000_000
_MOST_REFUSALS = 256

# So many environments' keys are kept: a process has one, and tests a few.
_MOST_IDENTITIES = 16


@with_safe_repr
class SharedLogin:
    """What is known about one secret at one deployment; thread-safe, and a forked child may use it.

    `mechanism` is what the last negotiation ended with, None before it and after a failed login;
    `logged_in` says whether this secret was ever accepted; `turns` says whose login may go on.
    `key` is the digest it is known by, None for one that is no other client's.
    """

    __slots__ = ("__weakref__", "_caches", "key", "logged_in", "mechanism", "turns", "users")

    def __init__(self, key: bytes | None = None, refusal: Refusal | None = None) -> None:
        self.key = key
        self.mechanism: str | None = None
        self.logged_in = False
        self.turns = LoginTurns(refusal)
        #: The clients that use it (their `LoginScope`s).
        self.users: WeakSet[LoginScope] = WeakSet()
        self._caches: dict[str, Any] = {}

    def cache(self, name: str, make: Callable[[], _T]) -> _T:
        """The mechanism's cache called `name`, made at its first use."""
        found: _T | None = self._caches.get(name)
        if found is None:
            # Of two threads that get here, both end up with the same one.
            found = self._caches.setdefault(name, make())
        return found

    def succeeded(self, turn: Flight | None) -> None:
        """A login with the secret succeeded; `turn` is its turn, if it had one."""
        self.turns.succeeded(turn)
        if self.key is not None:
            _refusals.pop(self.key, None)

    def refused(
        self,
        turn: Flight | None,
        error: AuthenticationFailed,
        seen: int,
        *,
        secret: bool,
    ) -> None:
        """A login that began when there were `seen` refusals was refused. `secret`: for its secret,
        which will not change by itself, so that the same login is answered from memory."""
        self.mechanism = None
        if secret:
            refusal = self.turns.remember(error, seen)
            if self.key is not None:
                _keep_refusal(self.key, refusal)
        self.turns.refused(turn, error)

    def wipe(self) -> None:
        """Let go of everything derived from the secret; keys are wiped with their last user."""
        self._caches.clear()
        self.mechanism = None

    def __repr__(self) -> str:
        return f"<SharedLogin mechanism={self.mechanism!r} logged_in={self.logged_in}>"


@with_safe_repr
class LoginScope:
    """Where the logins of one client go, which decides with whom it shares what it knows.

    :param deployment: what names the deployment: sorted seeds or the SRV name, replica set
    :param tls: every setting of TLS, None without TLS; an object counts as itself
    :param backoff: for how long a refused secret is answered from memory
    :param digests: what is kept of these arguments and of their only credential, where all clients
        that are given it have the same; None: nothing
    """

    __slots__ = ("__weakref__", "_closed", "_digests", "_keys", "_where", "backoff")

    @keeps_secrets
    def __init__(
        self,
        deployment: Iterable[object],
        tls: Iterable[object] | None = None,
        backoff: Backoff = NO_BACKOFF,
        digests: dict[str, bytes] | None = None,
    ) -> None:
        where = None if digests is None else digests.get("where")
        if where is None:
            where = _digest(("deployment", tuple(deployment), tls and tuple(tls)))
        self._where = where
        self._digests = digests
        if digests is not None:
            digests["where"] = where
        self.backoff = backoff
        self._closed = False
        self._keys: set[bytes] = set()

    def share(self, credential: MongoCredential, certificate: object = None) -> SharedLogin:
        """Have `credential` share what the process knows of its secret at this deployment, from its
        next login on.

        `certificate` is what tells apart client certificates that were read from one place at
        different times (a digest of them), where they are the secret.
        """
        state = credential.state
        digests = self._digests
        key = None if digests is None else digests.get("login")
        if key is None:
            key = _digest_of(credential, self._where, certificate)
            if digests is not None:
                digests["login"] = key
        shared = _find(key)
        state.shared, state.backoff = shared, self.backoff
        if not self._closed:
            self._keys.add(key)
            shared.users.add(self)
        return shared

    def close(self) -> None:
        """The client is closed: what no other client uses is wiped."""
        self._closed = True
        for shared in [_logins.get(key) for key in list(self._keys)]:
            if shared is not None:
                shared.users.discard(self)
                if not shared.users:
                    shared.wipe()

    def __repr__(self) -> str:
        return f"<LoginScope closed={self._closed}>"


def shared_cache(name: str, identity: object, make: Callable[[], _T]) -> _T:
    """What `make` gave for the `identity` that is given now, for all clients of the process and
    also when none is left: for what belongs to the machine or its environment, whatever deployment
    it is shown to. Of `identity` a digest is kept; of each name the last few identities."""
    key = _digest(identity)
    with _lock:
        kept = _kept.setdefault(name, {})
        found: _T | None = kept.get(key)
        if found is None:
            while len(kept) >= _MOST_IDENTITIES:
                kept.pop(next(iter(kept)), None)
            found = kept.setdefault(key, make())
        return found


# What the process knows. A `SharedLogin` lives as long as a credential has it.
_logins: WeakValueDictionary[bytes, SharedLogin] = WeakValueDictionary()
_refusals: dict[bytes, Refusal] = {}
_kept: dict[str, dict[bytes, Any]] = {}
# Reentrant: a signal handler may connect while its own thread holds it.
_lock = threading.RLock()


def _find(key: bytes) -> SharedLogin:
    with _lock:
        found = _logins.get(key)
        if found is None:
            refusal = _refusals.get(key)
            if refusal is not None and monotonic_ns() - refusal.at_ns > _FORGET_NS:
                refusal = None
            found = _logins.setdefault(key, SharedLogin(key, refusal))
        return found


def _keep_refusal(key: bytes, refusal: Refusal) -> None:
    with _lock:
        _refusals.pop(key, None)
        _refusals[key] = refusal
        while len(_refusals) > _MOST_REFUSALS:
            _refusals.pop(next(iter(_refusals)), None)


@run_after_fork
def _reset_after_fork() -> None:
    global _lock
    _lock = threading.RLock()


def forget_all() -> None:
    """Wipe what the process knows of all secrets, refusals too: at its end, and between tests."""
    _refusals.clear()
    _kept.clear()
    for shared in list(_logins.values()):
        shared.wipe()
    _logins.clear()


atexit.register(forget_all)


# -- what makes two logins the same ---------------------------------------------------------------


@keeps_secrets
def _digest_of(credential: MongoCredential, where: bytes, certificate: object) -> bytes:
    properties = credential.mechanism_properties
    return _digest(
        (
            "login",
            where,
            credential.mechanism,
            credential.source,
            credential.username,
            credential.password,
            [(name, properties[name]) for name in sorted(properties)],
            certificate,
        )
    )


@keeps_secrets
def _digest(value: object) -> bytes:
    parts: list[bytes] = []
    _list_parts(parts, value)
    return keyed_digest(b"".join(parts))


def _list_parts(parts: list[bytes], value: Any) -> None:
    """`value` in bytes, no two different ones in the same: each part with its type and length."""
    kind = type(value)
    if kind is str:
        mark, data = b"s", value.encode("utf-8", "surrogatepass")
    elif value is None:
        mark, data = b"n", b""
    elif kind is tuple or kind is list:
        parts.append(b"l%d;" % len(value))
        for part in value:
            # Most are one of these: without a call, as each client does this twice.
            if type(part) is str:
                data = part.encode("utf-8", "surrogatepass")
                parts.append(b"s%d:" % len(data))
                parts.append(data)
            elif part is None:
                parts.append(b"n0:")
            else:
                _list_parts(parts, part)
        return
    elif kind is bytes:
        mark, data = b"y", value
    elif kind is bool or kind is int or kind is float:
        mark, data = b"i", repr(value).encode()
    elif isinstance(value, str):  # a class of somebody's that is one
        return _list_parts(parts, str.__str__(value))
    else:
        mark, data = b"o", b"%d" % _number_of(value)
    parts.append(b"%s%d:" % (mark, len(data)))
    parts.append(data)
    return None


# Objects by what they are, not by what they are equal to: id -> (a reference, a number of its own),
# as the interpreter gives the id of an object that has gone to another one.
_numbers: dict[int, tuple[Callable[[], object], int]] = {}
_last_number = 0


def _number_of(value: object) -> int:
    global _last_number
    with _lock:
        known = _numbers.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        _last_number += 1
        number = _last_number
        try:
            reference = ref(value, _forget_number(id(value), number))
        except TypeError:
            return number  # it cannot be recognised later, so it shares with nobody
        _numbers[id(value)] = (reference, number)
        return number


def _forget_number(identity: int, number: int) -> Callable[[object], None]:
    def forget(_: object) -> None:
        known = _numbers.get(identity)
        if known is not None and known[1] == number:
            _numbers.pop(identity, None)

    return forget


__all__ = ["LoginScope", "SharedLogin", "forget_all", "shared_cache"]

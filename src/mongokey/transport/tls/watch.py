"""TLS's files as they are now: whether they changed, and one context for all clients that have the
same.

Knows which files options name, and what is the same material: what a file holds, not when it was
written. Must not know what a context is made of (`context`), nor when a connection is made.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from mongokey._support.fork import call_after_fork
from mongokey._support.keyed_digest import keyed_digest, keyed_hasher
from mongokey._support.lazy import late_imports
from mongokey.errors import ConfigurationError
from mongokey.transport.tls.pem import Pem

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey.client_options import TLSOptions
    from mongokey.transport.tls.context import ClientTLS

# Files that are written while they are read are read again, so often.
_TRIES = 3


class SharedTLS:
    """The `ClientTLS` of the process: one for each material and options, counted by the clients
    that have it, and forgotten with the last.

    Sessions are shared with it: those that have the same certificate, the same authorities and the
    same checks may resume each other's.
    """

    def __init__(self) -> None:
        # Weakly, as a client may be let go without being closed; users too.
        self._made: WeakValueDictionary[Any, ClientTLS] = WeakValueDictionary()
        self._users: WeakKeyDictionary[ClientTLS, tuple[Any, WeakSet[WatchedTLS]]]
        self._users = WeakKeyDictionary()
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: who held the lock may be a thread of the parent's."""
        # Reentrant: a signal handler may make a client in a thread that makes one.
        self._making = threading.RLock()

    def __len__(self) -> int:
        return len(self._made)

    def find(self, options: TLSOptions, user: WatchedTLS) -> ClientTLS:
        """The one for `options` and what their files hold now; `user` has it until it says `leave`.
        Raises `ConfigurationError`."""
        # Late: a client that is only made needs none.
        with late_imports:
            from mongokey.transport.tls import context

        kind = context.ClientTLS
        with self._making:
            for _ in range(_TRIES):
                key = kind, _material(options)
                found = self._made.get(key)
                if found is None:
                    found = kind(options, warned=True)
                    if (kind, _material(options)) != key:
                        continue  # it may be made of halves
                    self._made[key] = found
                    self._users[found] = key, WeakSet()
                self._users[found][1].add(user)
                return found
            return kind(options, warned=True)

    def leave(self, tls: ClientTLS, user: WatchedTLS) -> None:
        """`user` is closed, or has another one now."""
        with self._making:
            found = self._users.get(tls)
            if found is None or user not in found[1]:
                return
            key, users = found
            users.discard(user)
            if not users:
                self._made.pop(key, None)
                self._users.pop(tls, None)

    def count(self, tls: ClientTLS) -> int:
        """How many clients have it."""
        found = self._users.get(tls)
        return 0 if found is None else len(found[1])


shared_tls = SharedTLS()


class WatchedTLS:
    """The TLS of one client, whose files may be replaced while it lives: by an editor, by
    cert-manager, by kubelet, which swaps a symbolic link.

    `current` is for each new connection and costs a `stat` of each file. What cannot be used, as a
    half that was written before the other, leaves what there was in use, and `problem` says why.
    Raises `ConfigurationError` where it cannot be used from the start.

    :param on_change: called with a digest of the client's certificate and key when their file holds
        others than before
    """

    def __init__(
        self, options: TLSOptions, on_change: Callable[[bytes], object] | None = None
    ) -> None:
        self.options = options
        self._on_change = on_change
        self.problem: ConfigurationError | None = None
        self._stamps = _stamps(options)
        self._tls = shared_tls.find(options, self)
        # The last that a provider gave: its value, what the files were, and the outcome.
        self._identified: tuple[Any, ClientTLS, ClientTLS] | None = None

    def current(self) -> ClientTLS:
        """What a connection that is made now has."""
        stamps = _stamps(self.options)
        if stamps != self._stamps:
            self._read(stamps)
        return self._tls

    def changed_since(self, tls: ClientTLS | None) -> bool:
        """Read the files whatever their times say: whether they hold other than `tls` was made of,
        which a server refused or which refused the server."""
        self._read(_stamps(self.options))
        known = self._identified
        if known is not None and known[1] is tls:
            return known[2] is not self._tls
        return self._tls is not tls

    def with_identity(self, given: Any) -> ClientTLS:
        """The current one with the certificate of an `X509Secret`."""
        known = self._identified
        if known is not None and known[0] == given and known[2] is self._tls:
            return known[1]
        pem = b"\n".join(_bytes(each) for each in (given.certificate, given.key) if each)
        tls = shared_tls.find(self.options.with_identity(Pem(pem), given.key_password), self)
        self._identified = given, tls, self._tls
        if known is not None and known[1] is not tls:
            shared_tls.leave(known[1], self)
        return tls

    def close(self) -> None:
        """The client is closed; connections that have it keep it."""
        shared_tls.leave(self._tls, self)
        if self._identified is not None:
            shared_tls.leave(self._identified[1], self)

    def _read(self, stamps: Any) -> None:
        try:
            tls = shared_tls.find(self.options, self)
        except ConfigurationError as error:
            self.problem = error
            return
        before, self._tls = self._tls, tls
        self._stamps, self.problem = stamps, None
        if before is tls:
            return
        shared_tls.leave(before, self)
        certificate = self.options.certificate_key_file
        if self._on_change is not None and certificate is not None:
            self._on_change(keyed_digest(repr(_digest(certificate)).encode()))


def names_files(options: TLSOptions) -> bool:
    """Whether there is a file that may be replaced."""
    return any(path is not None and not isinstance(path, Pem) for path in _paths(options))


def _paths(options: TLSOptions) -> tuple[str | None, ...]:
    return options.certificate_key_file, options.ca_file, options.crl_file


def _stamps(options: TLSOptions) -> tuple[Any, ...]:
    """What changes when one of the files is replaced or written to."""
    return tuple(_stamp(path) for path in _paths(options) if path is not None)


def _stamp(path: str) -> Any:
    if isinstance(path, Pem):
        return None
    try:
        # Through symbolic links: the file that is read.
        found = os.stat(path)
        inside: tuple[Any, ...] = ()
        if not os.path.isfile(path):
            names = sorted(os.listdir(path))
            inside = tuple((e, os.stat(os.path.join(path, e)).st_mtime_ns) for e in names)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev, inside


def _material(options: TLSOptions) -> tuple[Any, ...]:
    """What a `ClientTLS` of `options` is made of; equal where that is the same."""
    files = tuple(None if path is None else _digest(path) for path in _paths(options))
    password = options.certificate_key_file_password
    return (
        *files,
        None if password is None else keyed_digest(password.encode("utf-8", "surrogatepass")),
        options.allow_invalid_certificates,
        options.allow_invalid_hostnames,
        options.disable_ocsp_endpoint_check,
        options.disable_certificate_revocation_check,
        options.implied_by,
        # The paths too: errors name them.
        *_paths(options),
        # Its number is another's only when it is gone, and with it what was made of it.
        None if options.ssl_context is None else id(options.ssl_context),
        _system() if options.ca_file is None and options.ssl_context is None else None,
    )


def _system() -> tuple[Any, ...]:
    """Which authorities are the machine's."""
    with late_imports:
        from mongokey.transport.tls.system import DIRECTORY, FILE

    file, directory = os.environ.get(FILE), os.environ.get(DIRECTORY)
    return file, directory, None if file is None else _stamp(file)


def _digest(path: str) -> Any:
    if isinstance(path, Pem):
        return keyed_digest(path.content.reveal())
    try:
        with open(path, "rb") as file:
            digest = keyed_hasher()
            while part := file.read(65536):
                digest.update(part)
            return digest.digest()
    except (OSError, ValueError):
        # A directory; or what cannot be read, which is for `files` to explain.
        return _stamp(path)


def _bytes(pem: str | bytes) -> bytes:
    return pem.encode("utf-8", "surrogatepass") if isinstance(pem, str) else bytes(pem)


__all__ = ["SharedTLS", "WatchedTLS", "names_files", "shared_tls"]

"""SCRAM for the mechanism server, so that one server can negotiate between it and others.

Knows users and their passwords; the arithmetic is `tests.servers.scram_server`'s.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tests.servers.mechanism.acceptor import Acceptor, Continue, Done, Exchange, Refused, Session
from tests.servers.scram_server import ScramError, ScramServer
from tests.servers.scripted.login import scram_username


class ScramAcceptor(Acceptor):
    """Logs `users` (name -> password, in `source`) in by one SCRAM mechanism."""

    speculates = True

    def __init__(
        self,
        users: Mapping[str, str],
        mechanism: str = "SCRAM-SHA-256",
        source: str = "admin",
        iterations: int = 4096,
    ) -> None:
        self.users = users
        self.mechanism = mechanism
        self.source = source
        self.iterations = iterations

    def begin(self, session: Session) -> Exchange:
        return _Exchange(self)


class _Exchange(Exchange):
    def __init__(self, acceptor: ScramAcceptor) -> None:
        self._acceptor = acceptor
        self._scram: ScramServer | None = None
        self._proved = False

    def step(self, payload: bytes) -> Continue | Done:
        acceptor = self._acceptor
        try:
            if self._scram is None:
                name = scram_username(payload)
                # An unknown user gets a password that nobody has.
                password = acceptor.users.get(name, os.urandom(16).hex())
                self._scram = ScramServer(acceptor.mechanism, name, password, acceptor.iterations)
                return Continue(self._scram.start(payload))
            if self._proved:
                return Done(self._scram.username)
            final = self._scram.finish(payload)
        except ScramError as error:
            raise Refused(detail=f"SCRAM: {error.value}") from error
        self._proved = True
        return Continue(final)

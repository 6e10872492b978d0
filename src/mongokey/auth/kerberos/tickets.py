"""The ticket that a password got, kept for a client's other connections.

Knows that one login at a time asks the KDC, and that those that come meanwhile share its outcome.
Must not know what a ticket is to a library.
"""

from __future__ import annotations

from collections.abc import Callable

from mongokey._support.reprs import with_safe_repr
from mongokey._support.single_flight import SingleFlight
from mongokey.errors import NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline

_TICKET = "the user's ticket"


@with_safe_repr
class PasswordTickets:
    """Holds one library's credential of one user; thread-safe, and a forked child may use it."""

    def __init__(self) -> None:
        self._credential: Any = None
        self._flights = SingleFlight(shares_errors=True)

    def get(
        self,
        make: Callable[[], Any],
        lives: Callable[[Any], bool],
        deadline: Deadline | None = None,
    ) -> Any:
        """The credential held, if `lives` says that it can be used, else what `make` gives.

        While another thread makes one, this waits for it until `deadline`, then raises
        `NetworkTimeout`. Raises what `make` raised, in whichever thread, and then holds none.
        """

        def find() -> Any:
            held = self._credential
            if held is not None and lives(held):
                return held
            self._credential = None
            return None

        def make_anew() -> Any:
            made = find()
            if made is None:
                made = self._credential = make()
            return made

        held = find()
        if held is not None:
            return held
        try:
            return self._flights.run(_TICKET, make_anew, deadline)
        except TimeoutError as error:
            raise NetworkTimeout(str(error)) from None

    def drop(self, credential: Any) -> None:
        """Forget this one: a login with it failed, and it may be why (keys changed since)."""
        if self._credential is credential:
            self._credential = None

    def __repr__(self) -> str:
        return f"<PasswordTickets: {'none' if self._credential is None else 'one'} held>"

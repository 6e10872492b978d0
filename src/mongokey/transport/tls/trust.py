"""For how long what a handshake proved holds: a session that is resumed proves nothing anew.

Knows the ends that count: of the chain's certificates, of the answer about revocation, of the
revocation list, and a fixed bound. Must not know how sessions are kept.
"""

from __future__ import annotations

import time

from mongokey.transport.tls.der import Malformed, issuer_of, not_after

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable

# So long after a full handshake the sessions that go back to it can be resumed, in seconds. RFC
# 8446, section 4.6.1, allows a week; a server of MongoDB's keeps its tickets two hours.
RESUMABLE_S = 3600
_MOST_REMEMBERED = 256


class Trust:
    """What bounds the sessions of one client.

    :param verifies: whether chains are verified; if not, there is only the fixed bound
    :param lists: the issuers (names in DER) of the revocation lists that certificates are checked
        against, and until when each list holds in Unix time (None: it has no end)
    :param unknown_lists: that lists are checked of which nothing is known here
    """

    def __init__(
        self,
        *,
        verifies: bool,
        lists: Iterable[tuple[bytes, int | None]] = (),
        unknown_lists: bool = False,
    ) -> None:
        self._verifies = verifies
        self._unknown_lists = unknown_lists
        self._lists: dict[bytes, int | None] = {}
        for issuer, until in lists:
            # Of two by one issuer OpenSSL takes the one that is valid.
            known = self._lists.get(issuer, 0)
            self._lists[issuer] = None if known is None or until is None else max(known, until)
        self._ends: dict[bytes, int] = {}

    def until(self, chain: list[bytes], answered_until: int | None) -> int:
        """Until when (Unix time) sessions of a connection may be resumed; 0: not at all.

        :param chain: the verified chain in DER, the server's certificate first
        :param answered_until: what `Revocation.check` returned, None if that had nothing to ask
        """
        now = int(time.time())
        end = now + RESUMABLE_S
        if answered_until is not None:
            if answered_until <= now:
                return 0
            end = min(end, answered_until)
        if not self._verifies:
            return end
        if not chain or self._unknown_lists:
            return 0
        try:
            for der in chain:
                end = min(end, self._end_of(der))
            if self._lists:
                end = min(end, self._end_of_list(chain[0], end))
        except Malformed:
            return 0
        return end if end > now else 0

    def _end_of(self, der: bytes) -> int:
        end = self._ends.get(der)
        if end is None:
            if len(self._ends) >= _MOST_REMEMBERED:
                self._ends.clear()
            end = self._ends[der] = not_after(der)
        return end

    def _end_of_list(self, der: bytes, end: int) -> int:
        """Until when the list that the server's certificate was looked for in holds."""
        # OpenSSL compares names without minding case and blanks: one that is not found byte by
        # byte is one of these, and the first list to end bounds it.
        ends = self._lists.values()
        until = self._lists.get(issuer_of(der), min((e for e in ends if e is not None), default=0))
        return end if until is None else until


__all__ = ["RESUMABLE_S", "Trust"]

"""Asks DNS for what a mongodb+srv string leaves out: its hosts and their common options.

Knows SRV and TXT records and their rules (initial-dns-seedlist-discovery.md), name servers and
deadlines; this package does I/O, and dnspython is imported at the first question. Must not know
how a connection string is read (`options`) nor what a client does with the hosts.
"""

from __future__ import annotations

from mongokey.dns.errors import Attempt, SRVError
from mongokey.dns.resolver import DEFAULT_TIMEOUT, MIN_POLL_S, Resolver, poll_interval_s

__all__ = [
    "DEFAULT_TIMEOUT",
    "MIN_POLL_S",
    "Attempt",
    "Resolver",
    "SRVError",
    "poll_interval_s",
]

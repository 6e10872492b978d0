"""The one table of diagnoses: every code, what it stands for, how sure it can be, and what to do.

A code never changes and never means something else; texts may. A new one gets a row in the module
of its area, and docs/troubleshooting.md is made anew (`python docs/troubleshooting.py`). Loaded
once there is something to diagnose. Must not know when a code applies: the rules do.
"""

from __future__ import annotations

from mongokey.diagnostics.entry import Entry
from mongokey.diagnostics.table_logins import LOGINS
from mongokey.diagnostics.table_mechanisms import MECHANISMS
from mongokey.diagnostics.table_network import NETWORK
from mongokey.diagnostics.table_strings import STRINGS
from mongokey.diagnostics.table_tls import TLS

#: The areas in the order in which a check comes to them.
AREAS: dict[str, list[Entry]] = {
    "The string and the options": STRINGS,
    "Names, hosts and deployments": NETWORK,
    "TLS": TLS,
    "Logins and rights": LOGINS,
    "Kerberos, LDAP, AWS and OIDC": MECHANISMS,
}

#: Each row by its code.
TABLE: dict[str, Entry] = {each.code: each for entries in AREAS.values() for each in entries}

#: The path and anchor of its guide, by code.
CODES: dict[str, str] = {code: each.docs for code, each in TABLE.items()}

__all__ = ["AREAS", "CODES", "TABLE"]

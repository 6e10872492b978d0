"""The beginning of a login: the service's name, a library, a ticket. All of it may wait.

Knows the order, and notes in the evidence how far it came. Runs in a login's work.
"""

from __future__ import annotations

import os
import time

from mongokey._support.secrets import keeps_secrets
from mongokey.auth.kerberos.canonical_host import canonicalize
from mongokey.auth.kerberos.evidence import Evidence
from mongokey.auth.kerberos.interface import Context, Service
from mongokey.auth.kerberos.libraries import find_library
from mongokey.auth.kerberos.tickets import PasswordTickets

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.deadline import Deadline


@keeps_secrets
def open_context(
    service: Service,
    canonicalize_host_name: str,
    username: str,
    password: str | None,
    tickets: PasswordTickets,
    evidence: Evidence,
    deadline: Deadline | None = None,
) -> Context:
    """A context towards `service`, its host name canonicalised as asked; fills `evidence`.

    `deadline` bounds the wait for a ticket that another login is getting. Raises
    ConfigurationError without a library for it, `KerberosFailure` when that fails.
    """
    evidence.clock_s = time.time()
    evidence.cache = os.environ.get("KRB5CCNAME")
    evidence.keytab = os.environ.get("KRB5_CLIENT_KTNAME")
    library = find_library(password=password is not None)
    evidence.library = library.package
    host, how = canonicalize(service.host, canonicalize_host_name)
    if how:
        service = Service(service.name, host, service.realm, f"{service.origin}, {how}")
        evidence.service = service
    return library.open(service, username, password, tickets, deadline)

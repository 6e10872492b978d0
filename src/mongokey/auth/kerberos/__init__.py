"""Kerberos (GSSAPI, auth.md): logging in with a ticket.

`mechanism` has the rules of the credential, `conversation` SASL's side of the login, `hints` what
failures mean; `open_context` gets the ticket from one of three libraries, each behind `interface`.
All that waits for a KDC or a name server is called from a login's work.
"""

from __future__ import annotations

from mongokey.auth.kerberos.mechanism import GSSAPI

__all__ = ["GSSAPI"]

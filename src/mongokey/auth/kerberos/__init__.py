"""Kerberos for GSSAPI logins: three libraries behind one interface, host names, and failures.

Knows how `gssapi`, `pykerberos` and `winkerberos` are spoken to and what their failures mean; all
that waits for a KDC or a name server is here, called from a login's work. Must not know SASL nor
MongoDB's commands.
"""

"""MONGODB-OIDC (auth.md): logging in with an access token of OpenID Connect.

`mechanism` has the rules of the credential; `conversation` is the login, and the only one to know
the wire's documents; `hints` says what failures mean, from the `claims` of the token;
`token_source` gets tokens from callbacks and, through `environments` and `metadata`, from clouds;
`tokens` keeps them for the client.
"""

from __future__ import annotations

from mongokey.auth.oidc.mechanism import OIDC

__all__ = ["OIDC"]

"""MONGODB-OIDC (auth.md): logging in with an access token of OpenID Connect.

`rules` checks the credential; `conversation` is the login, and the only one to know the wire's
documents; `providers` gets tokens from callbacks and, through `environments` and `metadata`, from
clouds; `tokens` keeps them for the client; `claims` reads what a refused token says of itself.
"""

from __future__ import annotations

from mongokey.auth.oidc.mechanism import OIDC

__all__ = ["OIDC"]

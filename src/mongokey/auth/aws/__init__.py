"""MONGODB-AWS (auth.md): logging in as an IAM user or role.

`mechanism` has the rules of the credential, `conversation` the login, `hints` what its failures
mean; `sources` and `custom_provider` find keys, `keys` keeps them, `signing` signs with them. Only
the rules are loaded by naming the mechanism, boto3 only by the first login.
"""

from __future__ import annotations

from mongokey.auth.aws.mechanism import AWS

__all__ = ["AWS"]

"""Logging in: a credential, and one conversation per login, without any I/O.

Knows mechanisms, the keys they derive, and how a login goes from hello to its end; takes and
gives documents. Must not know sockets, clocks or clients.
"""

from __future__ import annotations

from mongokey.auth.conversation import Conversation, OffloadedCall, run_blocking
from mongokey.auth.credential import MongoCredential, build_credential
from mongokey.auth.errors import AuthenticationFailed, ServerProofError
from mongokey.auth.registry import MECHANISMS, open_conversation

__all__ = [
    "MECHANISMS",
    "AuthenticationFailed",
    "Conversation",
    "MongoCredential",
    "OffloadedCall",
    "ServerProofError",
    "build_credential",
    "open_conversation",
    "run_blocking",
]

"""The server's side of SCRAM, written from RFC 5802 alone, to test clients against.

Stores what RFC 5802 section 3 says a server stores, checks the client's proof, signs. Knows
nothing of MongoDB's commands; whoever uses it wraps the messages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}


class ScramError(Exception):
    """The client's message is wrong; `value` is RFC 5802's server-error-value."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class ScramServer:
    """One user's stored key and, at a time, one conversation.

    `password` is the password as the mechanism defines it for the user: for SCRAM-SHA-256
    already prepared, for SCRAM-SHA-1 plain (MongoDB's digest of it is computed here).
    `nonce` fixes the server's part of the nonce.
    """

    def __init__(
        self,
        mechanism: str,
        username: str,
        password: str,
        iterations: int = 4096,
        salt: bytes | None = None,
        nonce: str | None = None,
    ) -> None:
        self.hash = HASHES[mechanism]
        self.username = username
        self.iterations = iterations
        self.salt = secrets.token_bytes(16) if salt is None else salt
        self.nonce = nonce
        secret = password.encode("utf-8")
        if mechanism == "SCRAM-SHA-1":
            secret = hashlib.md5(username.encode() + b":mongo:" + secret).hexdigest().encode()
        salted = hashlib.pbkdf2_hmac(self.hash, secret, self.salt, iterations)
        client_key = self._hmac(salted, b"Client Key")
        self.stored_key = hashlib.new(self.hash, client_key).digest()
        self.server_key = self._hmac(salted, b"Server Key")
        self._first = b""

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self.hash).digest()

    def start(self, client_first: bytes) -> bytes:
        """server-first-message; raises ScramError for a malformed one or another user."""
        header, rest = client_first[:3], client_first[3:]
        if header != b"n,,":
            raise ScramError("server-does-support-channel-binding")
        name, _, nonce = rest.partition(b",r=")
        if not name.startswith(b"n=") or not nonce or b"," in nonce:
            raise ScramError("invalid-encoding")
        user = name[2:].decode("utf-8").replace("=2C", ",").replace("=3D", "=")
        if user != self.username:
            raise ScramError("unknown-user")
        own = self.nonce if self.nonce is not None else secrets.token_urlsafe(24)
        self.full_nonce = nonce.decode("ascii") + own
        salt = base64.b64encode(self.salt).decode("ascii")
        reply = f"r={self.full_nonce},s={salt},i={self.iterations}".encode("ascii")
        self._first = rest + b"," + reply
        return reply

    def finish(self, client_final: bytes) -> bytes:
        """server-final-message; raises ScramError when the proof or the nonce is wrong."""
        without_proof, _, proof64 = client_final.rpartition(b",p=")
        if without_proof != f"c=biws,r={self.full_nonce}".encode("ascii"):
            raise ScramError("other-error")
        proof = base64.b64decode(proof64, validate=True)
        message = self._first + b"," + without_proof
        signature = self._hmac(self.stored_key, message)
        if len(proof) != len(signature):
            raise ScramError("invalid-proof")
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(self.hash, client_key).digest(), self.stored_key):
            raise ScramError("invalid-proof")
        return b"v=" + base64.b64encode(self._hmac(self.server_key, message))

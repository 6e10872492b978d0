"""Key management systems on loopback, over TLS: AWS's (moto's), and Azure's and Google's as their
documentation has requests and answers.

It knows HTTP as these services speak it, and the faults that a `WebServer` may be told of. What
moto does not have here is a key of this module's own. It must not know the code under test.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.servers.certificates import Authority
from tests.servers.needs import need_module
from tests.servers.web import WebReply, WebRequest, WebServer

HOST = "127.0.0.1"


class KMSServer(WebServer):
    """All three, on one port; `authority` is the file of who issued its certificate."""

    def __init__(self, folder: Path) -> None:
        need_module("moto.server", extra="test")
        super().__init__(HOST)
        authority = Authority(folder)
        self.authority = authority.certificate_file
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.issue("kms", HOST).pem)
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )
        self.address = f"{HOST}:{self.port}"
        self._fernet = Fernet(Fernet.generate_key())
        self._aws: Any = None
        #: Answers wait until it is set, for 20 seconds; `let_go` says whether it was.
        self.hold: threading.Event | None = None
        self.let_go: bool | None = None
        self.google_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    # -- what clients are told -------------------------------------------------------------------

    def providers(self) -> dict[str, Any]:
        """`kms_providers` of all three."""
        private = self.google_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return {
            "aws": {"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": "aws-secret-key"},
            "azure": {
                "tenantId": "tenant",
                "clientId": "client",
                "clientSecret": "azure-secret",
                "identityPlatformEndpoint": self.address,
            },
            "gcp": {"email": "a@example.com", "privateKey": private, "endpoint": self.address},
        }

    def tls_options(self) -> dict[str, Any]:
        """`kms_tls_options` that know the authority."""
        return {name: {"tlsCAFile": self.authority} for name in ("aws", "azure", "gcp")}

    def master_key(self, provider: str) -> dict[str, Any]:
        """A master key here."""
        if provider == "aws":
            made = self._ask_aws("CreateKey", b"{}", {})
            arn = json.loads(made.body)["KeyMetadata"]["Arn"]
            return {"region": "us-east-1", "key": arn, "endpoint": self.address}
        if provider == "azure":
            return {"keyVaultEndpoint": self.address, "keyName": "key"}
        return {
            "projectId": "project",
            "location": "global",
            "keyRing": "ring",
            "keyName": "key",
            "endpoint": self.address,
        }

    # -- answers ---------------------------------------------------------------------------------

    def answer(self, request: WebRequest) -> WebReply:
        reply = super().answer(request)
        if self.hold is not None:
            self.let_go = self.hold.wait(20)
        if reply.status != 404 or not isinstance(reply.body, str):
            return reply  # a fault that a test has asked for
        target = request.headers.get("x-amz-target", "")
        if target:
            return self._ask_aws(target.rpartition(".")[2], request.body, request.headers)
        if request.path.endswith("/token"):
            return WebReply(body={"access_token": "the token", "expires_in": 3600})
        if request.headers.get("authorization") != "Bearer the token":
            return WebReply(401, {"error": {"message": "no token"}})
        if request.path.startswith("/keys/key/"):
            return self._as_azure(request)
        return self._as_google(request)

    def _ask_aws(self, action: str, body: bytes, headers: Any) -> WebReply:
        if self._aws is None:
            from moto.server import create_backend_app

            self._aws = create_backend_app("kms").test_client()
        scope = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261201/us-east-1/kms/aws4_request"
        answer = self._aws.post(
            "/",
            data=body,
            headers={
                "X-Amz-Target": f"TrentService.{action}",
                "Authorization": headers.get("authorization", scope),
                "Content-Type": "application/x-amz-json-1.1",
            },
        )
        return WebReply(answer.status_code, answer.data)

    def _as_azure(self, request: WebRequest) -> WebReply:
        given = json.loads(request.body)
        assert given["alg"] == "RSA-OAEP-256"
        value = base64.urlsafe_b64decode(given["value"] + "==")
        if request.path.endswith("/wrapkey"):
            made = self._fernet.encrypt(value)
        else:
            made = self._fernet.decrypt(value)
        text = base64.urlsafe_b64encode(made).decode().rstrip("=")
        return WebReply(body={"kid": "https://vault/keys/key/1", "value": text})

    def _as_google(self, request: WebRequest) -> WebReply:
        given = json.loads(request.body)
        if request.path.endswith(":encrypt"):
            made = self._fernet.encrypt(base64.b64decode(given["plaintext"]))
            return WebReply(body={"ciphertext": base64.b64encode(made).decode()})
        made = self._fernet.decrypt(base64.b64decode(given["ciphertext"]))
        return WebReply(body={"plaintext": base64.b64encode(made).decode()})

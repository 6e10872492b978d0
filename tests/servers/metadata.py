"""The clouds' metadata services on loopback: Azure's (IMDS and App Service) and Google's.

They know the vendors' paths, the headers they insist on, and how they refuse; tokens are an
issuer's, signed for the audience asked for. Must not know the code under test. Faults (slow,
garbage, 5xx) are `WebServer.fail`'s.

- https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
- https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
- https://cloud.google.com/compute/docs/instances/verifying-instance-identity
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from tests.servers.oidc_issuer import Issuer
from tests.servers.web import WebReply, WebRequest, WebServer

IMDS_PATH = "/metadata/identity/oauth2/token"
APP_SERVICE_PATH = "/msi/token"
GCP_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"
IMDS_VERSIONS = frozenset({"2018-02-01", "2019-08-01", "2021-02-01"})
SEVERAL_IDENTITIES = (
    "Multiple user assigned identities exist, please specify the clientId / resourceId of the"
    " identity in the token request"
)


class AzureMetadata(WebServer):
    """IMDS at `url`, and App Service's endpoint at `identity_endpoint` (with `identity_header`).

    `identities` maps client ids to the subjects (object ids) of the machine's managed identities.
    """

    def __init__(
        self,
        issuer: Issuer,
        identities: Mapping[str, str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port)
        self.issuer = issuer
        self.identities = dict(identities)
        self.identity_endpoint = f"{self.url}{APP_SERVICE_PATH}"
        self.identity_header = secrets.token_hex(16)
        self.issued: list[str] = []
        self.routes = {("GET", IMDS_PATH): self._imds, ("GET", APP_SERVICE_PATH): self._app_service}

    def environment(self) -> dict[str, str]:
        """The variables that App Service sets for its applications."""
        return {
            "IDENTITY_ENDPOINT": self.identity_endpoint,
            "IDENTITY_HEADER": self.identity_header,
        }

    def _imds(self, request: WebRequest) -> WebReply:
        if request.headers.get("metadata", "").lower() != "true":
            return _refuse("Required metadata header not specified")
        if "x-forwarded-for" in request.headers:
            return _refuse("Requests through a proxy are refused")
        if request.query.get("api-version") not in IMDS_VERSIONS:
            return _refuse("The api-version is missing or not known")
        return self._issue(request)

    def _app_service(self, request: WebRequest) -> WebReply:
        if request.headers.get("x-identity-header") != self.identity_header:
            return WebReply(401, {"statusCode": 401, "message": "X-IDENTITY-HEADER is wrong"})
        if request.query.get("api-version") != "2019-08-01":
            return WebReply(400, {"statusCode": 400, "message": "api-version is wrong"})
        return self._issue(request)

    def _issue(self, request: WebRequest) -> WebReply:
        resource = request.query.get("resource")
        if not resource:
            return _refuse("The resource is missing")
        client_id = request.query.get("client_id")
        if client_id is None and len(self.identities) > 1:
            return _refuse(SEVERAL_IDENTITIES)
        if client_id is None:
            (client_id,) = self.identities
        if client_id not in self.identities:
            return _refuse("Identity not found")
        now = int(self.issuer.now())
        lifetime = int(self.issuer.lifetime)
        claims = {"appid": client_id, "oid": self.identities[client_id]}
        token = self.issuer.token(self.identities[client_id], resource, claims=claims)
        self.issued.append(token)
        return WebReply(
            body={
                "access_token": token,
                "client_id": client_id,
                "refresh_token": "",
                "expires_in": str(lifetime),
                "expires_on": str(now + lifetime),
                "ext_expires_in": str(lifetime),
                "not_before": str(now),
                "resource": resource,
                "token_type": "Bearer",
            }
        )


class GCPMetadata(WebServer):
    """The metadata server of a virtual machine whose service account is `subject`."""

    def __init__(
        self, issuer: Issuer, subject: str, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(host, port)
        self.issuer = issuer
        self.subject = subject
        self.issued: list[str] = []
        self.routes = {("GET", GCP_PATH): self._identity}

    def answer(self, request: WebRequest) -> WebReply:
        reply = super().answer(request)
        headers = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
        return WebReply(
            reply.status,
            reply.body,
            {**headers, **reply.headers},
            reply.delay,
            reply.pause,
            reply.hang_up,
        )

    def _identity(self, request: WebRequest) -> WebReply:
        if request.headers.get("metadata-flavor") != "Google":
            return WebReply(403, "Missing required header: Metadata-Flavor: Google")
        if "x-forwarded-for" in request.headers:
            return WebReply(403, "X-Forwarded-For is not allowed")
        audience = request.query.get("audience")
        if not audience:
            return WebReply(400, "non-empty audience parameter required")
        claims: dict[str, Any] = {"azp": self.subject, "email_verified": True}
        token = self.issuer.token(self.subject, audience, claims=claims)
        self.issued.append(token)
        return WebReply(body=token, headers={"Content-Type": "text/html"})


def _refuse(description: str, status: int = 400) -> WebReply:
    return WebReply(status, {"error": "invalid_request", "error_description": description})

"""The built-in environments: how the machine or pod that the program runs on gets its token.

Knows the services and files that auth.md names ("Built-in OIDC Environment Integrations") and
what their failures mean. Each is a callback like an application's; it keeps nothing.
"""

from __future__ import annotations

import os

from mongokey._support.deadline import Deadline, Timeout
from mongokey._support.lazy import late_imports
from mongokey.auth.oidc.metadata import MAX_ANSWER, SourceError, endpoint, get
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey.auth_oidc import OIDCCallbackContext, OIDCCallbackResult

AZURE = ("169.254.169.254", 80)
AZURE_PATH = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
GCP = ("metadata.google.internal", 80)
GCP_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity?audience="

# In this order; the first that is set wins (AKS, EKS), else the service account's (GKE).
TOKEN_FILE_VARIABLES = ("AZURE_FEDERATED_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path
TEST_VARIABLE = "OIDC_TOKEN_FILE"


class Azure:
    """The Instance Metadata Service of Azure's virtual machines (managed identities)."""

    def __init__(self, resource: str) -> None:
        self._resource = resource

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        with late_imports:
            from urllib.parse import quote

        path = AZURE_PATH + quote(self._resource, safe="")
        if context.username:
            path += "&client_id=" + quote(context.username, safe="")
        answer = get(
            AZURE,
            path,
            {"Accept": "application/json", "Metadata": "true"},
            _deadline(context),
            "ENVIRONMENT:azure is for Azure virtual machines; in Functions, App Service and "
            "Kubernetes use OIDC_CALLBACK with azure-identity, or ENVIRONMENT:k8s",
        )
        where = endpoint(AZURE, path)
        if answer.status == 400:
            raise self._bad_request(f"{where} answered {answer.shown()}", context.username)
        if answer.status != 200:
            raise SourceError(f"{where} answered {answer.shown()}")
        return self._read(answer.body, where)

    def _bad_request(self, answered: str, username: str) -> SourceError:
        with late_imports:
            from mongokey.diagnostics import LIKELY, Diagnosis

        if not username:
            hint = Diagnosis(
                "OIDC-AZURE-IDENTITY",
                LIKELY,
                "this machine has several identities, or none",
                fix="set username=<client id> to the client id of the managed identity that the "
                "database knows",
            )
        else:
            hint = Diagnosis(
                "OIDC-AZURE-IDENTITY",
                LIKELY,
                f"this machine has no managed identity with the client id {username!r}, or "
                f"TOKEN_RESOURCE={self._resource!r} is not an application of its tenant",
            )
        return SourceError(answered, hint=hint)

    @staticmethod
    def _read(body: str, where: str) -> OIDCCallbackResult:
        with late_imports:
            import json

            from mongokey.auth_oidc import OIDCCallbackResult

        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise SourceError(f"{where} answered something that is not JSON") from None
        if not isinstance(answer, dict):
            raise SourceError(f"{where} answered JSON that is not an object")
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            names = ", ".join(sorted(map(repr, answer)))[:200]
            raise SourceError(f"{where} answered without an access_token; it has {names or 'none'}")
        return OIDCCallbackResult(token, _seconds(answer.get("expires_in"), where))


def _deadline(context: OIDCCallbackContext) -> Deadline:
    return Timeout(round(context.timeout_seconds * 1e9)).start()


def _seconds(value: Any, where: str) -> float | None:
    """`expires_in`, which Azure writes as a string."""
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(f"{where} answered with an expires_in that is not a number") from None


class Gcp:
    """The metadata service of Google's virtual machines; it answers with the token itself."""

    def __init__(self, resource: str) -> None:
        self._resource = resource

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        with late_imports:
            from urllib.parse import quote

            from mongokey.auth_oidc import OIDCCallbackResult

        path = GCP_PATH + quote(self._resource, safe="")
        answer = get(
            GCP,
            path,
            {"Metadata-Flavor": "Google"},
            _deadline(context),
            "ENVIRONMENT:gcp is for Google Cloud's machines; in Kubernetes use ENVIRONMENT:k8s",
        )
        where = endpoint(GCP, path)
        if answer.status != 200:
            raise SourceError(f"{where} answered {answer.shown()}")
        token = answer.body.strip()
        if not token:
            raise SourceError(f"{where} answered with an empty token")
        if len(token.split()) > 1:
            raise SourceError(f"{where} answered something that is not a token")
        return OIDCCallbackResult(token)


class Kubernetes:
    """The token that the cluster puts into a pod's file system, read anew each time."""

    def __init__(self, resource: None = None) -> None:
        pass

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        for name in TOKEN_FILE_VARIABLES:
            path = os.environ.get(name)
            if path:
                return _read_file(path, f"the file that {name} names")
        variables = " and ".join(TOKEN_FILE_VARIABLES)
        return _read_file(
            SERVICE_ACCOUNT_TOKEN, f"the service account's token file ({variables} are not set)"
        )


class Test:
    """A file named by OIDC_TOKEN_FILE; drivers' test suites use it."""

    __test__ = False  # pytest collects classes by this name

    def __init__(self, resource: None = None) -> None:
        pass

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        path = os.environ.get(TEST_VARIABLE)
        if not path:
            raise SourceError(
                f"ENVIRONMENT:test needs the environment variable {TEST_VARIABLE}: the path of a "
                "file that holds an access token",
                ConfigurationError,
            )
        return _read_file(path, f"the file that {TEST_VARIABLE} names")


def _read_file(path: str, what: str) -> OIDCCallbackResult:
    with late_imports:
        from mongokey.auth_oidc import OIDCCallbackResult

    try:
        with open(path, "rb") as file:
            content = file.read(MAX_ANSWER + 1)
    except OSError as error:
        raise SourceError(
            f"{what}, {path}, cannot be read: {error.strerror}", ConfigurationError
        ) from None
    if len(content) > MAX_ANSWER:
        raise SourceError(f"{what}, {path}, has more than {MAX_ANSWER} bytes", ConfigurationError)
    try:
        token = content.decode().strip()
    except UnicodeDecodeError:
        raise SourceError(f"{what}, {path}, is not text", ConfigurationError) from None
    if not token:
        raise SourceError(f"{what}, {path}, is empty")
    return OIDCCallbackResult(token)


SOURCES: dict[str, Callable[[Any], Any]] = {
    "azure": Azure,
    "gcp": Gcp,
    "k8s": Kubernetes,
    "test": Test,
}

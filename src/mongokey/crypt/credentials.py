"""Credentials of key management systems that are looked for where the program runs, when they are
needed: providers that were given as ``{}``.

It knows AWS's chain and the metadata services of Azure and Google, as logins ask them. Nothing that
it finds is shown.
"""

from __future__ import annotations

from functools import partial

from mongokey._support.deadline import Timeout, earliest
from mongokey._support.jobs import Blocking
from mongokey._support.lazy import late_imports
from mongokey._support.secrets import Secret, keeps_secrets
from mongokey._support.system import monotonic_ns
from mongokey.errors import ConfigurationError, EncryptionError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey._support.jobs import JobSteps

# "On-demand credentials": where nothing else limits it.
LONGEST = Timeout(20_000_000_000)
AZURE_RESOURCE = "https://vault.azure.net"
GOOGLE_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
# client-side-encryption, "Obtaining an access token for Azure Key Vault": those that end within a
# minute are asked for anew.
REFRESH_NS = 60_000_000_000

# The token of Azure's service and when it is to be asked for anew (monotonic ns).
_azure: tuple[Secret[str], int] | None = None


def find_credentials(
    providers: Iterable[str], deadline: Deadline | None
) -> JobSteps[Secret[dict[str, Any]]]:
    """What there is for those of `providers` that can be looked for. Raises `EncryptionError`."""
    found: dict[str, Any] = {}
    for name in providers:
        ask = _SOURCES.get(name)
        if ask is not None:
            until = earliest(deadline, LONGEST.start())
            assert until is not None, "one of them is a deadline"
            part = yield Blocking(partial(ask, until))
            found[name] = part
    return Secret(found)


@keeps_secrets
def _from_aws(deadline: Deadline) -> dict[str, str]:
    try:
        with late_imports:
            from mongokey.auth.aws.sources import Search
    except ImportError:
        raise ConfigurationError(
            "kms_providers={'aws': {}} has credentials looked for as AWS's tools do, which needs "
            "boto3: pip install mongokey[aws]"
        ) from None
    try:
        keys = Search().run(deadline)
    except Exception as error:
        raise EncryptionError(error) from None
    found = {"accessKeyId": keys.access_key, "secretAccessKey": keys.secret_key}
    if keys.token is not None:
        found["sessionToken"] = keys.token
    return found


@keeps_secrets
def _from_azure(deadline: Deadline) -> dict[str, str]:
    global _azure
    with late_imports:
        from mongokey.auth.oidc.environments import Azure
        from mongokey.auth_oidc import OIDCCallbackContext

    known = _azure
    if known is not None and monotonic_ns() < known[1]:
        return {"accessToken": known[0].reveal()}
    _azure = None
    try:
        answer = Azure(AZURE_RESOURCE).fetch(
            OIDCCallbackContext(timeout_seconds=deadline.left_s, username="", version=1)
        )
    except Exception as error:
        raise EncryptionError(error) from None
    if answer.expires_in_seconds:
        until_ns = monotonic_ns() + round(answer.expires_in_seconds * 1e9) - REFRESH_NS
        _azure = Secret(answer.access_token), until_ns
    return {"accessToken": answer.access_token}


@keeps_secrets
def _from_google(deadline: Deadline) -> dict[str, str]:
    with late_imports:
        import json
        import os

        from mongokey.auth.oidc.metadata import get

    host, _, port = (os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal").partition(
        ":"
    )
    try:
        answer = get(
            (host, int(port or 80)),
            GOOGLE_PATH,
            {"Metadata-Flavor": "Google"},
            deadline,
            "kms_providers={'gcp': {}} is for Google's virtual machines; elsewhere give email and "
            "privateKey",
        )
        if answer.status != 200:
            raise ValueError(f"Google's metadata service answered {answer.shown()}")
        token = json.loads(answer.body)["access_token"]
        if not token or not isinstance(token, str):
            raise ValueError("Google's metadata service answered without an access_token")
    except (KeyError, TypeError):
        raise EncryptionError(
            ValueError("Google's metadata service answered without an access_token")
        ) from None
    except Exception as error:
        raise EncryptionError(error) from None
    return {"accessToken": token}


_SOURCES = {"aws": _from_aws, "azure": _from_azure, "gcp": _from_google}

__all__ = ["find_credentials"]

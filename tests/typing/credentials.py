"""What a type checker makes of providers of secrets. `./dev lint` checks this file; nobody runs
it."""

from __future__ import annotations

from mongokey.credentials import (
    AwsSecret,
    CredentialProvider,
    Request,
    Secret,
    X509Secret,
    from_aws_secret,
    from_env,
    from_file,
    from_keyring,
    from_vault,
)


def plain(request: Request) -> Secret:
    # mypy knows the words.
    if request.reason == "never":  # type: ignore[comparison-overlap]
        raise AssertionError
    return Secret(request.username, "secret", expires_in_s=60)


async def awaited(request: Request) -> X509Secret:
    return X509Secret(b"PEM", key="PEM")


def keys(request: Request) -> AwsSecret:
    return AwsSecret("id", "key", session_token=None)


def wrong(request: Request) -> str:
    return "secret"


def without_request() -> Secret:
    return Secret("ada", "secret")


providers: list[CredentialProvider] = [
    plain,
    awaited,
    keys,
    from_aws_secret("name", region_name="eu-west-1"),
    from_env("NAME"),
    from_file("path", refresh_s=None),
    from_keyring("service"),
    from_vault(None, role="app"),
]
first: CredentialProvider = wrong  # type: ignore[assignment]
second: CredentialProvider = without_request  # type: ignore[assignment]

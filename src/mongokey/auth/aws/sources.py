"""Where AWS keys come from when the user gives none: boto3's chain of credential providers.

Knows botocore's providers one by one, so that it can say which gave the keys, or of each why it
gave none. Does I/O, in the thread of the login's work; must not know the conversation, nor keep
what it finds. Imported by the first login, as boto3 is heavy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.credentials import EnvProvider
from botocore.session import Session

from mongokey._support.deadline import Deadline
from mongokey._support.secrets import keeps_secrets
from mongokey.auth.aws.environment import aws_environment, file_stamp
from mongokey.auth.aws.keys import AwsKeys
from mongokey.auth.aws.problems import AwsProblem, clean
from mongokey.auth.aws.times import parse_time

# auth.md, "ECS endpoint": seconds to wait for metadata endpoints; STS gets the same.
READ_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0

ENVIRONMENT = "the environment (AWS_ACCESS_KEY_ID)"
_IMDS_ROLE = "/iam/security-credentials/"


@keeps_secrets
def from_environment() -> AwsKeys | None:
    """The keys in the environment variables as they are now, None when there are none.

    Raises AwsProblem when they are incomplete or say themselves that they are expired.
    """
    provider = EnvProvider()
    try:
        found = provider.load()
        return None if found is None else _keys_of(found, ENVIRONMENT, keep=False)
    except Exception as error:
        raise _problem(error, ENVIRONMENT, {}) from None


class Search:
    """One search along boto3's chain. `place` is where it looks at the moment, for people.

    `tried` lists what was asked before, with the reason why it gave nothing.
    """

    def __init__(self) -> None:
        self.place = ENVIRONMENT
        self.tried: list[tuple[str, str]] = []

    @keeps_secrets
    def run(self, deadline: Deadline | None) -> AwsKeys:
        """The first keys found. Waits for metadata services and STS, about until `deadline`.

        Raises AwsProblem when there are none, or a source that was to be used failed.
        """
        keys = from_environment()
        if keys is not None:
            return keys
        # A session of its own for each search: it reads files and variables once, and is to see
        # what has become of them. The first client pays for boto3's import, no login after it.
        session = Session()
        profile = session.profile or "default"
        try:
            boto3.Session(botocore_session=session)  # names itself boto3 to AWS
            _limit(session, deadline)
            providers = session.get_component("credential_provider").providers
            files = {
                "credentials": str(session.get_config_variable("credentials_file")),
                "config": str(session.get_config_variable("config_file")),
            }
            settings = session.full_config.get("profiles", {}).get(profile, {})
        except Exception as error:
            raise _problem(error, f"profile {profile}", {"profile": profile}) from None
        setup = {"profile": profile, "settings": settings, **files}
        unchanged = watch_files([*files.values(), *_BOTO_2])  # before they are read
        for provider in providers:
            method = str(getattr(provider, "METHOD", type(provider).__name__))
            self.place = place = _place(method, setup)
            watch = _Watch.on(provider) if method == "iam-role" else None
            try:
                found = provider.load()
                if found is not None:
                    return self._found(found, method, watch, unchanged)
            except Exception as error:
                raise _problem(error, place, setup) from None
            self.tried.append((place, _why_none(method, setup, watch)))
        raise AwsProblem(
            "AWS-NO-CREDENTIALS",
            "no AWS credentials were found: " + self.tell(),
            "give an access key by one of these ways, or as username and password, or a callback "
            "as AWS_CREDENTIAL_PROVIDER",
        )

    def tell(self) -> str:
        """What was tried, in order."""
        return "; ".join(f"{place}: {why}" for place, why in self.tried)

    def _found(
        self,
        found: Any,
        method: str,
        watch: _Watch | None,
        unchanged: Callable[[], bool],
    ) -> AwsKeys:
        if method == "env":  # set while we searched
            return _keys_of(found, ENVIRONMENT, keep=False)
        keys = _keys_of(found, self.place, keep=True)
        if method in _STATIC:
            keys.unchanged = unchanged
        if watch is not None:
            if watch.role:
                keys.origin = f"EC2 IMDS role {watch.role}"
            # botocore adds some minutes to the end of a role's keys; what IMDS says counts here.
            if watch.expires is not None:
                keys.expires = watch.expires
        return keys


# Providers that read keys from a file, at every load: good as long as the files are the same.
_STATIC = frozenset({"shared-credentials-file", "config-file", "boto-config"})


_BOTO_2 = ("/etc/boto.cfg", "~/.boto", "$BOTO_CONFIG")


def watch_files(paths: Iterable[str]) -> Callable[[], bool]:
    """A function to ask again and again: are the files, and the environment, as they are now?"""
    names = list(paths)
    before = [file_stamp(name) for name in names]
    environment = aws_environment()

    def unchanged() -> bool:
        return environment == aws_environment() and before == [file_stamp(name) for name in names]

    return unchanged


def _limit(session: Any, deadline: Deadline | None) -> None:
    """Keep boto3's own timeouts inside the login's, so that no thread is left behind for long."""
    read = READ_TIMEOUT_S if deadline is None else min(READ_TIMEOUT_S, max(deadline.left_s, 0.1))
    session.set_default_client_config(
        Config(connect_timeout=min(read, CONNECT_TIMEOUT_S), read_timeout=read)
    )
    whole = max(1, int(read))  # boto3 takes whole seconds here
    if session.get_config_variable("metadata_service_timeout") > whole:
        session.set_config_variable("metadata_service_timeout", whole)


def _keys_of(found: Any, origin: str, keep: bool) -> AwsKeys:
    """What a botocore credentials object holds now; asks its source where that is still due."""
    frozen = found.get_frozen_credentials()
    # Set once the frozen credentials are there; plain Credentials have no end.
    expires = getattr(found, "_expiry_time", None)
    if not isinstance(expires, datetime):
        # A newer botocore that keeps its end elsewhere must not make keys last for ever.
        keep = keep and not hasattr(found, "refresh_needed")
        expires = None
    elif expires.tzinfo is None:
        expires = expires.replace(tzinfo=timezone.utc)
    return AwsKeys(
        frozen.access_key,
        frozen.secret_key,
        frozen.token or None,
        origin,
        expires=expires,
        keep=keep,
    )


class _Watch:
    """Stands before the HTTP session of the EC2 provider, and notes what the service answers.

    botocore tells nobody why it got no keys from it.
    """

    def __init__(self, fetcher: Any) -> None:
        self._session = fetcher._session
        self.endpoint = str(fetcher.get_base_url()).rstrip("/")
        self._notes: list[str] = []
        self.role: str | None = None
        self.expires: datetime | None = None

    @classmethod
    def on(cls, provider: Any) -> _Watch | None:
        fetcher = getattr(provider, "_role_fetcher", None)
        if fetcher is None or not hasattr(fetcher, "_session"):
            return None  # a botocore that is built in another way
        watch = cls(fetcher)
        fetcher._session = watch
        return watch

    def send(self, request: Any) -> Any:
        path = urlsplit(request.url).path
        try:
            response = self._session.send(request)
        except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError):
            self._note(f"{self.endpoint} did not answer {request.method} in time")
            if request.method == "PUT":
                self._note(
                    "in a container the instance's metadata hop limit has to be 2 "
                    "(aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)"
                )
            raise
        except exceptions.BotoCoreError:
            self._note(f"{self.endpoint} cannot be reached, this is probably no EC2 instance")
            raise
        status = response.status_code
        role = path.partition(_IMDS_ROLE)[2]
        if status != 200:
            self._note(f"{self.endpoint} answered HTTP {status} to {request.method} {path}")
            if status == 404 and path.endswith(_IMDS_ROLE):
                self._note("the instance has no role")
        elif role:
            self.role = role
            self._read(response.text)
        return response

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    @property
    def why(self) -> str:
        """What the service answered, as far as it was not keys."""
        return ", ".join(self._notes)

    def _read(self, text: str) -> None:
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            self._note(f"{self.endpoint} answered with something that is not JSON")
            return
        code = document.get("Code")
        if code not in (None, "Success"):
            self._note(f"{self.endpoint} answered with Code {clean(code)}")
        else:
            self._note(f"{self.endpoint} answered without keys")
        try:
            self.expires = parse_time(document.get("Expiration"))
        except ValueError:
            self.expires = None


# Places, in words: "credentials AKIA…WXYZ from <place>", "<place>: <reason>".


def _place(method: str, setup: Mapping[str, Any]) -> str:
    profile, settings = setup["profile"], setup["settings"]
    if method == "assume-role-with-web-identity":
        role = os.environ.get("AWS_ROLE_ARN") or settings.get("role_arn")
        return "the web identity token" + (f" for role {role}" if role else "")
    if method == "assume-role":
        role = settings.get("role_arn")
        return f"the role {role} of profile {profile}" if role else f"a role of profile {profile}"
    if method == "container-role":
        return "the container's credential endpoint" + next(
            (f" ({name})" for name in _CONTAINER if name in os.environ), ""
        )
    words = _PLACES.get(method)
    if words is None:
        return f"boto3's source {method!r}"
    # An empty path is a user's way to switch a file off.
    return words.format(**setup) if setup[_FILES.get(method, "profile")] else _NO_FILE[method]


# The first one wins, with boto3.
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_FILES = {"shared-credentials-file": "credentials", "config-file": "config"}
_NO_FILE = {
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the config file",
}
_PLACES = {
    "env": ENVIRONMENT,
    "sso": "SSO, profile {profile}",
    "shared-credentials-file": "{credentials}, profile {profile}",
    "login": "aws login, profile {profile}",
    "custom-process": "credential_process of profile {profile}",
    "config-file": "{config}, profile {profile}",
    "ec2-credentials-file": "AWS_CREDENTIAL_FILE",
    "boto-config": "the configuration of boto 2",
    "iam-role": "EC2 IMDS",
}


def _why_none(method: str, setup: Mapping[str, Any], watch: _Watch | None) -> str:
    if method == "iam-role":
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return "switched off by AWS_EC2_METADATA_DISABLED"
        return (watch.why if watch is not None else "") or "gave no keys"
    if method == "shared-credentials-file":
        return _why_no_keys_in("AWS_SHARED_CREDENTIALS_FILE", setup["credentials"], setup)
    if method == "config-file":
        return _why_no_keys_in("AWS_CONFIG_FILE", setup["config"], setup)
    if method == "env" and os.environ.get("AWS_SESSION_TOKEN"):
        return "not set, although AWS_SESSION_TOKEN is"
    return _UNSET.get(method, "gave no keys")


_UNSET = {
    "env": "not set",
    "assume-role": "no role_arn with source_profile or credential_source",
    "assume-role-with-web-identity": "AWS_WEB_IDENTITY_TOKEN_FILE is not set",
    "sso": "no sso_session or sso_start_url",
    "login": "no login_session",
    "custom-process": "not set",
    "ec2-credentials-file": "not set",
    "boto-config": "none there",
    "container-role": "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor _FULL_URI is set",
}


def _why_no_keys_in(variable: str, path: str, setup: Mapping[str, Any]) -> str:
    if not path:
        return f"not read, as {variable} is empty"
    name = os.path.expanduser(os.path.expandvars(path))
    if not os.path.isfile(name):
        return "no such file"
    if not os.access(name, os.R_OK):
        return "this process may not read the file"
    return "no such profile there, or no aws_access_key_id in it"


# Failures of sources


def _problem(error: Exception, place: str, setup: Mapping[str, Any]) -> AwsProblem:
    """boto3's error as ours, with what to do. It is no cause of ours: what is behind it (a
    process's output, a document) may hold secrets, which tracebacks would show."""
    if isinstance(error, AwsProblem):
        return error
    if isinstance(error, exceptions.PartialCredentialsError):
        return AwsProblem(
            "AWS-SECRET-MISSING",
            f"{place} has an access key id, but no {error.kwargs.get('cred_var', 'secret key')}",
            "give both, or neither to look elsewhere",
            settings=True,
        )
    for kinds, code, advice, settings in _FAILURES:
        if isinstance(error, kinds):
            advice = advice.format(profile=setup.get("profile", "default"))
            return AwsProblem(code, f"{place}: {clean(error)}", advice, settings=settings)
    return AwsProblem(
        "AWS-SOURCE-FAILED",
        f"{place}: {type(error).__name__}: {clean(error)}",
        "boto3 stops at a source that fails, and asks none behind it",
    )


_Failures = tuple[tuple[type[Exception], ...], str, str, bool]

_FAILURES: tuple[_Failures, ...] = (
    (
        (exceptions.ProfileNotFound,),
        "AWS-PROFILE-UNKNOWN",
        "AWS_PROFILE has to be a profile of ~/.aws/config or ~/.aws/credentials "
        "(aws configure list-profiles)",
        True,
    ),
    (
        (exceptions.ConfigParseError, exceptions.InvalidConfigError),
        "AWS-CONFIG-WRONG",
        "put the configuration of profile {profile} or the AWS_* variables right",
        True,
    ),
    (
        (exceptions.NoRegionError,),
        "AWS-NO-REGION",
        "set AWS_REGION, so that boto3 knows which STS to ask",
        True,
    ),
    (
        (
            exceptions.SSOTokenLoadError,
            exceptions.UnauthorizedSSOTokenError,
            exceptions.TokenRetrievalError,
        ),
        "AWS-SSO-LOGIN",
        "log in with: aws sso login --profile {profile}",
        False,
    ),
    (
        (exceptions.MissingDependencyException,),
        "AWS-PACKAGE-MISSING",
        "install the package that boto3 names",
        True,
    ),
    (
        (exceptions.ClientError,),
        "AWS-STS-DENIED",
        "AWS refused to give credentials of the role: see its trust policy, and whether the keys "
        "or the token that asked for them are still valid",
        False,
    ),
    (
        (exceptions.ConnectionError, exceptions.HTTPClientError),
        "AWS-SOURCE-UNREACHABLE",
        "see that this machine reaches it (proxy, firewall, VPC endpoint of STS)",
        False,
    ),
)

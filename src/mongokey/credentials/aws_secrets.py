"""`from_aws_secret`: the secret is in AWS Secrets Manager, by boto3.

Knows one call of that service. Must not know what is written in the secret (`forms`).
"""

from __future__ import annotations

from mongokey._support.lazy import import_late
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import keeps_secrets
from mongokey.credentials import AwsSecret, Request, Secret, X509Secret
from mongokey.credentials.forms import secret_of, text_of, without_line_end
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


@with_safe_repr
class from_aws_secret:  # noqa: N801 - it is used as a function
    """A provider (`CredentialProvider`) that reads a secret of AWS Secrets Manager:
    ``pip install mongokey[aws]``.

    :param secret_id: the secret's name or ARN; it holds what a file of `from_file` may hold, such
        as the JSON object that AWS's rotation functions keep
    :param version_stage: which of its versions, by default ``"AWSCURRENT"``
    :param client: a `secretsmanager` client of boto3's; None makes one of `options`, at the first
        call
    :param refresh_s: for so many seconds it is not asked again; None (the default): until a login
        is refused
    :param options: what ``boto3.client("secretsmanager", ...)`` takes, such as `region_name`

    It raises what boto3 raises, ValueError for what cannot be read, and ConfigurationError where
    boto3 is missing.
    """

    def __init__(
        self,
        secret_id: str,
        *,
        version_stage: str = "AWSCURRENT",
        client: Any = None,
        refresh_s: float | None = None,
        **options: Any,
    ) -> None:
        self.secret_id = secret_id
        self.version_stage = version_stage
        self.refresh_s = refresh_s
        self.name = f"from_aws_secret({secret_id!r})"
        self._client = client
        self._options = options

    @keeps_secrets
    def __call__(self, request: Request) -> Secret | X509Secret | AwsSecret:
        if self._client is None:
            try:
                boto3 = import_late("boto3")
            except ImportError:
                boto3 = None
            if boto3 is None:
                raise ConfigurationError(
                    f"{self.name} needs the library boto3: pip install 'mongokey[aws]'"
                )
            self._client = boto3.client("secretsmanager", **self._options)
        found = self._client.get_secret_value(
            SecretId=self.secret_id, VersionStage=self.version_stage
        )
        where = f"the secret {self.secret_id!r}"
        text = found.get("SecretString")
        if text is None:
            text = text_of(found["SecretBinary"], where)
        return secret_of(without_line_end(text), request, where, None, self.refresh_s)

    def __repr__(self) -> str:
        return self.name


__all__ = ["from_aws_secret"]

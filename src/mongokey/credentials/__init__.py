"""Where a login's secret comes from when it is not in the connection string: what a provider gets
and gives, and the providers that are ready.

Knows values and masks their secrets. Must not know how a login uses them (`auth.provided`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mongokey._support.lazy import loader
from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import TypeAlias

    from mongokey.credentials.aws_secrets import from_aws_secret
    from mongokey.credentials.environment import from_env
    from mongokey.credentials.files import from_file
    from mongokey.credentials.keyrings import from_keyring
    from mongokey.credentials.vault import from_vault

__all__ = [
    "AwsSecret",
    "CredentialProvider",
    "Request",
    "Secret",
    "X509Secret",
    "from_aws_secret",
    "from_env",
    "from_file",
    "from_keyring",
    "from_vault",
]


@with_safe_repr
@dataclass(frozen=True)
class Request:
    """What a provider is asked with.

    :param mechanism: the client's authMechanism; None where SCRAM is negotiated with the server
    :param username: the user name that the client was given, None where the provider has to say it
    :param address: (host, port) of the server that the connection which needs the secret goes to;
        the answer serves the client's other servers too. The port is None for a Unix socket
    :param reason: ``"new"``, the first time; ``"expired"``, what was given before has reached its
        `expires_in_s`; ``"refused"``, a server refused it (error 18 or 8000)
    :param timeout_s: seconds until the login gives up (connectTimeoutMS), None for no limit; what
        comes later serves later logins
    """

    mechanism: str | None
    username: str | None
    address: tuple[str, int | None]
    reason: Literal["new", "expired", "refused"]
    timeout_s: float | None = None


@with_safe_repr
@dataclass(frozen=True)
class Secret:
    """A password, for SCRAM, PLAIN and GSSAPI.

    :param username: the user it belongs to, unescaped; None for the one that the client was given
    :param password: the password, unescaped
    :param expires_in_s: for so many seconds new connections use it without asking again; 0 has
        the provider asked for each connection, None (the default) only after a refusal
    """

    username: str | None = None
    password: str = field(default="", repr=False)
    expires_in_s: float | None = field(default=None, compare=False)


@with_safe_repr
@dataclass(frozen=True)
class X509Secret:
    """A client certificate and its key, for MONGODB-X509.

    :param certificate: the certificate in PEM, its chain behind it; text or bytes
    :param key: the private key in PEM; None where it stands in `certificate` too
    :param key_password: what the key is encrypted with, None where it is not
    :param username: the certificate's subject, as the server writes it; None leaves it out
    :param expires_in_s: as `Secret`'s
    """

    certificate: str | bytes = field(default="", repr=False)
    key: str | bytes | None = field(default=None, repr=False)
    key_password: str | None = field(default=None, repr=False)
    username: str | None = None
    expires_in_s: float | None = field(default=None, compare=False)


@with_safe_repr
@dataclass(frozen=True)
class AwsSecret:
    """Keys of AWS, for MONGODB-AWS.

    What AWS_CREDENTIAL_PROVIDER may give (botocore's Credentials, a dict with AccessKeyId and its
    kin) is taken as well.

    :param access_key_id: the access key's id
    :param secret_access_key: the secret key
    :param session_token: the session token of temporary keys, None for others
    :param expires_in_s: as `Secret`'s
    """

    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_in_s: float | None = field(default=None, compare=False)


if TYPE_CHECKING:
    #: What a provider may give.
    Given: TypeAlias = Secret | X509Secret | AwsSecret


class CredentialProvider(Protocol):
    """What ``MongoClient(credentials=...)`` takes: a callable like this, or an object that has it
    as its method `fetch`.

    It is called when a new connection needs the secret and the client has none that is still good;
    never while the client is made. A client makes one call at a time, in a thread of its own,
    with the context variables of whoever needs the connection; clients that share a provider may
    call it at the same time. ``async def`` is awaited in the loop of an `AsyncMongoClient`, and in
    a loop of its own for a `MongoClient`. A call that takes longer than connectTimeoutMS fails that
    login; the next one then makes a new call, also where the first is still at it.

    What it raises is the ``__cause__`` of the login's error, and the client stays usable. It must
    not use the client whose secret it gives.
    """

    def __call__(self, request: Request, /) -> Given | Awaitable[Given]: ...


if TYPE_CHECKING:
    #: What ``credentials=`` takes, as far as a type can say it.
    Provider: TypeAlias = CredentialProvider | Callable[[Request], object]


__getattr__ = loader(
    __name__,
    {
        "from_aws_secret": "mongokey.credentials.aws_secrets",
        "from_env": "mongokey.credentials.environment",
        "from_file": "mongokey.credentials.files",
        "from_keyring": "mongokey.credentials.keyrings",
        "from_vault": "mongokey.credentials.vault",
    },
)

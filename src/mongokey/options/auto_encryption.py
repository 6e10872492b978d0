"""`AutoEncryptionOpts`: what a client is to encrypt and decrypt by itself.

It knows the option's parts and their types, and keeps the secrets in them where no `repr` shows
them. It must not know what is done with them.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.secrets import Secret, keeps_secrets
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

#: How mongocryptd is told when to end by itself.
IDLE_SHUTDOWN = "--idleShutdownTimeoutSecs=60"


def require_pymongocrypt(what: str) -> None:
    """Raise `ConfigurationError` where the extra ``encryption`` is not installed, or too old."""
    from importlib.metadata import PackageNotFoundError, version

    remedy = "pip install mongokey[encryption]"
    try:
        found = version("pymongocrypt")
    except PackageNotFoundError:
        raise ConfigurationError(
            f"{what} needs client-side field level encryption, and so the package pymongocrypt, "
            f"which is not installed: {remedy}"
        ) from None
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if not (1, 13) <= numbers < (2,):
        raise ConfigurationError(
            f"{what} needs pymongocrypt from 1.13 on and below 2, but {found} is installed: "
            f"{remedy}"
        )


def check_vault_namespace(name: object) -> tuple[str, str]:
    """The (database, collection) of a key vault. Raises `ConfigurationError`, `TypeError`."""
    if not isinstance(name, str):
        raise TypeError(f"key_vault_namespace must be a str, not {type(name).__name__}")
    database, dot, collection = name.partition(".")
    if not (database and dot and collection):
        raise ConfigurationError(f"key_vault_namespace must be 'database.collection', not {name!r}")
    return database, collection


class AutoEncryptionOpts:
    """What a client is to encrypt and decrypt by itself: ``MongoClient(auto_encryption_opts=...)``.

    :param kms_providers: what is known of each key management system, by its name: ``aws``,
        ``azure``, ``gcp``, ``kmip`` or ``local``, also with a name of one's own behind a colon
        (``"aws:reports"``). ``{}`` for aws, azure or gcp has the credentials looked for where the
        program runs, when they are needed
    :param key_vault_namespace: ``"database.collection"`` of the data keys
    :param key_vault_client: the client of the deployment that has them; default: this one's
    :param schema_map: ``"database.collection"`` -> JSON schema that says what is encrypted, in
        place of what the server says, which may lie
    :param bypass_auto_encryption: whether nothing is encrypted, only decrypted
    :param mongocryptd_uri: where mongocryptd listens
    :param mongocryptd_bypass_spawn: whether mongocryptd is never started here
    :param mongocryptd_spawn_path: what is started
    :param mongocryptd_spawn_args: with which arguments; one that has it end when it is idle is
        added where there is none
    :param kms_tls_options: provider -> options of TLS with its servers, by their names as options
        of a client
    :param crypt_shared_lib_path: the file of the crypt_shared library
    :param crypt_shared_lib_required: whether mongocryptd may not take its place
    :param bypass_query_analysis: whether commands are not analysed: what is encrypted explicitly
        goes to Queryable Encryption's collections
    :param encrypted_fields_map: ``"database.collection"`` -> the encrypted fields of Queryable
        Encryption, in place of what the server says
    :param key_expiration_ms: how long data keys are kept, in milliseconds; None: libmongocrypt's
        60,000; 0: for ever
    :param kms_connect_callback: what connects to the servers of key management systems in place of
        the driver, such as by a proxy: it gets a `KMSConnectContext` and returns a connected
        socket, over which TLS is spoken. For an asyncio client a coroutine function

    Raises `ConfigurationError` without ``pip install mongokey[encryption]``; `TypeError`.
    Specification: client-side-encryption.
    """

    @keeps_secrets
    def __init__(
        self,
        kms_providers: Mapping[str, Any],
        key_vault_namespace: str,
        key_vault_client: Any = None,
        schema_map: Mapping[str, Any] | None = None,
        bypass_auto_encryption: bool = False,
        mongocryptd_uri: str = "mongodb://localhost:27020",
        mongocryptd_bypass_spawn: bool = False,
        mongocryptd_spawn_path: str = "mongocryptd",
        mongocryptd_spawn_args: list[str] | None = None,
        kms_tls_options: Mapping[str, Any] | None = None,
        crypt_shared_lib_path: str | None = None,
        crypt_shared_lib_required: bool = False,
        bypass_query_analysis: bool = False,
        encrypted_fields_map: Mapping[str, Any] | None = None,
        key_expiration_ms: int | None = None,
        kms_connect_callback: Any = None,
    ) -> None:
        require_pymongocrypt(type(self).__name__)
        check_vault_namespace(key_vault_namespace)
        for name, value in (
            ("schema_map", schema_map),
            ("encrypted_fields_map", encrypted_fields_map),
        ):
            if value is not None and not isinstance(value, Mapping):
                raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
        if mongocryptd_spawn_args is None:
            mongocryptd_spawn_args = [IDLE_SHUTDOWN]
        elif not isinstance(mongocryptd_spawn_args, list):
            raise TypeError(
                "mongocryptd_spawn_args must be a list, not "
                f"{type(mongocryptd_spawn_args).__name__}"
            )
        elif not any("idleShutdownTimeoutSecs" in each for each in mongocryptd_spawn_args):
            mongocryptd_spawn_args = [*mongocryptd_spawn_args, IDLE_SHUTDOWN]
        if kms_connect_callback is not None and not callable(kms_connect_callback):
            raise TypeError(
                f"kms_connect_callback must be callable, not {type(kms_connect_callback).__name__}"
            )
        self._secrets = Secret((check_providers(kms_providers), kms_tls_options))
        self._key_vault_namespace = key_vault_namespace
        self._key_vault_client = key_vault_client
        self._schema_map = schema_map
        self._bypass_auto_encryption = bool(bypass_auto_encryption)
        self._mongocryptd_uri = mongocryptd_uri
        self._mongocryptd_bypass_spawn = bool(mongocryptd_bypass_spawn)
        self._mongocryptd_spawn_path = mongocryptd_spawn_path
        self._mongocryptd_spawn_args = mongocryptd_spawn_args
        self._crypt_shared_lib_path = crypt_shared_lib_path
        self._crypt_shared_lib_required = bool(crypt_shared_lib_required)
        self._bypass_query_analysis = bool(bypass_query_analysis)
        self._encrypted_fields_map = encrypted_fields_map
        self._key_expiration_ms = key_expiration_ms
        self._kms_connect_callback = kms_connect_callback

    @property
    def _kms_providers(self) -> Mapping[str, Any]:
        return self._secrets.reveal()[0]

    @property
    def _kms_tls_options(self) -> Mapping[str, Any] | None:
        return self._secrets.reveal()[1]

    def __repr__(self) -> str:
        namespace = self.__dict__.get("_key_vault_namespace")
        return f"{type(self).__name__}(key_vault_namespace={namespace!r})"


def check_providers(kms_providers: object) -> Mapping[str, Any]:
    """`kms_providers` if it is a mapping of mappings; raises `TypeError` without showing it."""
    if not isinstance(kms_providers, Mapping):
        raise TypeError(f"kms_providers must be a mapping, not {type(kms_providers).__name__}")
    for name, provider in kms_providers.items():
        if not isinstance(provider, Mapping):
            raise TypeError(
                f"kms_providers[{name!r}] must be a mapping, not {type(provider).__name__}"
            )
    return kms_providers


def check_auto_encryption_opts(name: str, value: object) -> AutoEncryptionOpts | None:
    """The value of the option `name`. Raises `TypeError`."""
    if value is not None and not isinstance(value, AutoEncryptionOpts):
        raise TypeError(f"{name} must be an AutoEncryptionOpts, not {type(value).__name__}")
    return value


__all__ = [
    "IDLE_SHUTDOWN",
    "AutoEncryptionOpts",
    "check_auto_encryption_opts",
    "check_providers",
    "check_vault_namespace",
    "require_pymongocrypt",
]

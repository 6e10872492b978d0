"""Client-side encryption for tests on both faces."""

from __future__ import annotations

from typing import Any

from mongokey.bson import CodecOptions
from mongokey.bson.binary import STANDARD
from tests.faces.wrapper import Wrapped
from tests.servers.needs import need_module

need_module("pymongocrypt", extra="encryption")

#: A master key, of tests only.
LOCAL_KEY = bytes(range(96))
LOCAL = {"local": {"key": LOCAL_KEY}}
DETERMINISTIC = "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic"
RANDOM = "AEAD_AES_256_CBC_HMAC_SHA_512-Random"
OPTIONS: CodecOptions[Any] = CodecOptions(uuid_representation=STANDARD)


def client_encryption(
    client: Any, namespace: str, providers: Any = None, options: Any = OPTIONS, **further: Any
) -> Any:
    """A `ClientEncryption` of the client's face."""
    from mongokey.asynchronous.encryption import AsyncClientEncryption
    from mongokey.encryption import ClientEncryption

    arguments = LOCAL if providers is None else providers, namespace, client, options
    if isinstance(client, Wrapped):
        return client._method(AsyncClientEncryption)(*arguments, **further)
    return ClientEncryption(*arguments, **further)

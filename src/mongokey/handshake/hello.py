"""The hello command: what the first message on a connection says.

Knows source/mongodb-handshake/handshake.md ("Connection handshake"); must not know what a
mechanism puts into speculativeAuthenticate, nor how messages are framed.
"""

from __future__ import annotations

from collections.abc import Sequence

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, Protocol

    class ServerApiLike(Protocol):
        """The parts of a ServerApi (Stable API) that hello carries."""

        @property
        def version(self) -> str: ...
        @property
        def strict(self) -> bool | None: ...
        @property
        def deprecation_errors(self) -> bool | None: ...


def hello_command(
    metadata: Any,
    *,
    server_api: ServerApiLike | None = None,
    load_balanced: bool = False,
    hello_ok: bool = False,
    compressors: Sequence[str] = (),
    sasl_supported_mechs: str | None = None,
    speculative: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The handshake command for database `admin`, always sent as OP_MSG.

    :param metadata: the client document (`ClientMetadata.raw`), or None for a bare hello
    :param hello_ok: whether this server said helloOk before; then, with `server_api` or
        `load_balanced`, `hello` is sent instead of the legacy `isMaster`
    :param compressors: names to offer, best first; not in a bare hello
    :param sasl_supported_mechs: "database.user" to ask the mechanisms of, both unmodified
    :param speculative: the first command of a login, with `db`
    """
    command: dict[str, Any] = {}
    if server_api is not None or load_balanced or hello_ok:
        command["hello"] = 1
    else:
        command["isMaster"] = 1
        command["helloOk"] = True
    if metadata is not None:
        command["client"] = metadata
        # client-backpressure.md, "Handshake changes": overload errors are tried again.
        command["backpressure"] = True
        # OP_COMPRESSED.md, "MongoDB Handshake Amendment": an empty list where there is none.
        command["compression"] = list(compressors)
    if load_balanced:
        command["loadBalanced"] = True
    if sasl_supported_mechs is not None:
        command["saslSupportedMechs"] = sasl_supported_mechs
    if speculative is not None:
        command["speculativeAuthenticate"] = speculative
    if server_api is not None:
        command.update(api_fields(server_api))
    return command


_NONE: dict[str, Any] = {}


def api_fields(server_api: ServerApiLike | None) -> dict[str, Any]:
    """The fields of the Stable API that every command carries (versioned-api.md, "Sending Declared
    API Version to the Server"), logins and hello too; empty without a declared version."""
    if server_api is None:
        return _NONE
    fields: dict[str, Any] = {"apiVersion": server_api.version}
    if server_api.strict is not None:
        fields["apiStrict"] = server_api.strict
    if server_api.deprecation_errors is not None:
        fields["apiDeprecationErrors"] = server_api.deprecation_errors
    return fields

"""PyMongo's import path of the reader of connection strings that is awaited."""

from __future__ import annotations

import asyncio
from functools import partial

from mongokey import uri_parser
from mongokey._support.address import DEFAULT_PORT
from mongokey.options.connection_string import SRV_SCHEME

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["parse_uri"]


async def parse_uri(
    uri: str,
    default_port: int | None = DEFAULT_PORT,
    validate: bool = True,
    warn: bool = False,
    normalize: bool = True,
    connect_timeout: float | None = None,
    srv_service_name: str | None = None,
    srv_max_hosts: int | None = None,
    srv_allowed_hosts_suffix: str | None = None,
    srv_host_validator: Callable[[str], bool] | None = None,
) -> dict[str, Any]:
    """As `mongokey.uri_parser.parse_uri`; DNS is asked in a thread, and the loop goes on."""
    read = partial(
        uri_parser.parse_uri,
        uri,
        default_port,
        validate,
        warn,
        normalize,
        connect_timeout,
        srv_service_name,
        srv_max_hosts,
        srv_allowed_hosts_suffix,
        srv_host_validator,
    )
    if isinstance(uri, str) and uri.startswith(SRV_SCHEME):
        return await asyncio.to_thread(read)
    return read()

"""PyMongo's import path of what its readers of connection strings of both faces share."""

from mongokey._support.address import DEFAULT_PORT
from mongokey.options.connection_string import SCHEME, SRV_SCHEME
from mongokey.uri_parser import (
    SCHEME_LEN,
    SRV_SCHEME_LEN,
    URI_OPTIONS,
    parse_host,
    parse_ipv6_literal_host,
    parse_userinfo,
    split_hosts,
    split_options,
    validate_options,
)

__all__ = [
    "DEFAULT_PORT",
    "SCHEME",
    "SCHEME_LEN",
    "SRV_SCHEME",
    "SRV_SCHEME_LEN",
    "URI_OPTIONS",
    "parse_host",
    "parse_ipv6_literal_host",
    "parse_userinfo",
    "split_hosts",
    "split_options",
    "validate_options",
]

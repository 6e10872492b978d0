"""PyMongo's import path of the reader of connection strings that waits for DNS."""

from mongokey.uri_parser import parse_uri

__all__ = ["parse_uri"]

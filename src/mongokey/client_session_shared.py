"""PyMongo's import path of what its sessions of both faces share."""

from mongokey.sessions.options import SessionOptions, TransactionOptions

__all__ = ["SessionOptions", "TransactionOptions"]

"""Pools of connections; under PyMongo's import path also `PoolOptions`."""

from mongokey._support.lazy import loader

__all__ = ["PoolOptions"]

__getattr__ = loader(__name__, {"PoolOptions": "mongokey.pool_options"})

"""Importing this has mongokey stand for PyMongo, where MONGOKEY_AS_PYMONGO=1 asks for it.

The entry for programs that are started by others: the first import of an application's module, of
gunicorn's or Celery's configuration, or a plugin of pytest (``pytest -p mongokey.as_pymongo``). See
docs/migrating.md.
"""

from mongokey.stand_in import install_if_asked

install_if_asked()

"""Frameworks on mongokey: their public test suites, with PyMongo and with mongokey.

`python -m tools.frameworks --help`. It knows pip, pytest and how a suite is started; of mongokey it
knows only `mongokey run`.
"""

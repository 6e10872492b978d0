"""Usage programs of frameworks, written for mongokey: what an application does with each of them.

`python -m tools.frameworks` runs them with PyMongo and with mongokey in environments that have the
frameworks. Each wants a server at `MONGODB_URI` (default: localhost:27017), and must not know which
driver it has.
"""

"""Which frameworks are tried, what their suites need, and where the suites are.

A table. It must not know how environments are made nor how a suite is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["LIBRARIES", "Library", "Suite"]

PYTEST = ("pytest<9", "pytest-timeout")
ASYNC = (*PYTEST, "pytest-asyncio")


@dataclass(frozen=True)
class Suite:
    """What pytest is given. `sdist` is the distribution whose source has the files, as pip's
    requirement; empty for programs of ours, which are in tests/frameworks."""

    files: tuple[str, ...]
    sdist: str = ""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Library:
    """A framework: `requirements` are pip's, the first its own; `name` is how people write it."""

    key: str
    name: str
    requirements: tuple[str, ...]
    suites: tuple[Suite, ...]
    #: Does pip need ``--pre``?
    early: bool = False

    @property
    def distribution(self) -> str:
        """The name of the framework's own distribution."""
        return self.requirements[0].partition("<")[0]


def _own(file: str) -> Suite:
    # Not with the settings of mongokey's own tests.
    return Suite((file,), arguments=("-c", "usage.ini"))


LIBRARIES: Mapping[str, Library] = {
    library.key: library
    for library in (
        Library(
            "mongoengine",
            "MongoEngine",
            ("mongoengine", "blinker", "mongomock", *PYTEST),
            # The sdist leaves the sub-packages of the tests out.
            (Suite(("tests",), sdist="mongoengine"), _own("usage_mongoengine.py")),
        ),
        Library("beanie", "Beanie", ("beanie", *ASYNC), (_own("usage_beanie.py"),)),
        Library(
            "celery",
            "Celery and Kombu",
            ("celery[mongodb]", "kombu", "celery[pytest]", "pytz", *PYTEST),
            (
                Suite(("t/unit/backends/test_mongodb.py",), sdist="celery"),
                Suite(("t/unit/transport/test_mongodb.py",), sdist="kombu"),
                _own("usage_celery.py"),
            ),
        ),
        Library(
            "motor",
            "Motor",
            ("motor", *ASYNC),
            # Of its own suite some tests pass with PyMongo only, which are not judged yet.
            (_own("usage_motor.py"),),
        ),
        Library(
            "flask-pymongo",
            "Flask-PyMongo",
            ("flask-pymongo", *PYTEST),
            (_own("usage_flask_pymongo.py"),),
        ),
        Library(
            "apscheduler",
            "APScheduler",
            ("apscheduler<4", "pymongo", "pytz", "anyio", *ASYNC),
            (
                Suite(
                    ("tests/test_jobstores.py",),
                    sdist="apscheduler<4",
                    arguments=("-k", "mongodb"),
                ),
                _own("usage_apscheduler.py"),
            ),
        ),
        Library("odmantic", "ODMantic", ("odmantic", *ASYNC), (_own("usage_odmantic.py"),)),
        Library(
            "langchain-mongodb",
            "langchain-mongodb",
            (
                "langchain-mongodb",
                "langchain-tests",
                "syrupy",
                "pytest-socket",
                "freezegun",
                *ASYNC,
            ),
            # Its own suite wants a server with vector search for the most part.
            (_own("usage_langchain.py"),),
        ),
        Library(
            "langgraph-checkpoint-mongodb",
            "langgraph-checkpoint-mongodb",
            ("langgraph-checkpoint-mongodb", "langgraph", "anyio", "pytest-mock", *ASYNC),
            (_own("usage_langgraph.py"),),
        ),
        Library(
            "django-mongodb-backend",
            "django-mongodb-backend",
            ("django-mongodb-backend", *PYTEST),
            (_own("usage_django.py"),),
        ),
        Library(
            "bunnet",
            "Bunnet",
            ("bunnet", "pydantic-settings", "fastapi", "httpx", "asgi-lifespan", *ASYNC),
            (_own("usage_bunnet.py"),),
        ),
        Library(
            "umongo",
            "umongo",
            ("umongo", "mongomock", *PYTEST),
            (Suite(("tests",), sdist="umongo"),),
        ),
        Library("eve", "Eve", ("eve", *PYTEST), (_own("usage_eve.py"),)),
        Library(
            "opentelemetry",
            "OpenTelemetry's PyMongo instrumentation",
            (
                "opentelemetry-instrumentation-pymongo",
                "opentelemetry-test-utils",
                "pymongo",
                *PYTEST,
            ),
            (
                Suite(("tests",), sdist="opentelemetry-instrumentation-pymongo"),
                _own("usage_opentelemetry.py"),
            ),
            early=True,
        ),
    )
}

"""Which frameworks are tried, what their suites need, and where the suites are.

A table. It must not know how environments are made nor how a suite is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["LIBRARIES", "Library", "Suite", "name_of"]

PYTEST = ("pytest<9", "pytest-timeout")
ASYNC = (*PYTEST, "pytest-asyncio")


@dataclass(frozen=True)
class Suite:
    """What pytest is given, and where its files are: in the source of a distribution (`sdist`, as
    pip's requirement), in a repository on GitHub (`repository`, "owner/name@tag"; `within` is the
    folder in either to run pytest in), or else in tests/frameworks, as programs of ours."""

    files: tuple[str, ...]
    sdist: str = ""
    repository: str = ""
    within: str = "."
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
        return name_of(self.requirements[0])


def name_of(requirement: str) -> str:
    """The distribution that a requirement of pip's is for."""
    return re.split(r"[<>=!~\[]", requirement, maxsplit=1)[0]


def _own(file: str, section: str) -> Suite:
    """Programs of ours, and the recipe of docs/frameworks.md below that heading."""
    # Not with the settings of mongokey's own tests.
    arguments = ("-c", "usage.ini")
    environment = {"PAGE_SECTION": section}
    return Suite((file, "usage_page.py"), arguments=arguments, environment=environment)


LIBRARIES: Mapping[str, Library] = {
    library.key: library
    for library in (
        Library(
            "mongoengine",
            "MongoEngine",
            ("mongoengine==0.29.3", "blinker", "mongomock", "python-dateutil", "pillow", *PYTEST),
            (
                Suite(("tests",), repository="MongoEngine/mongoengine@v0.29.3"),
                _own("usage_mongoengine.py", "MongoEngine"),
            ),
        ),
        Library(
            "beanie",
            "Beanie",
            (
                "beanie==2.1.0",
                "asgi-lifespan",
                "email-validator",
                "fastapi<0.130",
                "httpx",
                "pydantic-extra-types",
                "pydantic-settings",
                "pytest>=9",
                "pytest-asyncio>=1.3",
                "pytest-cov",
                "pytest-timeout",
                "time-machine",
            ),
            (
                Suite(
                    ("tests/odm", "tests/fastapi", "tests/migrations"),
                    repository="BeanieODM/beanie@2.1.0",
                    arguments=("-p", "no_text_indexes"),
                ),
                _own("usage_beanie.py", "Beanie"),
            ),
        ),
        Library(
            "celery",
            "Celery and Kombu",
            ("celery[mongodb,msgpack,pytest,yaml]", "kombu", "pytz", *PYTEST),
            (
                Suite(
                    ("t/unit/backends/test_mongodb.py",),
                    sdist="celery",
                    environment={"C_FORCE_ROOT": "1"},  # or a worker refuses to be one of root's
                ),
                Suite(("t/unit/transport/test_mongodb.py",), sdist="kombu"),
                _own("usage_celery.py", "Celery and Kombu"),
            ),
        ),
        Library(
            "motor",
            "Motor",
            ("motor", "tornado", "aiohttp", "mockupdb", "pymongocrypt", *ASYNC),
            (
                # CPython 3.11 can fail where a task's error is logged while pytest parses source to
                # show it ("AST constructor recursion depth mismatch").
                Suite(
                    ("test/asyncio_tests", "test/tornado_tests"),
                    sdist="motor",
                    arguments=("--tb=line",),
                ),
                _own("usage_motor.py", "Motor"),
            ),
        ),
        Library(
            "flask-pymongo",
            "Flask-PyMongo",
            ("flask-pymongo==3.0.1", *PYTEST),
            (
                Suite(("tests",), repository="mongodb-labs/flask-pymongo@3.0.1"),
                _own("usage_flask_pymongo.py", "Flask-PyMongo"),
            ),
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
                _own("usage_apscheduler.py", "APScheduler"),
            ),
        ),
        Library(
            "odmantic",
            "ODMantic",
            (
                "odmantic==1.1.0",
                "async-asgi-testclient",
                "fastapi<0.109",
                "httpx<0.28",
                "inline-snapshot",
                "pytest-benchmark",
                "pytest-codspeed",
                "pytz",
                "requests",
                *ASYNC,
            ),
            (
                Suite(
                    ("tests",),
                    repository="art049/odmantic@v1.1.0",
                    environment={"TEST_MONGO_MODE": "replicaSet"},
                ),
                _own("usage_odmantic.py", "ODMantic"),
            ),
        ),
        Library(
            "langchain-mongodb",
            "langchain-mongodb",
            (
                "langchain-mongodb",
                "flaky",
                "freezegun",
                "langchain-community",
                "langchain-ollama",
                "langchain-openai",
                "langchain-tests",
                "langgraph",
                "pypdf",
                "pytest-mock",
                "pytest-socket",
                "syrupy",
                *ASYNC,
            ),
            (
                # The other files of its integration tests search by Atlas or ask a model.
                Suite(
                    (
                        "tests/unit_tests",
                        *(
                            f"tests/integration_tests/test_{name}.py"
                            for name in (
                                "agent_toolkit",
                                "chat_message_histories",
                                "compile",
                                "indexes",
                                "loaders",
                                "mongodb_database",
                                "tools",
                            )
                        ),
                    ),
                    sdist="langchain-mongodb",
                    # Its settings make errors of warnings.
                    arguments=("-W", "ignore:`langchain-community`:DeprecationWarning"),
                    environment={"MONGODB_URI": "mongodb://localhost:27017"},
                ),
                _own("usage_langchain.py", "langchain-mongodb"),
            ),
        ),
        Library(
            "langgraph-checkpoint-mongodb",
            "langgraph-checkpoint-mongodb",
            (
                "langgraph-checkpoint-mongodb",
                "anyio",
                "langchain-ollama",
                "langchain-openai",
                "langgraph",
                "pytest-mock",
                "syrupy",
                *ASYNC,
            ),
            (
                Suite(
                    ("tests/unit_tests", "tests/integration_tests"),
                    sdist="langgraph-checkpoint-mongodb",
                    environment={"MONGODB_URI": "mongodb://localhost:27017"},
                ),
                _own("usage_langgraph.py", "langgraph-checkpoint-mongodb"),
            ),
        ),
        Library(
            "django-mongodb-backend",
            "django-mongodb-backend",
            ("django-mongodb-backend", "pytest-django", *PYTEST),
            (
                # The two that are left out need GEOS and Atlas Search; Django's own tests on top of
                # the backend are not in the distribution.
                Suite(
                    (".",),
                    sdist="django-mongodb-backend",
                    within="tests",
                    arguments=(
                        "--ds=django_settings",
                        "-o",
                        "python_files=test*.py",
                        "--ignore=gis_tests_",
                        "--ignore=atlas_search_",
                    ),
                ),
                _own("usage_django.py", "Django"),
            ),
        ),
        Library(
            "bunnet",
            "Bunnet",
            (
                "bunnet",
                "asgi-lifespan",
                "email-validator",
                "fastapi",
                "httpx",
                "pydantic-extra-types",
                "pydantic-settings",
                "pytest-cov",
                *ASYNC,
            ),
            (
                Suite(
                    ("tests/odm", "tests/fastapi", "tests/migrations"),
                    sdist="bunnet",
                    arguments=("-p", "no_text_indexes"),
                ),
                _own("usage_bunnet.py", "Bunnet"),
            ),
        ),
        Library(
            "umongo",
            "umongo",
            ("umongo", "mongomock", *PYTEST),
            (Suite(("tests",), sdist="umongo"),),
        ),
        Library(
            "eve",
            "Eve",
            ("eve==2.3.1", "redis", "testfixtures", *PYTEST),
            (
                Suite(
                    ("tests",),
                    repository="pyeve/eve@v2.3.1",
                    # Its settings stop at the second failure.
                    arguments=("-o", "python_files=*.py"),
                ),
                _own("usage_eve.py", "Eve"),
            ),
        ),
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
                _own("usage_opentelemetry.py", "OpenTelemetry"),
            ),
            early=True,
        ),
    )
}

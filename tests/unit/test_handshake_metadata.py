"""The client document of the handshake: environments, truncation, wrapping libraries.

The prose tests of source/mongodb-handshake/tests/README.md, at the level of the document.
"""

import os
import platform
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mongokey._version import __version__
from mongokey.driver_info import DriverInfo
from mongokey.errors import ConfigurationError
from mongokey.handshake import ClientMetadata
from mongokey.handshake.environment import describe_environment, describe_os, describe_platform

LIBRARY = DriverInfo("library", "1.2", "Library Platform")


def env_of(variables, docker=False):
    return describe_environment(variables, docker)


def metadata(app_name=None, info=None, env=None, docker=False):
    return ClientMetadata(app_name, info, env=env or {}, docker=docker)


AWS = {
    "AWS_EXECUTION_ENV": "AWS_Lambda_java8",
    "AWS_REGION": "us-east-2",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (AWS, {"name": "aws.lambda", "region": "us-east-2", "memory_mb": 1024}),
        ({"FUNCTIONS_WORKER_RUNTIME": "node"}, {"name": "azure.func"}),
        (
            {
                "K_SERVICE": "servicename",
                "FUNCTION_MEMORY_MB": "1024",
                "FUNCTION_TIMEOUT_SEC": "60",
                "FUNCTION_REGION": "us-central1",
            },
            {"name": "gcp.func", "memory_mb": 1024, "timeout_sec": 60, "region": "us-central1"},
        ),
        ({"VERCEL": "1", "VERCEL_REGION": "cdg1"}, {"name": "vercel", "region": "cdg1"}),
        (
            {"AWS_EXECUTION_ENV": "AWS_Lambda_java8", "FUNCTIONS_WORKER_RUNTIME": "node"},
            {},
        ),
        (
            {
                "AWS_EXECUTION_ENV": "AWS_Lambda_java8",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "big",
            },
            {"name": "aws.lambda"},
        ),
        ({"AWS_EXECUTION_ENV": "EC2"}, {}),
        (
            {**AWS, "KUBERNETES_SERVICE_HOST": "1"},
            {
                "name": "aws.lambda",
                "region": "us-east-2",
                "memory_mb": 1024,
                "container": {"orchestrator": "kubernetes"},
            },
        ),
        # What the prose tests leave out.
        ({"AWS_LAMBDA_RUNTIME_API": "x"}, {"name": "aws.lambda"}),
        ({"FUNCTION_NAME": "f"}, {"name": "gcp.func"}),
        ({**AWS, "VERCEL": "1", "VERCEL_REGION": "cdg1"}, {"name": "vercel", "region": "cdg1"}),
        ({**AWS, "VERCEL": "1", "K_SERVICE": "s"}, {}),
        ({"K_SERVICE": "s", "VERCEL": "1"}, {}),
        ({"K_SERVICE": "s", "FUNCTION_MEMORY_MB": "2147483648"}, {"name": "gcp.func"}),
        ({"K_SERVICE": "s", "FUNCTION_MEMORY_MB": "-1"}, {"name": "gcp.func"}),
        ({"K_SERVICE": "s", "FUNCTION_MEMORY_MB": "1_0"}, {"name": "gcp.func"}),
        ({"K_SERVICE": "s", "FUNCTION_MEMORY_MB": "\u0664"}, {"name": "gcp.func"}),
        ({"K_SERVICE": "s", "FUNCTION_REGION": "\udcff"}, {"name": "gcp.func"}),
        ({"K_SERVICE": "", "VERCEL": ""}, {}),
        ({"KUBERNETES_SERVICE_HOST": "1"}, {"container": {"orchestrator": "kubernetes"}}),
        ({}, {}),
    ],
)
def test_the_environment_is_recognized(variables, expected, monkeypatch):
    assert env_of(variables) == expected
    assert metadata(env=variables).document.get("env", {}) == expected
    # The process's own is looked at in another way first.
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert describe_environment(docker=False) == expected


def test_the_document_is_encoded_anew_when_it_says_something_else():
    first = metadata("one", env={})
    assert metadata("one", env={}).raw is first.raw
    assert metadata("two", env={}).document["application"] == {"name": "two"}
    assert metadata("one", env={"VERCEL": "1"}).document["env"] == {"name": "vercel"}
    again = metadata("one", env={})
    again.append(("library", "1.0", None))
    assert again.document["driver"]["name"] == "mongokey|library"
    assert first.document["driver"]["name"] == "mongokey"
    assert metadata("one", env={}).document["driver"]["name"] == "mongokey"


def test_docker_is_recognized_beside_the_rest():
    assert env_of({}, docker=True) == {"container": {"runtime": "docker"}}
    assert env_of({"VERCEL": "1", "KUBERNETES_SERVICE_HOST": "1"}, docker=True) == {
        "name": "vercel",
        "container": {"runtime": "docker", "orchestrator": "kubernetes"},
    }


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("VERCEL", "1")
    for name in ("AWS_EXECUTION_ENV", "AWS_LAMBDA_RUNTIME_API", "K_SERVICE", "FUNCTION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("FUNCTIONS_WORKER_RUNTIME", raising=False)
    assert describe_environment()["name"] == "vercel"


def test_the_document_says_driver_os_and_platform():
    document = metadata("my app").document
    assert list(document) == ["application", "driver", "os", "platform"]
    assert document["application"] == {"name": "my app"}
    assert document["driver"] == {"name": "mongokey", "version": __version__}
    assert document["os"]["type"] == platform.system()
    assert document["os"]["architecture"] == platform.machine()
    assert document["platform"].startswith(platform.python_implementation() + " ")
    assert platform.python_version().split("+")[0].split("rc")[0] in document["platform"]


def test_there_is_no_default_application_name():
    assert "application" not in metadata().document
    assert "application" not in metadata("").document


@pytest.mark.parametrize("name", ["a" * 128, "\u00e4" * 64])
def test_an_application_name_may_have_128_bytes(name):
    assert metadata(name).document["application"]["name"] == name


@pytest.mark.parametrize("name", ["a" * 129, "\u00e4" * 65])
def test_a_longer_application_name_is_refused(name):
    with pytest.raises(ConfigurationError, match=r"appName has 1\d\d bytes.*128"):
        metadata(name)


def test_an_application_name_is_a_string():
    with pytest.raises(TypeError, match="appName"):
        metadata(7)


class TestTruncation:
    """handshake.md, "Limitations": what goes first."""

    def test_first_the_fields_of_env_except_its_name(self):
        document = metadata(env={**AWS, "AWS_REGION": "a" * 512}, docker=True).document
        assert document["env"] == {"name": "aws.lambda"}
        assert document["os"] == describe_os()

    def test_an_env_without_a_name_goes_entirely(self):
        info = DriverInfo("library", "1", "p" * (480 - len(metadata().raw.raw)))
        document = metadata(info=info, docker=True, env={"KUBERNETES_SERVICE_HOST": "1"}).document
        assert "env" not in document
        assert document["os"] == describe_os()

    def sizes(self):
        full = len(metadata(env={"VERCEL": "1"}).raw.raw)
        os_type = describe_os()["type"]
        return full, os_type

    def test_then_the_fields_of_os_except_its_type(self):
        full, os_type = self.sizes()
        info = DriverInfo("library", None, "p" * (513 - full))
        document = metadata(info=info, env={"VERCEL": "1"}).document
        assert document["os"] == {"type": os_type}
        assert document["env"] == {"name": "vercel"}
        assert document["platform"] == f"{describe_platform()}|{'p' * (513 - full)}"

    def test_then_env(self):
        _, os_type = self.sizes()
        fixed = len(metadata(info=DriverInfo("library", None, "p")).raw.raw)
        without_os = fixed - sum(
            len(k) + len(v.encode()) + 7 for k, v in describe_os().items() if k != "type"
        )
        info = DriverInfo("library", None, "p" * (512 - without_os))
        document = metadata(info=info, env={"VERCEL": "1"}).document
        assert "env" not in document
        assert document["os"] == {"type": os_type}
        assert document["platform"].endswith("|" + "p" * (512 - without_os))

    @pytest.mark.parametrize("letter", ["p", "\u00e4", "\u20ac", "\U0001f600"])
    def test_then_the_platform_is_cut_between_characters(self, letter):
        raw = metadata(info=DriverInfo("library", None, letter * 600), env={"VERCEL": "1"})
        assert 508 <= len(raw.raw.raw) <= 512
        document = raw.document
        assert "env" not in document
        assert document["platform"].startswith(f"{describe_platform()}|{letter}")
        assert set(document["platform"].partition("|")[2]) == {letter}

    def test_last_what_libraries_added_to_name_and_version(self):
        info = DriverInfo("n" * 600, "v" * 600, None)
        document = metadata("a" * 128, info=info).document
        assert "platform" not in document
        assert document["driver"]["version"] == __version__
        assert document["driver"]["name"].startswith("mongokey|nnn")
        assert document["application"]["name"] == "a" * 128

    @settings(deadline=None)
    @given(
        st.text(max_size=30).filter(lambda t: "\0" not in t),
        st.text(max_size=700).filter(lambda t: "|" not in t),
        st.text(max_size=700).filter(lambda t: "|" not in t),
        st.text(max_size=700).filter(lambda t: "|" not in t),
        st.text(max_size=700, alphabet=st.characters(exclude_categories=["Cs"])),
        st.booleans(),
    )
    def test_never_more_than_512_bytes_and_never_less_than_the_required(
        self, app, name, version, plat, region, docker
    ):
        env = {"VERCEL": "1", "VERCEL_REGION": region}
        made = metadata(app, (name, version, plat), env=env, docker=docker)
        assert len(made.raw.raw) <= 512
        document = made.document
        assert document["driver"]["name"].startswith("mongokey")
        assert document["driver"]["version"].startswith(__version__)
        assert document["os"]["type"] == describe_os()["type"]
        if app:
            assert document["application"]["name"] == app


def appended(document):
    """The parts that libraries added: (name, version, platform)."""
    driver = document["driver"]
    return tuple(
        text.partition("|")[2] for text in (driver["name"], driver["version"], document["platform"])
    )


@pytest.mark.parametrize("at_first", [True, False])
@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            ("framework", "2.0", "Framework Platform"),
            ("library|framework", "1.2|2.0", "Library Platform|Framework Platform"),
        ),
        (("framework", "2.0", None), ("library|framework", "1.2|2.0", "Library Platform")),
        (
            ("framework", None, "Framework Platform"),
            ("library|framework", "1.2", "Library Platform|Framework Platform"),
        ),
        (("framework", None, None), ("library|framework", "1.2", "Library Platform")),
    ],
)
def test_appended_libraries_follow_the_earlier_ones(at_first, info, expected):
    """Prose tests 1 and 2."""
    made = metadata("app", LIBRARY if at_first else None)
    if not at_first:
        made.append(LIBRARY)
    before = made.document
    made.append(DriverInfo(*info))
    after = made.document
    assert appended(after) == expected
    for document in (before, after):
        del document["driver"], document["platform"]
    assert before == after


@pytest.mark.parametrize("name", ["library", "framework"])
@pytest.mark.parametrize("version", ["1.2", "2.0"])
@pytest.mark.parametrize("plat", ["Library Platform", "Framework Platform"])
def test_only_what_is_the_same_in_all_parts_is_a_duplicate(name, version, plat):
    """Prose test 3."""
    made = metadata()
    made.append(LIBRARY)
    made.append(DriverInfo(name, version, plat))
    if (name, version, plat) == tuple(LIBRARY):
        assert appended(made.document) == ("library", "1.2", "Library Platform")
    else:
        assert appended(made.document) == (
            f"library|{name}",
            f"1.2|{version}",
            f"Library Platform|{plat}",
        )


@pytest.mark.parametrize("at_first", [True, False])
def test_a_duplicate_is_known_after_others_too(at_first):
    """Prose tests 4, 5 and 6."""
    made = metadata(info=LIBRARY if at_first else None)
    made.append(LIBRARY)
    made.append(DriverInfo("framework", "2.0", "Framework Platform"))
    before = made.raw.raw
    made.append(LIBRARY)
    assert made.raw.raw == before
    assert appended(made.document)[0] == "library|framework"


@pytest.mark.parametrize("at_first", [True, False])
@pytest.mark.parametrize(
    ("one", "same"),
    [
        (("library", None, "Library Platform"), ("library", "", "Library Platform")),
        (("library", "1.2", None), ("library", "1.2", "")),
        ((None, "1.2", "Library Platform"), ("", "1.2", "Library Platform")),
    ],
)
def test_empty_is_unset(at_first, one, same):
    """Prose tests 7 and 8."""
    made = metadata(info=one if at_first else None)
    made.append(one)
    before = made.raw.raw
    made.append(same)
    assert made.raw.raw == before


@pytest.mark.parametrize("info", [("a|b", None, None), ("a", "1|2", None), ("a", "1", "p|q")])
def test_the_delimiter_may_not_stand_in_a_part(info):
    with pytest.raises(ConfigurationError, match="separates"):
        metadata(info=info)
    made = metadata()
    before = made.raw.raw
    with pytest.raises(ConfigurationError, match="separates"):
        made.append(info)
    assert made.raw.raw == before


def test_driver_info_is_checked_like_pymongos():
    assert DriverInfo("n") == ("n", None, None)
    assert DriverInfo("n", "v", "p").platform == "p"
    with pytest.raises(TypeError, match="version"):
        DriverInfo("n", 1)
    with pytest.raises(TypeError, match="a name, a version and a platform"):
        metadata(info=("n",))
    with pytest.raises(TypeError, match="version must be a str"):
        metadata(info=("n", 1, None))


def test_pymongos_own_driver_info_is_taken():
    from pymongo.driver_info import DriverInfo as PyMongoInfo

    assert appended(metadata(info=PyMongoInfo("odm", "3")).document)[:2] == ("odm", "3")


def test_threads_that_append_lose_nothing():
    made = metadata()
    threads = [
        threading.Thread(target=made.append, args=(DriverInfo(f"{n:02}"),)) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(appended(made.document)[0].split("|")) == [f"{n:02}" for n in range(20)]

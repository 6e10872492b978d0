"""Where this process runs: operating system, interpreter, function service, container.

Tables of source/mongodb-handshake/handshake.md ("client.env", "client.os") and the code that
reads them. Reads the environment and a few local files; must not know how the result is cut to
size or sent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from mongokey._support.lazy import late_imports
from mongokey._support.system import any_is_set

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

Environment = Mapping[str, str]

_INT32_MAX = (1 << 31) - 1
_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy"}
_DOCKER_MARK = "/.dockerenv"
_KUBERNETES_MARK = "KUBERNETES_SERVICE_HOST"


def _text(value: str) -> str | None:
    # What the environment holds need not be UTF-8; then the field is left out.
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _int32(value: str) -> int | None:
    if not (value.isascii() and value.isdigit()) or len(value) > 10:
        return None
    number = int(value)
    return number if number <= _INT32_MAX else None


def _on_aws(env: Environment) -> bool:
    lambda_mark = env.get("AWS_EXECUTION_ENV", "").startswith("AWS_Lambda_")
    return lambda_mark or bool(env.get("AWS_LAMBDA_RUNTIME_API"))


# A field of client.env, the variable it comes from, and how that is read.
_Field = tuple[str, str, Callable[[str], "str | int | None"]]

# handshake.md, "FaaS": name -> whether we are there, and its other fields.
_SERVICES: dict[str, tuple[Callable[[Environment], bool], tuple[_Field, ...]]] = {
    "aws.lambda": (
        _on_aws,
        (
            ("region", "AWS_REGION", _text),
            ("memory_mb", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", _int32),
        ),
    ),
    "azure.func": (lambda env: bool(env.get("FUNCTIONS_WORKER_RUNTIME")), ()),
    "gcp.func": (
        lambda env: bool(env.get("K_SERVICE") or env.get("FUNCTION_NAME")),
        (
            ("memory_mb", "FUNCTION_MEMORY_MB", _int32),
            ("timeout_sec", "FUNCTION_TIMEOUT_SEC", _int32),
            ("region", "FUNCTION_REGION", _text),
        ),
    ),
    "vercel": (lambda env: bool(env.get("VERCEL")), (("region", "VERCEL_REGION", _text),)),
}

# Without any of these there is nothing to say.
_MARKS = (
    b"AWS_EXECUTION_ENV",
    b"AWS_LAMBDA_RUNTIME_API",
    b"FUNCTIONS_WORKER_RUNTIME",
    b"K_SERVICE",
    b"FUNCTION_NAME",
    b"VERCEL",
    _KUBERNETES_MARK.encode(),
)


def in_function_service(env: Environment | None = None) -> bool:
    """Whether this process runs in a function service, which stops it between two calls; `env`
    defaults to os.environ."""
    if env is None:
        env = os.environ if any_is_set(_MARKS) else {}
    return bool(env) and any(here(env) for here, _ in _SERVICES.values())


_docker: bool | None = None


def _in_docker() -> bool:
    """Whether this is a Docker container; found out once per process, as it does not change."""
    global _docker
    if _docker is None:
        _docker = os.path.exists(_DOCKER_MARK)
    return _docker


def describe_environment(
    env: Environment | None = None, docker: bool | None = None
) -> dict[str, Any]:
    """The handshake's `client.env`, empty when there is nothing to say.

    `env` defaults to os.environ; `docker` to whether /.dockerenv exists.
    """
    if env is None:
        env = os.environ if any_is_set(_MARKS) else {}
    if docker is None:
        docker = _in_docker()
    if not env:
        return {"container": {"runtime": "docker"}} if docker else {}
    found = [name for name, (here, _) in _SERVICES.items() if here(env)]
    # Vercel runs on Lambda and sets its variables too.
    if sorted(found) == ["aws.lambda", "vercel"]:
        found = ["vercel"]
    described: dict[str, Any] = {}
    if len(found) == 1:
        described["name"] = found[0]
        for field, variable, read in _SERVICES[found[0]][1]:
            value = read(env[variable]) if env.get(variable) else None
            if value is not None:
                described[field] = value
    container = {}
    if docker:
        container["runtime"] = "docker"
    if env.get(_KUBERNETES_MARK):
        container["orchestrator"] = "kubernetes"
    if container:
        described["container"] = container
    return described


_os_facts: dict[str, str] = {}


def describe_os() -> dict[str, str]:
    """The handshake's `client.os`; found out once per process, as it does not change."""
    if not _os_facts:
        _os_facts.update(_windows() if sys.platform == "win32" else _posix())
    return dict(_os_facts)


def _posix() -> dict[str, str]:
    uname = os.uname()
    facts = {
        "type": uname.sysname or "unknown",
        "name": uname.sysname or "unknown",
        "architecture": uname.machine,
        "version": uname.release,
    }
    if uname.sysname == "Darwin":
        with late_imports:
            import platform

        # The system's own version says more than the kernel's.
        facts["name"] = "macOS"
        facts["version"] = platform.mac_ver()[0] or uname.release
    elif uname.sysname == "Linux":
        with late_imports:
            import platform

        try:
            facts["name"] = platform.freedesktop_os_release().get("PRETTY_NAME") or "Linux"
        except OSError:
            # Small images have no os-release file; the kernel's name must do.
            facts["name"] = "Linux"
    return {field: value for field, value in facts.items() if value and _text(value)}


def _windows() -> dict[str, str]:
    # The platform module may start a shell on Windows, so it is not asked.
    version = sys.getwindowsversion()  # type: ignore[attr-defined, unused-ignore]
    return {
        "type": "Windows",
        "name": "Windows",
        "architecture": os.environ.get("PROCESSOR_ARCHITECTURE", "unknown"),
        "version": f"{version.major}.{version.minor}.{version.build}",
    }


def describe_platform() -> str:
    """The handshake's `client.platform`: interpreter and version."""
    name = sys.implementation.name
    version = ".".join(map(str, sys.version_info))
    return f"{_IMPLEMENTATIONS.get(name, name)} {version}"

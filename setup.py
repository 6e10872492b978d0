"""Builds the extension modules; everything else about the package stands in pyproject.toml.

Environment switches (all off by default):

MONGOKEY_SANITIZE=address  build with the address and undefined-behaviour sanitizers
MONGOKEY_TRACE=1           Cython line tracing, for coverage of the .pyx files
MONGOKEY_ANNOTATE=1        write Cython's annotated HTML beside each .pyx
MONGOKEY_WERROR=1          warnings of Cython and of the C compiler are errors (CI)
MONGOKEY_DEBUG=1           keep symbols and debug information, for debuggers and profilers
MONGOKEY_MODULES=pattern   build only the modules whose dotted name matches (fnmatch)
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
SOURCE = Path("src")
WINDOWS = sys.platform == "win32"
JOBS = os.cpu_count() or 1

sanitize = os.environ.get("MONGOKEY_SANITIZE", "")
trace = os.environ.get("MONGOKEY_TRACE") == "1"
annotate = os.environ.get("MONGOKEY_ANNOTATE") == "1"
werror = os.environ.get("MONGOKEY_WERROR") == "1"
debug = os.environ.get("MONGOKEY_DEBUG") == "1"
only = os.environ.get("MONGOKEY_MODULES", "*")

# What every Cython module needs a copy of (function objects, argument errors, imports) stands in
# one module instead: a fifth less to compile and to carry. Left out is what no module uses.
SHARED = "mongokey._support.cython_shared"
UNUSED_FEATURES = ["AutoPickle", "MemoryView"]

# What runs with each command is built for speed, all else for size; the encoder, which gains by it,
# is optimized most. So by instructions counted module by module (`bench.instructions`): what is
# built for size costs a command nothing, or little where it is large.
HOTTEST = ("mongokey.bson.encoder",)
HOT = (
    "mongokey._support.child_names",
    "mongokey.auth.scram_keys",
    "mongokey.bson.context",
    "mongokey.bson.decoder",
    "mongokey.bson.objectid",
    "mongokey.bson.writer",
    "mongokey.commands.bulk",
    "mongokey.commands.collection_operations",
    "mongokey.commands.command",
    "mongokey.commands.crud",
    "mongokey.commands.inherited_options",
    "mongokey.connection.connection",
    "mongokey.execution.aio",
    "mongokey.execution.blocking",
    "mongokey.execution.execution",
    "mongokey.execution.operation",
    "mongokey.faces.cores",
    "mongokey.pool.pool",
    "mongokey.results",
    "mongokey.sessions.server_session",
    "mongokey.transport.loop_wait",
    "mongokey.transport.stream",
    "mongokey.wire.framing",
)

# What runs once for a client or a connection, or where OpenSSL cannot be used: there Cython's short
# cuts of look-ups and calls are a twentieth of the module, and save nothing that can be measured.
COLD = (
    "mongokey._support.single_flight",
    "mongokey.auth.login",
    "mongokey.auth.scram_steps",
    "mongokey.commands.change_stream_cursor",
    "mongokey.connection.async_driver",
    "mongokey.connection.establish",
    "mongokey.connection.establish_steps",
    "mongokey.connection.settings",
    "mongokey.connection.steps",
    "mongokey.handshake.reply",
    "mongokey.transport.connecting",
    "mongokey.transport.names",
    "mongokey.transport.polling",
    "mongokey.transport.tls.libssl",
    "mongokey.transport.tls.openssl_engine",
    "mongokey.transport.tls.ssl_*",
    "mongokey.wire.standalone",
)
NO_SHORT_CUTS = [("CYTHON_USE_DICT_VERSIONS", "0"), ("CYTHON_UNPACK_METHODS", "0")]

# Passes of GCC that find next to nothing in what is built for size, and take a quarter of its time.
# In what is built for speed they save a tenth of the instructions of a ping.
NEEDLESS_PASSES = [
    "-fno-tree-vrp",
    "-fno-tree-pre",
    "-fno-code-hoisting",
    "-fno-gcse",
    "-fno-thread-jumps",
]

# What GCC does for speed that makes such modules larger and saves no instruction of a command: they
# are not made of loops.
NEEDLESS_FOR_SPEED = [
    "-fno-tree-pre",
    "-fno-tree-vectorize",
    "-fno-align-functions",
    "-fno-align-jumps",
    "-fno-align-loops",
    "-fno-align-labels",
]

if sanitize not in ("", "address"):
    raise SystemExit(f"MONGOKEY_SANITIZE={sanitize!r}: the only sanitizer build is 'address'")


def is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of these names, or patterns of them, is a module's."""
    return any(fnmatch(name, each) for each in patterns)


def optimization(name: str) -> str:
    """The C compiler's switch for a module, without its dash."""
    if is_one_of(name, HOTTEST):
        return "O3"
    return "O2" if is_one_of(name, HOT) else "Os"


@cache
def takes(*flags: str) -> bool:
    """Whether the C compiler knows these flags; clang passes over GCC's with a warning."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "")
    try:
        tried = subprocess.run(  # noqa: S603 - the compiler that the build is told to use
            [*compiler, "-Werror", *flags, "-x", "c", "-c", "-o", os.devnull, "-"],
            input=b"int nothing;\n",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False  # setuptools says what is wrong
    return bool(compiler) and tried.returncode == 0


def compiler_flags(name: str) -> tuple[list[str], list[str]]:
    """The C compiler's and the linker's flags for a module, this platform and these switches."""
    level = optimization(name)
    if WINDOWS:
        return ["/O1" if level == "Os" else "/O2"] + (["/W3", "/WX"] if werror else []), []
    compile_args, link_args = [f"-{level}", "-fvisibility=hidden"], []
    if sanitize:
        compile_args = ["-O1", "-g", "-fno-omit-frame-pointer"]
        compile_args += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
        link_args += ["-fsanitize=address,undefined"]
    elif debug:
        compile_args += ["-g"]
    else:
        # After Python's own flags, which ask for debug information: four fifths of a wheel.
        compile_args += ["-g0"]
        if sys.platform == "darwin":
            link_args += ["-Wl,-x"]
        else:
            # Python binds all symbols when it loads a module: the table for doing so later is one
            # jump more for each call into Python.
            compile_args += ["-fno-plt"]
            # A fourteenth of each module: tables to unwind the stack by, for C++ and debuggers.
            compile_args += ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
            link_args += ["-Wl,--strip-all", "-Wl,--build-id=none"]
    needless = {"Os": NEEDLESS_PASSES, "O2": NEEDLESS_FOR_SPEED}.get(level, [])
    if needless and not sanitize and takes(*needless):
        compile_args += needless
    if not werror:
        # Python's flags ask for warnings, which cost time and tell users nothing.
        compile_args += ["-w"]
    else:
        compile_args += ["-Wall", "-Wextra", "-Werror"]
        # Generated code has parameters and helpers that a given module does not use.
        compile_args += ["-Wno-unused-parameter", "-Wno-unused-function"]
        compile_args += ["-Wno-missing-field-initializers", "-Wno-cast-function-type"]
    return compile_args, link_args


def extensions() -> list[Extension]:
    """One extension for each .pyx under src, and the one with what they share."""
    macros = [("CYTHON_TRACE_NOGIL", "1")] if trace else []
    headers = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("include/mongokey/*.h")]
    shared = (SOURCE / SHARED.replace(".", "/")).with_suffix(".c")
    sources = {SHARED: shared.as_posix()}
    for path in sorted((ROOT / SOURCE).rglob("*.pyx")):
        relative = path.relative_to(ROOT)
        sources[".".join(relative.relative_to(SOURCE).with_suffix("").parts)] = relative.as_posix()
    found = []
    for name, source in sources.items():
        if name == SHARED or fnmatch(name, only):
            compile_args, link_args = compiler_flags(name)
            found.append(
                Extension(
                    name,
                    [source],
                    include_dirs=["include"],
                    depends=headers,
                    define_macros=macros + (NO_SHORT_CUTS if is_one_of(name, COLD) else []),
                    libraries=["ws2_32"] if WINDOWS else [],
                    extra_compile_args=compile_args,
                    extra_link_args=link_args,
                )
            )
    return found


Options.warning_errors = werror


def remove_orphans() -> None:
    """Delete modules built in place whose .pyx is gone: Python would prefer them to a .py."""
    for suffix in EXTENSION_SUFFIXES:
        for path in (ROOT / SOURCE).rglob(f"*{suffix}"):
            stem = path.name.partition(".")[0]
            if stem != SHARED.rpartition(".")[2] and not path.with_name(stem + ".pyx").exists():
                path.unlink()


def is_called_by_users(extension: Extension) -> bool:
    """Whether a module's functions keep signatures and docstrings: see `binding` below."""
    source = Path(extension.sources[0])
    if source.suffix != ".pyx":
        return False
    directives = source.open(encoding="utf-8").readline()
    return "binding=True" in directives or "embedsignature=True" in directives


def translate(modules: list[Extension], docstrings: bool) -> list[Extension]:
    """Have Cython make the C of some modules, on all cores."""
    Options.docstrings = docstrings
    return cythonize(
        modules,
        include_path=["src"],
        annotate=annotate,
        nthreads=0 if WINDOWS else JOBS,
        shared_utility_qualified_name=SHARED,
        shared_utility_features_disabled=UNUSED_FEATURES,
        compiler_directives={
            "language_level": 3,
            "embedsignature": False,
            # Functions without signature, defaults or names of their own: a twentieth of each
            # module. Those that users call (bson, results: binding=True; the cores of the
            # faces, whose calls are counted: embedsignature=True) ask for more, file by file.
            "binding": False,
            "always_allow_keywords": True,
            "linetrace": trace,
            "emit_code_comments": annotate or debug,
            "freethreading_compatible": False,
            # A copy would own a socket, a buffer or a session twice: a class that is meant to
            # be pickled or copied says so by methods of its own.
            "auto_pickle": False,
        },
    )


def main() -> None:
    """Translate all modules and hand them to setuptools, both on all cores."""
    remove_orphans()
    modules = extensions()
    documented = [each for each in modules if is_called_by_users(each)]
    # Nobody asks an internal module for help: its docstrings are for those who read the source.
    internal = [each for each in modules if each not in documented]
    setup(
        options={"build_ext": {"parallel": JOBS}},
        ext_modules=translate(internal, False) + translate(documented, True),
    )


# Where processes are not forked (macOS, Python 3.14), Cython's helpers import this file again.
if __name__ == "__main__":
    main()

"""The commands of `mongokey`, on click: arguments in, exit code out.

Knows each command's options and how its results become output or JSON; what a command does
stands in a module of its own. Must not be imported by the library.
"""

from __future__ import annotations

import io
import json
import re
import sys
from ipaddress import ip_address
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mongokey import __version__
from mongokey.cli import output
from mongokey.cli.exit_codes import FAILED, NOT_INSTALLED
from mongokey.cli.explain import explain as explain_uri
from mongokey.cli.mistakes import find_mistakes
from mongokey.errors import MongoError

if TYPE_CHECKING:
    from mongokey.cli.demo import LoginStep, RefusalStep, WorkStep
    from mongokey.options.connection_string import Resolve

EXIT_CODES = """\b
Exit codes: 0 all was right, 1 something was wrong, 2 wrong usage,
3 a package that the command needs is not installed.
"""

# The form of a diagnosis's code; no host name has it in capitals.
CODE = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)+")

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="mongokey")
def cli() -> None:
    """Tools of mongokey, a MongoDB driver core."""
    for stream in (sys.stdout, sys.stderr):
        # What the stream's encoding does not have is escaped: servers say part of what is printed.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@cli.command(epilog=EXIT_CODES)
@_as_json
def demo(as_json: bool) -> None:
    """Log in, write and read on an embedded server.

    Starts SecantusDB with authentication on a free loopback port, creates users, logs in with
    SCRAM-SHA-256, SCRAM-SHA-1, by negotiation and, over TLS, with a client certificate, cold and
    warm, writes and reads documents, and tries a wrong password. The server is stopped at the end,
    whatever happens.
    """
    try:
        report = _run_demo(quiet=as_json)
    except MongoError as error:
        _fail(error, as_json)
    if as_json:
        _print_json(report)
    sys.exit(0 if report["ok"] else FAILED)


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", metavar="SCRIPT|-m MODULE [ARGUMENT...]", nargs=-1)
def run(arguments: tuple[str, ...]) -> None:
    """Run a Python program with mongokey in PyMongo's place."""
    # `main` has it run without click; this lists it among the commands.
    from mongokey.cli.run_command import run as run_program

    run_program(arguments)


@cli.command(epilog=EXIT_CODES)
@click.argument("uri", metavar="URI|CODE", required=False)
@click.option("--list", "list_codes", is_flag=True, help="List the codes of all diagnoses.")
@click.option("--all", "defaults", is_flag=True, help="List the options' defaults too.")
@click.option("--resolve", is_flag=True, help="Look up the SRV and TXT records of mongodb+srv.")
@click.option(
    "--name-server",
    metavar="ADDRESS[:PORT]",
    callback=lambda context, parameter, value: value and _read_name_server(value),
    help="The DNS server that --resolve asks, instead of the machine's.",
)
@_as_json
def explain(
    uri: str | None,
    list_codes: bool,
    defaults: bool,
    resolve: bool,
    name_server: tuple[str, int] | None,
    as_json: bool,
) -> None:
    """Say how the connection string URI is understood, or what the CODE of a diagnosis means.

    Nothing is connected to.

    Shows hosts, who logs in and how, the authSource and where it comes from, the default
    database, the options, and what is most likely not meant so, with the string put right.
    Secrets are left out of what is printed; with URI "-" the string is read from standard input,
    so that it is not among the arguments that other users of the machine can see.
    """
    if list_codes:
        _list_codes(as_json)
        return
    if uri is None:
        raise click.UsageError("give a URI, the code of a diagnosis, or --list")
    if CODE.fullmatch(uri):
        _explain_code(uri, as_json)
        return
    from_shell = uri != "-"
    if not from_shell:
        uri = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    try:
        explanation = explain_uri(
            uri,
            defaults=defaults,
            resolve=_resolver(name_server) if resolve or name_server else None,
            from_shell=from_shell,
        )
    except MongoError as error:
        _fail_uri(error, uri, from_shell, as_json)
    if as_json:
        _print_json({"ok": True, **explanation.as_json()})
    else:
        output.show_explanation(output.make_console(), explanation)


CHECK_EXIT_CODES = """\b
Exit codes: 0 ok, 2 usage or string, 3 dns, 4 tcp, 5 tls, 6 login,
7 authorization, 8 time-out (whatever the step), 9 no suitable server,
130 interrupted (Ctrl-C).
"""


@cli.command(
    epilog=CHECK_EXIT_CODES,
    context_settings={"ignore_unknown_options": True},
)
@click.argument(
    "arguments", metavar="[URI|-] [--OPTION VALUE]...", nargs=-1, type=click.UNPROCESSED
)
@_as_json
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0.0, min_open=True, max=86400.0),
    callback=lambda context, parameter, value: _finite(value),
    default=30.0,
    show_default=True,
    help="How long all of it may take.",
)
@click.option("--all-hosts", is_flag=True, help="Log in and read on every server with data.")
@click.option(
    "--name-server",
    metavar="ADDRESS[:PORT]",
    callback=lambda context, parameter, value: value and _read_name_server(value),
    help="A DNS server to ask for everything, instead of the machine's.",
)
@click.pass_context
def check(
    context: click.Context,
    arguments: tuple[str, ...],
    as_json: bool,
    timeout_s: float,
    all_hosts: bool,
    name_server: tuple[str, int] | None,
) -> None:
    """Log in step by step, and say why it fails.

    The steps are string, dns, tcp, tls, hello, login, identity and read. The URI may also come from
    standard input ("-") or from the variable MONGODB_URI, so that it is not among the arguments
    that other users of the machine can see. Any option of a connection string can be given beside
    it, as --tlsCAFile ca.pem. Secrets are left out of all that is printed.
    """
    from mongokey.cli.check_command import run_command

    context.exit(
        run_command(
            list(arguments),
            as_json=as_json,
            timeout_s=timeout_s,
            all_hosts=all_hosts,
            name_server=name_server,
        )
    )


def _finite(value: float) -> float:
    if value != value:  # nan is in no range, and click takes it for one in each
        raise click.BadParameter("must be a number of seconds")
    return value


def _read_name_server(text: str) -> tuple[str, int]:
    from mongokey.options.connection_string import read_host

    try:
        host, port = read_host(f"[{text}]" if text.count(":") > 1 and "[" not in text else text, 53)
        ip_address(host)
    except (MongoError, ValueError) as error:
        raise click.BadParameter(
            f"must be an IP address, with or without a port: {error}"
        ) from None
    assert port is not None
    return host, port


def _resolver(name_server: tuple[str, int] | None) -> Resolve:
    from mongokey.dns import Resolver

    if name_server is None:
        return Resolver()
    return Resolver(name_servers=[name_server[0]], port=name_server[1])


def _fail_uri(error: MongoError, uri: str, from_shell: bool, as_json: bool) -> NoReturn:
    """Say why a connection string does not do, and how it is meant."""
    mistakes = find_mistakes(uri, from_shell=from_shell)
    attempts = getattr(error, "attempts", ())
    if as_json:
        failure: dict[str, Any] = {
            "ok": False,
            "error": type(error).__name__,
            "code": getattr(error, "code", None),
            "message": str(error),
            "diagnoses": [each.as_dict() for each in error.diagnoses],
            "mistakes": [mistake.as_dict() for mistake in mistakes],
        }
        if attempts:
            failure["attempts"] = [f"{each.question}: {each}" for each in attempts]
        _print_json(failure)
    else:
        click.echo(f"mongokey: {error}", err=True)
        output.show_mistakes(output.make_console(stderr=True), mistakes)
    sys.exit(FAILED)


def _list_codes(as_json: bool) -> None:
    from mongokey.diagnostics import AREAS, TABLE

    if as_json:
        _print_json({"ok": True, "codes": [each.as_dict() for each in TABLE.values()]})
    else:
        output.show_codes(output.make_console(), AREAS)


def _explain_code(code: str, as_json: bool) -> None:
    """The long form of a diagnosis."""
    from difflib import get_close_matches

    from mongokey.diagnostics import TABLE

    entry = TABLE.get(code.upper())
    if entry is None:
        close = get_close_matches(code.upper(), TABLE, n=3)
        meant = f"; did you mean {' or '.join(close)}?" if close else ""
        message = f"there is no diagnosis {code}{meant} (mongokey explain --list shows all)"
        if as_json:
            _print_json({"ok": False, "error": "UnknownCode", "message": message})
        else:
            click.echo(f"mongokey: {message}", err=True)
        sys.exit(FAILED)
    if as_json:
        _print_json({"ok": True, **entry.as_dict()})
    else:
        output.show_code(output.make_console(), entry)


def _run_demo(*, quiet: bool) -> dict[str, Any]:
    """The demo with its output; returns its report as plain values."""
    from mongokey.cli.demo import LoginStep, RefusalStep, Step, WorkStep, make_users, run
    from mongokey.cli.demo_server import DemoServer

    console = output.make_console(quiet=quiet)
    console.print(f"mongokey {__version__}: starting SecantusDB with authentication on ...")
    started = perf_counter()
    users = make_users()
    steps: list[Step] = []
    with DemoServer(users) as server:
        host, port = server.address
        console.print(
            f"SecantusDB {server.version} listens on {host}:{port}, "
            f"{len(users)} users and a client certificate were created "
            f"({perf_counter() - started:.1f} s)"
        )
        report: dict[str, Any] = {
            "mongokey": __version__,
            "server": {"name": "SecantusDB", "version": server.version, "host": host, "port": port},
        }
        steps.extend(run(server.address, users, server.tls_address, server.certificates))
    logins = [step for step in steps if isinstance(step, LoginStep)]
    work = [step for step in steps if isinstance(step, WorkStep)]
    refusals = [step for step in steps if isinstance(step, RefusalStep)]
    problems = [problem for step in steps for problem in step.problems]

    output.show_logins(console, logins)
    output.show_work(console, work)
    for refusal in refusals:
        output.show_refusal(console, refusal)
    console.print()
    if problems:
        for problem in problems:
            console.print(f"WRONG: {problem}", style="bold red")
        console.print(f"Not all was right: {len(problems)} problems. The server is stopped.")
    else:
        console.print(
            f"All was right: {len(logins)} logins in {len(work)} ways, and a wrong password was "
            "refused. The server is stopped.",
            style="green",
        )
    report["logins"] = [_login_json(step) for step in logins]
    report["documents"] = [_work_json(step) for step in work]
    report["refusals"] = [_refusal_json(step) for step in refusals]
    report["problems"] = problems
    report["ok"] = not problems
    return report


def _login_json(step: LoginStep) -> dict[str, Any]:
    return {
        "way": step.way.title,
        "user": step.way.user,
        "auth_mechanism": step.way.asked,
        "warm": step.warm,
        "mechanism": step.result.mechanism,
        "round_trips": step.result.round_trips,
        "speculative": step.result.speculative,
        "milliseconds": round(step.elapsed_ns / 1e6, 3),
    }


def _work_json(step: WorkStep) -> dict[str, Any]:
    plain = step._asdict()
    del plain["problems"]
    return {**plain, "way": step.way.title}


def _refusal_json(step: RefusalStep) -> dict[str, Any]:
    if step.error is None:
        return {"error": None}
    return {
        "error": type(step.error).__name__,
        "code": step.error.code,
        "message": str(step.error),
    }


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _fail(error: MongoError, as_json: bool) -> NoReturn:
    """Say what went wrong and leave with its exit code."""
    from mongokey.cli.demo_server import ServerMissing

    if as_json:
        failure = {"ok": False, "error": type(error).__name__, "message": str(error)}
        _print_json(failure)
    else:
        click.echo(f"mongokey: {error}", err=True)
    sys.exit(NOT_INSTALLED if isinstance(error, ServerMissing) else FAILED)

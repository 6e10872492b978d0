"""Step `string`: what was given is read and looked over, at no cost of network.

Knows how options become facts and which findings of the lint are worth a warning. Must not show a
secret: of a password only whether there is one, and its length.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from mongokey._support.secrets import keeps_secrets
from mongokey.cli.check.environment import look_at_interpreter
from mongokey.cli.check.report import WARNED, Found, Step
from mongokey.cli.check.state import State, StepFailed
from mongokey.cli.explain import shown_options
from mongokey.cli.mistakes import find_mistakes
from mongokey.client_options import ClientOptions
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import host_in_uri

# What is said of a string only where the login fails: it may be meant so.
_LATER = frozenset({"AUTH-SOURCE-FROM-PATH", "AUTH-NO-CREDENTIAL", "OPTION-ALIAS"})


@keeps_secrets
def check_string(state: State, step: Step) -> None:
    """Read the string and the options, and say what is not meant so."""
    uri, keywords = state.given.reveal()
    _refuse_what_is_no_text(uri, *keywords.values())
    state.lint = tuple(find_mistakes(uri, from_shell=state.from_shell))
    state.warn(*look_at_interpreter())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are among the findings
            options = ClientOptions.build(uri, _resolve=lambda question: ((), None), **keywords)
    except (ConfigurationError, TypeError, ValueError) as error:
        # Raised anew: this one's frames have the string.
        raise StepFailed(_causes(error, state)) from None
    state.options = options
    named = {each.code for each in state.lint}
    found = [each for each in options.findings if each.code not in named]
    worth = [each for each in (*state.lint, *found) if each.code not in _LATER]
    state.warn(*worth)
    if state.report.warnings:
        step.status = WARNED
    _tell(options, step)


def _refuse_what_is_no_text(*given: object) -> None:
    """A shell hands over bytes that are not UTF-8 as lone surrogates, which nothing can send."""
    for each in given:
        if isinstance(each, str) and any("\ud800" <= char <= "\udfff" for char in each):
            cause = Diagnosis(
                "URI-INVALID",
                CERTAIN,
                "the connection string, or an option, has bytes in it that are not UTF-8",
                fix="write it in UTF-8, or percent-escape these bytes as UTF-8 has them",
            )
            raise StepFailed([Found(cause)])


def _causes(error: Exception, state: State) -> list[Found]:
    diagnoses = getattr(error, "diagnoses", ())
    certain = [each for each in state.lint if each.confidence == CERTAIN]
    rest = [each for each in state.lint if each.confidence != CERTAIN]
    if not diagnoses and not certain:
        code = "URI-INVALID" if isinstance(error, InvalidURI) else "OPTION-INVALID"
        diagnoses = (Diagnosis(code, CERTAIN, str(error)),)
    # One of a code: the lint points at the place, the error says it in words.
    found: dict[str, Found] = {}
    for each in (*certain, *diagnoses, *rest):
        found.setdefault(each.code, Found(each))
    return list(found.values())


def _tell(options: ClientOptions, step: Step) -> None:
    string, credential, tls = options.connection_string, options.credential, options.tls
    hosts = [host_in_uri(each) for each in options.hosts]
    facts: dict[str, Any] = {
        "hosts": hosts,
        "srv": None if string is None else string.fqdn,
        "user": None,
        "database": options.database,
        "tls": tls is not None,
        "options": {
            each.name: [each.value, each.origin]
            for each in shown_options(options)
            # The user is told as it may be shown.
            if each.name not in ("username", "password")
        },
        "python": sys.executable,
    }
    where = f"mongodb+srv, {string.fqdn}" if facts["srv"] and string else ", ".join(hosts)
    if credential is None:
        login = "nobody logs in"
    else:
        facts["user"] = credential.shown_user
        facts["password_length"] = None if credential.password is None else len(credential.password)
        facts["mechanism"] = credential.mechanism
        facts["source"] = credential.source
        facts["source_origin"] = credential.source_origin
        user = "no user given" if credential.username is None else f"user {facts['user']!r}"
        given = facts["password_length"]
        password = "no password" if given is None else f"a password of {given} characters"
        login = (
            f"{user}, {password}, {credential.mechanism or 'mechanism negotiated'}, "
            f"authSource {credential.source!r} from {credential.source_origin}"
        )
    step.lines.append(f"{where}; {login}")
    if tls is not None and tls.implied_by:
        facts["tls_implied_by"] = tls.implied_by
        step.lines.append(f"TLS is on, as {tls.implied_by} is given")
    given = [f"{name}={_word(value)} ({origin})" for name, (value, origin) in _plain(facts)]
    if given:
        step.lines.append(f"options: {', '.join(given)}")
    step.facts.update(facts)


def _plain(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(facts["options"].items())


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


__all__ = ["check_string"]

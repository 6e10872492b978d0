"""Which tests run on both faces, and why others do not: the one list of it.

Every module in FOLDERS that speaks of clients does, unless it is named here. It knows names only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
#: Where tests of client behaviour are.
FOLDERS = ("live", "protocol", "conformance", "security")
#: What a module has that speaks of clients: the class, or what makes clients for it.
CLIENTS = re.compile(
    r"""\bMongoClient\b | \b_(aws|fleet|storm)\ import\b | \boidc_deployment\ import\b
    | \b(client|collection|database|watched|used):\ (Any|MongoClient)\b | \bmade:\ Deployment\b
    | \bdriver:\ Driver\b | \bface:\ str\b""",
    re.VERBOSE,
)

#: Of these modules those tests run on both faces that have the marker `both_faces`: all of them
#: would take long, and the others are about what both faces share.
CHOSEN: Mapping[str, str] = {}

#: By "folder/module", or "folder/module::test", why it is about the blocking face alone.
BLOCKING_ONLY: Mapping[str, str] = {
    "live/test_authentication_examples": "runs the text of a page of docs, in processes",
    "live/test_command_events::test_a_listener_may_use_the_client": (
        "a listener is no coroutine function: called in the loop, it cannot wait for it"
    ),
    "live/test_cursor::test_an_index_fetches_that_document_alone": (
        "cursors of asyncio have no index, as PyMongo's"
    ),
    "protocol/test_buffer_memory": "takes connections out of the pool, which both faces share",
    "live/test_demo": "a command line program, whose text is about blocking clients",
    "live/test_oidc_docs": "runs the text of a page of docs, in processes",
    "live/test_deployment_hardships": "slow, and for the most part about processes of their own",
    "live/test_fleet": "about the fleet, by PyMongo's measure and a raw socket",
    "live/test_fleet_faults": "about the fleet, by PyMongo's measure and a raw socket",
    "live/test_oidc_callbacks::test_a_hundred_connections_at_start_call_it_once": (
        "each of a hundred threads needs a connection within a second: a loop on a busy machine"
        " takes longer"
    ),
    "live/test_pool::test_a_program_that_closes_nothing_ends_quietly": (
        "a program of its own, whose text is about a blocking client"
    ),
    "live/test_rotation_under_load": "has a test for each face: threads, and tasks",
    "live/test_sessions::test_a_bound_session_is_that_of_all_calls": (
        "calls into the loop have contexts of their own; test_tasks_have_their_own_bound_session"
    ),
    "live/test_sessions::test_tasks_have_their_own_bound_session": (
        "written for asyncio: each task has a context of its own"
    ),
    "live/test_sessions::test_no_session_of_another_client_is_bound": (
        "calls into the loop have contexts of their own"
    ),
    "live/test_tracing::test_a_processor_that_uses_a_traced_client_is_not_traced": (
        "a span processor is no coroutine function: called in the loop, it cannot wait for it"
    ),
    "live/test_tracing::test_a_span_is_in_its_threads": (
        "calls into the loop have contexts of their own; test_a_span_is_in_its_tasks"
    ),
    "live/test_tracing::test_a_span_is_in_its_tasks": "written for tasks of asyncio",
    "live/test_tracing::test_a_task_that_is_cancelled_ends_its_spans": (
        "written for tasks of asyncio"
    ),
    "live/test_tracing::test_an_exporter_that_uses_a_traced_client_is_not_traced": (
        "an exporter is no coroutine function, as a span processor"
    ),
    "live/test_tracing::test_housekeeping_is_traced_within_a_span": (
        "calls into the loop have contexts of their own"
    ),
    "live/test_tracing::test_nothing_is_loaded_where_it_is_off": "a program of its own",
    "live/test_tracing::test_a_client_that_is_to_trace_needs_opentelemetry": (
        "a program of its own"
    ),
    "live/test_tracing::test_an_environment_that_wants_it_does_not_stop_a_program": (
        "a program of its own"
    ),
    "live/test_transactions": "written twice: for threads, and for tasks",
    "protocol/test_change_stream_faults::test_a_ctrl_c_costs_the_cursor_and_not_the_stream": (
        "tasks are cancelled: protocol/test_async_change_streams"
    ),
    "protocol/test_change_stream_faults::test_parent_and_child_each_get_all_events": (
        "a forked child has no loop that goes on"
    ),
    "protocol/test_change_stream_faults::test_a_child_of_a_look_can_look": (
        "a forked child has no loop that goes on"
    ),
    "protocol/test_cursor_faults::test_what_a_setter_replaces_goes_when_the_new_value_is_there": (
        "a destructor that runs in the loop cannot wait for what the loop has to do"
    ),
    "protocol/test_cursor_faults::test_a_destructor_of_a_document_may_use_its_cursor": (
        "a destructor that runs in the loop cannot wait for what the loop has to do"
    ),
    "protocol/test_fork_during_imports": "programs of their own: threads import while others fork",
    "protocol/test_frozen_clock": "a program of its own, whose text is about a blocking client",
    "protocol/test_gevent": "gevent has greenlets and no event loop of asyncio's",
    "protocol/test_interrupted_operations": (
        "operations that interrupt one of their own thread: in a loop nothing does, a signal's"
        " handler runs between two of its callbacks"
    ),
    "protocol/test_first_checks": "about the blocking face's threads",
    "protocol/test_first_logins::test_a_server_that_refuses_at_once_is_asked_as_seldom": (
        "who tries on purpose is told by their thread; tasks in protocol/test_async_logins"
    ),
    "protocol/test_first_logins::test_a_refused_token_too": (
        "who comes a moment later counts in milliseconds, which a wrapper's threads take longer for"
    ),
    "protocol/test_interrupting_listeners::"
    "test_an_operation_in_the_thread_that_monitors_servers_waits_for_none": (
        "a listener is no coroutine function: called in the loop, it cannot wait for it"
    ),
    "protocol/test_interrupting_listeners::"
    "test_an_operation_of_who_is_told_of_new_servers_has_them_watched": (
        "a listener is no coroutine function: called in the loop, it cannot wait for it"
    ),
    "security/test_secrets_frames": "looks at frames, among which the wrapper's have the arguments",
    "security/test_wiped_buffers": "programs of their own, whose memory is looked through",
}

#: Tests of logins: nothing in them may hold the loop up.
WATCHED = frozenset(
    {
        "live/test_aws",
        "live/test_aws_cache",
        "live/test_aws_errors",
        "live/test_aws_refusals",
        "live/test_kerberos",
        "live/test_kerberos_failures",
        "live/test_ldap",
        "live/test_login",
        "live/test_oidc_callbacks",
        "live/test_oidc_environments",
        "live/test_oidc_human_prose",
        "live/test_oidc_logins",
        "live/test_oidc_machine_prose",
        "live/test_tls",
        "protocol/test_first_logins",
        "protocol/test_login_deadlines",
        "protocol/test_login_faults",
        "protocol/test_login_targets",
        "protocol/test_patient_logins",
        "protocol/test_reauth",
        "protocol/test_scram_deadline",
    }
)


def runs_on_both(path: str, test: str, *, chosen: bool) -> bool:
    """Whether a test of the module ``folder/module`` runs on both faces.

    `chosen` says that it has the marker `both_faces`.
    """
    if not speaks_of_clients(path):
        return False
    if "/test_async" in path:
        return False  # written for asyncio alone
    if path in BLOCKING_ONLY or f"{path}::{test}" in BLOCKING_ONLY:
        return False
    return chosen or path not in CHOSEN


@cache
def speaks_of_clients(path: str) -> bool:
    """Whether a module is one of those that this is about."""
    if path.split("/")[0] not in FOLDERS:
        return False
    return CLIENTS.search((TESTS / f"{path}.py").read_text(encoding="utf-8")) is not None

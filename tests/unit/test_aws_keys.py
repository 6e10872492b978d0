"""AWS keys in a client's store: when they are used again, who fetches them, when they go."""

import copy
import os
import pickle
import threading
from datetime import datetime, timedelta, timezone

import pytest

from mongokey.auth import build_credential
from mongokey.auth.aws.keys import AwsKeys, KeyStore, mask
from mongokey.auth.aws.problems import AwsProblem, clean
from mongokey.auth.aws.times import parse_time
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
KEY, SECRET, TOKEN = "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "tok/en+="
WAIT = 10.0


def keys(minutes=60.0, keep=True, unchanged=None):
    expires = None if minutes is None else NOON + timedelta(minutes=minutes)
    return AwsKeys(KEY, SECRET, TOKEN, "a test", expires=expires, keep=keep, unchanged=unchanged)


class Source:
    """Counts its calls; gives what it was made with, one after the other."""

    def __init__(self, *given):
        self.given = list(given)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.given.pop(0)


def test_kept_keys_are_fetched_once():
    store, source = KeyStore(), Source(one := keys())
    for _ in range(3):
        assert store.obtain(object(), source, NOON) is one
    assert store.current(NOON) is one
    assert source.calls == 1


@pytest.mark.parametrize(
    ("minutes", "again"), [(4.9, True), (5.0, True), (5.1, False), (60, False), (-1, True)]
)
def test_keys_are_good_until_five_minutes_before_they_expire(minutes, again):
    store = KeyStore()
    store.obtain(object(), Source(keys(minutes)), NOON)
    assert (store.current(NOON) is None) == again
    store.obtain(object(), source := Source(keys()), NOON)
    assert source.calls == again


def test_the_time_of_a_later_login_decides():
    store = KeyStore()
    store.obtain(object(), Source(keys(60)), NOON)
    assert store.current(NOON + timedelta(minutes=54)) is not None
    assert store.current(NOON + timedelta(minutes=55)) is None


def test_keys_without_an_end_last():
    store = KeyStore()
    store.obtain(object(), Source(keys(None)), NOON)
    assert store.current(NOON + timedelta(days=1000)) is not None


def test_keys_that_are_not_to_be_kept_are_not():
    store = KeyStore()
    store.obtain(object(), Source(keys(keep=False)), NOON)
    assert store.current(NOON) is None


def test_keys_go_when_their_source_has_changed():
    store, same = KeyStore(), [True]
    store.obtain(object(), Source(keys(unchanged=lambda: same[0])), NOON)
    assert store.current(NOON) is not None
    same[0] = False
    assert store.current(NOON) is None


def test_only_the_keys_that_were_refused_are_dropped():
    store = KeyStore()
    old, new = keys(), keys()
    store.obtain(object(), Source(old), NOON)
    store.drop(old)
    assert store.current(NOON) is None
    store.obtain(object(), Source(new), NOON)
    store.drop(old)
    assert store.current(NOON) is new


class Gate:
    """A source that waits until it is let go."""

    def __init__(self, result):
        self.result = result
        self.calls = 0
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self):
        self.calls += 1
        self.entered.set()
        assert self.leave.wait(WAIT)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def obtain_in_threads(store, gate, count):
    results = []

    def work():
        try:
            results.append(store.obtain(object(), gate, NOON))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def finish(threads):
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()


@pytest.mark.parametrize("keep", [True, False])
def test_threads_share_one_fetch(keep):
    store, gate = KeyStore(), Gate(one := keys(keep=keep))
    threads, results = obtain_in_threads(store, gate, 1)
    assert gate.entered.wait(WAIT)
    more, others = obtain_in_threads(store, gate, 5)
    waiting = [thread for thread in more if not thread.join(0.05) and thread.is_alive()]
    assert len(waiting) == 5
    gate.leave.set()
    finish([*threads, *more])
    assert results + others == [one] * 6
    assert gate.calls == 1


def test_threads_share_one_failure_each_with_an_error_of_its_own():
    cause = KeyError("inner")
    problem = AwsProblem("AWS-KEY-ODD", "text", "advice", settings=True)
    problem.__cause__ = cause
    store, gate = KeyStore(), Gate(problem)
    threads, results = obtain_in_threads(store, gate, 1)
    assert gate.entered.wait(WAIT)
    more, others = obtain_in_threads(store, gate, 3)
    for thread in more:
        thread.join(0.05)
    gate.leave.set()
    finish([*threads, *more])
    errors = results + others
    assert len({id(error) for error in errors}) == 4
    assert {(e.diagnosis, e.settings, e.__cause__) for e in errors} == {
        (Diagnosis("AWS-KEY-ODD", CERTAIN, "text", fix="advice"), True, cause)
    }
    assert gate.calls == 1
    assert store.obtain(object(), Source(one := keys()), NOON) is one


def test_nobody_joins_a_fetch_whose_login_gave_up():
    store, gate = KeyStore(), Gate(keys())
    owner = object()
    thread = threading.Thread(target=store.obtain, args=(owner, gate, NOON))
    thread.start()
    assert gate.entered.wait(WAIT)
    store.abandon(owner)
    assert store.obtain(object(), Source(one := keys()), NOON) is one
    gate.leave.set()
    finish([thread])
    assert store.current(NOON) is one


def test_what_comes_too_late_for_its_login_is_there_for_the_next():
    store, gate = KeyStore(), Gate(late := keys())
    owner = object()
    thread = threading.Thread(target=store.obtain, args=(owner, gate, NOON))
    thread.start()
    assert gate.entered.wait(WAIT)
    store.abandon(owner)
    gate.leave.set()
    finish([thread])
    assert store.current(NOON) is late


def test_when_a_fetching_thread_is_ended_the_next_one_fetches():
    store = KeyStore()
    entered, leave, one = threading.Event(), threading.Event(), keys()

    def end():
        entered.set()
        assert leave.wait(WAIT)
        raise SystemExit

    def leader():
        with pytest.raises(SystemExit):
            store.obtain(object(), end, NOON)

    first = threading.Thread(target=leader)
    first.start()
    assert entered.wait(WAIT)
    threads, results = obtain_in_threads(store, lambda: one, 1)
    threads[0].join(0.1)
    leave.set()
    finish([first, *threads])
    assert results == [one]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_fetch_of_its_parent():
    store, gate = KeyStore(), Gate(keys())
    threads, _ = obtain_in_threads(store, gate, 1)
    assert gate.entered.wait(WAIT)
    child = os.fork()
    if child == 0:
        try:
            one = keys()
            os._exit(0 if store.obtain(object(), lambda: one, NOON) is one else 1)
        except BaseException:
            os._exit(2)
    gate.leave.set()
    finish(threads)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# What is shown


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "AKIA…MPLE"),
        (SECRET, "<not a key id>"),
        ("SHORT", "<not a key id>"),
        ("", "<not a key id>"),
    ],
)
def test_a_key_id_is_masked_and_what_is_none_is_not_shown(key, shown):
    assert mask(key) == shown


def test_keys_show_nothing_and_stay_in_the_process():
    one = keys()
    store = KeyStore()
    store.obtain(object(), lambda: one, NOON)
    for text in (repr(one), str(one), repr(store)):
        assert SECRET not in text
        assert TOKEN not in text
        assert KEY not in text
    for leave in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="secret"):
            leave(one)


@pytest.mark.parametrize(
    "text",
    [
        '{"AccessKeyId": "ASIAIOSFODNN7EXAMPLE", "SecretAccessKey": "%s"}',
        "SecretAccessKey=%s",
        "aws_secret_access_key = %s",
        "the secret key was %s here",
        "Token: '%s'",
    ],
)
def test_texts_of_others_are_shown_without_secrets(text):
    shown = clean(text % SECRET)
    assert SECRET not in shown
    assert "ASIAIOSFODNN7EXAMPLE" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "An error occurred (AccessDenied) when calling the AssumeRole operation",
        "arn:aws:iam::123456789012:role/a-role-with-a-very-long-name-that-says-what-it-is-for",
        "[Errno 2] No such file or directory: '/var/run/secrets/eks.amazonaws.com/serviceaccount'",
    ],
)
def test_texts_without_secrets_stay_as_they_are(text):
    assert clean(text) == text


def test_long_texts_are_cut_and_lines_joined():
    assert clean("a\nb") == "a b"
    assert len(clean("x y " * 1000)) < 400


# Times


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=2))),
        "2026-11-24T12:00:00Z",
        "2026-11-24T12:00:00z",
        "2026-11-24T12:00:00UTC",
        "2026-11-24T12:00:00.1234567Z",
        "2026-11-24T14:00:00+02:00",
        "2026-11-24 12:00:00",
        NOON.timestamp(),
        int(NOON.timestamp()),
    ],
)
def test_times_are_read_in_the_forms_that_are_about(value):
    assert parse_time(value) == NOON


@pytest.mark.parametrize("value", [None, ""])
def test_no_time_is_no_end(value):
    assert parse_time(value) is None


@pytest.mark.parametrize("value", ["soon", "2026-13-01T00:00:00Z", b"x", True, [], 1e30])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError):
        parse_time(value)


# What no key has


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("hush\n", "line break"),
        ("hush\r", "line break"),
        (" hush", "white space"),
        ("hush ", "white space"),
        ("hu\udcffsh", "characters"),
        ("hüsh", "characters"),
        ("hu\0sh", "characters"),
        ("hu\tsh", "characters"),
    ],
)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_part_that_no_key_has_is_refused_before_it_is_sent(value, says, part):
    parts = [KEY, SECRET, TOKEN]
    parts[part] = value
    with pytest.raises(AwsProblem, match=says) as caught:
        AwsKeys(*parts, "a test")
    assert (caught.value.diagnosis.code, caught.value.settings) == ("AWS-KEY-ODD", True)
    assert value not in str(caught.value)
    with pytest.raises(ConfigurationError, match=f"{says}.*AWS-KEY-ODD"):
        build_credential(
            "MONGODB-AWS", parts[0], parts[1], properties={"AWS_SESSION_TOKEN": parts[2]}
        )

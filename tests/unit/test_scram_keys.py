"""What SCRAM computes: SHA, HMAC and PBKDF2 in C, within a deadline, and each key only once."""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import sys
import threading
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mongokey._support.waiting import Cancelled
from mongokey.auth import AuthenticationFailed, build_credential, run_blocking, scram
from mongokey.auth.errors import LoginTimeout
from mongokey.auth.keycache import MAX_ENTRIES, KeyCache
from mongokey.auth.scram import MAX_ITERATIONS
from mongokey.auth.scram_keys import Keys, derive_keys, equal, pbkdf2
from mongokey.auth.scram_keys import hmac as our_hmac
from tests.deadlines import within
from tests.servers.scram_server import ScramServer
from tests.unit.test_scram import NONCE, VECTORS, Server, converse, first, reply, user

DIGESTS = ("sha1", "sha256")
PORTABLE = (False, True)
# More than any machine derives in the time the tests give it: minutes of work.
ENDLESS = 2_000_000_000
# The longest a derivation may go on behind its deadline, on a machine that is busy.
LATE_S = 2.0

lengths = st.integers(0, 200).flatmap(lambda n: st.binary(min_size=n, max_size=n))


@settings(deadline=None)
@given(st.sampled_from(DIGESTS), lengths, lengths, st.integers(1, 300), st.booleans())
def test_derivations_are_those_of_hashlib(digest, password, salt, iterations, portable):
    expected = hashlib.pbkdf2_hmac(digest, password, salt, iterations)
    assert pbkdf2(digest, password, salt, iterations, portable=portable) == expected


@settings(deadline=None)
@given(st.sampled_from(DIGESTS), lengths, lengths, st.booleans())
def test_keyed_hashes_are_those_of_hashlib(digest, key, message, portable):
    assert our_hmac(digest, key, message, portable=portable) == hmac.digest(key, message, digest)


@pytest.mark.parametrize("portable", PORTABLE)
@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("iterations", [2047, 2048, 2049, 15_000, 40_001])
def test_derivations_in_several_parts_are_the_same(digest, iterations, portable):
    expected = hashlib.pbkdf2_hmac(digest, b"pencil", b"salt", iterations)
    later = within(60_000)
    assert pbkdf2(digest, b"pencil", b"salt", iterations, later, portable=portable) == expected


def test_a_long_message_is_hashed_as_hashlib_does():
    message = os.urandom(100_003)
    for digest in DIGESTS:
        assert our_hmac(digest, b"k" * 65, message) == hmac.digest(b"k" * 65, message, digest)


@pytest.mark.parametrize("digest", DIGESTS)
def test_proof_and_signature_are_rfc_5802s(digest):
    keys = derive_keys(digest, b"pencil", b"0" * 16, 4096)
    salted = hashlib.pbkdf2_hmac(digest, b"pencil", b"0" * 16, 4096)
    client_key = hmac.digest(salted, b"Client Key", digest)
    stored_key = hashlib.new(digest, client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", digest)
    import base64

    signature = hmac.digest(stored_key, b"message", digest)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    assert keys.prove(b"message") == base64.b64encode(proof)
    good = base64.b64encode(hmac.digest(server_key, b"message", digest))
    assert keys.verify(b"message", good)
    assert not keys.verify(b"massage", good)
    assert not keys.verify(b"message", good[:-1])
    assert not keys.verify(b"message", good + b"=")
    assert not keys.verify(b"message", b"")
    for at in range(len(good)):
        assert not keys.verify(b"message", good[:at] + b"!" + good[at + 1 :])


def test_wrong_arguments_are_errors():
    for bad in (None, "text", bytearray(b"x")):
        with pytest.raises((TypeError, ValueError)):
            derive_keys("sha256", bad, b"salt", 1)
        with pytest.raises((TypeError, ValueError)):
            derive_keys("sha256", b"x", bad, 1)
        with pytest.raises((TypeError, ValueError)):
            equal(bad, b"x")
        with pytest.raises((TypeError, ValueError)):
            equal(b"x", bad)
    keys = derive_keys("sha1", b"x", b"salt", 1)
    with pytest.raises(TypeError):
        keys.prove(None)
    with pytest.raises(TypeError):
        keys.verify(b"x", None)
    with pytest.raises(TypeError):
        keys.verify(None, b"x")
    with pytest.raises(ValueError, match="md5"):
        derive_keys("md5", b"x", b"salt", 1)
    with pytest.raises(ValueError, match="iteration"):
        derive_keys("sha256", b"x", b"salt", 0)
    with pytest.raises(OverflowError):
        derive_keys("sha256", b"x", b"salt", -1)
    with pytest.raises(TypeError):
        Keys()


class TestDeadline:
    """B12: what a server asks for never costs more than the login's time."""

    @pytest.mark.parametrize("digest", DIGESTS)
    @pytest.mark.parametrize("portable", PORTABLE)
    def test_a_derivation_that_cannot_be_done_in_time_is_given_up_at_once(self, digest, portable):
        pbkdf2(digest, b"x", b"salt", 20_000, portable=portable)
        began = time.thread_time()
        with pytest.raises(TimeoutError, match=r"takes this machine .* s are left"):
            pbkdf2(digest, b"x", b"salt", ENDLESS, within(1000), portable=portable)
        assert time.thread_time() - began < 0.1

    def test_nothing_is_computed_when_the_speed_is_known(self):
        pbkdf2("sha256", b"x", b"salt", 20_000)
        began = time.thread_time()
        for _ in range(100):
            with pytest.raises(TimeoutError):
                pbkdf2("sha256", b"x", b"salt", ENDLESS, within(1000))
        assert time.thread_time() - began < 0.05

    def test_a_deadline_that_has_passed_is_one(self):
        for deadline in (within(0), within(0.001)):
            time.sleep(0.001)
            with pytest.raises(TimeoutError, match=r"timed out after .* of the login"):
                pbkdf2("sha256", b"x", b"salt", 4096, deadline)

    @pytest.mark.skipif(sys.platform == "win32", reason="no setitimer")
    def test_signal_handlers_run_during_a_derivation(self):
        class Enough(Exception):
            pass

        def handler(number, frame):
            raise Enough

        before = signal.signal(signal.SIGALRM, handler)
        began = time.monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Enough):
                pbkdf2("sha256", b"x", b"salt", ENDLESS)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert time.monotonic() - began < 0.1 + LATE_S

    @pytest.mark.parametrize("mechanism", VECTORS)
    def test_a_login_ends_within_its_time_and_says_why(self, mechanism):
        credential = user(mechanism)
        nonce = VECTORS[mechanism][0]
        conversation = converse(credential, mechanism, _nonce=nonce)
        conversation.start()
        work = conversation.step(reply(first(nonce + b"x", iterations=b"%d" % MAX_ITERATIONS)))
        began = time.monotonic()
        work.run(within(20, "connectTimeoutMS"))
        assert time.monotonic() - began < 0.02 + LATE_S
        with pytest.raises(LoginTimeout, match=r"10000000 .*connectTimeoutMS=20") as caught:
            conversation.resume(work)
        assert caught.value.timeout
        assert isinstance(caught.value, AuthenticationFailed)
        assert "pencil" not in str(caught.value)
        cache = conversation.state.keys
        assert not cache._entries
        assert not cache._flights._flights

    def test_no_time_left_is_no_unlimited_time(self):
        conversation = converse(user(), _nonce=NONCE)
        conversation.start()
        work = conversation.step(reply(first()))
        work.run(within(0))
        with pytest.raises(LoginTimeout):
            conversation.resume(work)

    def test_without_a_deadline_all_that_the_ceiling_allows_is_computed(self):
        conversation = converse(user(), _nonce=NONCE)
        conversation.start()
        work = conversation.step(reply(first(iterations=b"100000")))
        work.run()
        assert conversation.resume(work)["payload"].startswith(b"c=biws,")

    def test_a_derivation_ends_soon_after_it_is_cancelled(self):
        closed = threading.Event()
        thread = Thread(derive_keys, "sha256", b"x", b"salt", ENDLESS, None, closed.is_set)
        time.sleep(0.05)
        assert thread.is_alive()
        closed.set()
        assert isinstance(thread.end().error, Cancelled)

    def test_a_long_derivation_lets_other_threads_run(self):
        done = threading.Event()

        def derive():
            pbkdf2("sha256", b"pencil", b"0" * 16, 1_000_000)
            done.set()

        thread = threading.Thread(target=derive)
        thread.start()
        turns = 0
        while not done.wait(0.001):
            turns += 1
        thread.join(60)
        assert turns > 10


class TestKeys:
    """Keys are derived once per credential, salt and count."""

    @pytest.fixture
    def derivations(self, monkeypatch):
        calls = []
        genuine = scram.derive_keys

        def counted(digest, password, salt, iterations, deadline, cancelled):
            calls.append((digest, salt, iterations))
            return genuine(digest, password, salt, iterations, deadline, cancelled)

        monkeypatch.setattr(scram, "derive_keys", counted)
        return calls

    def test_a_second_login_derives_nothing(self, derivations):
        credential, server = user(), ScramServer("SCRAM-SHA-256", "user", "pencil")
        for _ in range(3):
            run_blocking(converse(credential), Server(server).send)
        assert len(derivations) == 1

    def test_another_salt_count_or_mechanism_derives_again(self, derivations):
        credential = build_credential(None, "user", "pencil")
        for mechanism, iterations, salt in (
            ("SCRAM-SHA-256", 4096, b"0" * 16),
            ("SCRAM-SHA-256", 4097, b"0" * 16),
            ("SCRAM-SHA-256", 4096, b"1" * 16),
            ("SCRAM-SHA-1", 4096, b"0" * 16),
        ):
            server = ScramServer(mechanism, "user", "pencil", iterations, salt)
            run_blocking(converse(credential, mechanism), Server(server).send)
        assert len(derivations) == 4

    def test_a_hundred_logins_at_once_derive_once(self, derivations):
        credential = user()
        stored = ScramServer("SCRAM-SHA-256", "user", "pencil", 15000)
        errors, gate = [], threading.Barrier(100)

        def log_in():
            server = ScramServer("SCRAM-SHA-256", "user", "pencil", 15000, stored.salt)
            gate.wait(60)
            try:
                run_blocking(converse(credential), Server(server).send)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=log_in) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not errors
        assert derivations == [("sha256", stored.salt, 15000)]

    def test_when_the_computing_thread_fails_the_next_one_tries(self, monkeypatch):
        genuine, calls = scram.derive_keys, []

        def fails_once(*arguments):
            calls.append(arguments)
            if len(calls) == 1:
                raise MemoryError("no memory for the derivation")
            return genuine(*arguments)

        monkeypatch.setattr(scram, "derive_keys", fails_once)
        credential, server = user(), ScramServer("SCRAM-SHA-256", "user", "pencil")
        with pytest.raises(MemoryError):
            run_blocking(converse(credential), Server(server).send)
        run_blocking(converse(credential), Server(server).send)
        assert len(calls) == 2

    def test_salts_without_end_do_not_fill_the_memory(self):
        credential = user()
        for number in range(MAX_ENTRIES + 5):
            salt = number.to_bytes(16, "big")
            server = ScramServer("SCRAM-SHA-256", "user", "pencil", 4096, salt)
            run_blocking(converse(credential), Server(server).send)
        cache = converse(credential).state.keys
        assert len(cache._entries) == MAX_ENTRIES
        assert not cache._flights._flights


class Thread(threading.Thread):
    """A thread that keeps what its function returned or raised."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.function, self.arguments = function, arguments
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.arguments)
        except BaseException as error:
            self.error = error

    def end(self):
        self.join(60)
        assert not self.is_alive()
        return self


class Slow:
    """A computation that says when it began and ends when it is told to."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self):
        self.began.set()
        assert self.go_on.wait(60)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def wait_until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def waiting(cache, key="key"):
    """How many threads wait for the key."""
    return cache._flights.waiting(key)


class TestWaiters:
    """Who waits for another's derivation does so by its own deadline, first come first."""

    def test_a_waiter_gives_up_at_its_own_deadline(self):
        cache, slow = KeyCache(), Slow("value")
        owner = Thread(cache.derive, "key", slow)
        assert slow.began.wait(60)
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"another connection.*\(timeoutMS=50\)"):
            cache.derive("key", pytest.fail, within(50, "timeoutMS"))
        assert 0.04 < time.monotonic() - began < LATE_S
        with pytest.raises(TimeoutError):
            cache.derive("key", pytest.fail, within(0))
        assert waiting(cache) == 0
        slow.go_on.set()
        assert owner.end().value == "value"
        assert cache.get("key") == "value"
        assert not cache._flights._flights

    def test_a_waiter_is_woken_by_the_end_of_the_client(self):
        cache, slow, closed = KeyCache(), Slow("value"), threading.Event()
        owner = Thread(cache.derive, "key", slow)
        assert slow.began.wait(60)
        waiter = Thread(cache.derive, "key", pytest.fail, None, closed.is_set)
        wait_until(lambda: waiting(cache) == 1)
        closed.set()
        assert isinstance(waiter.end().error, Cancelled)
        assert waiting(cache) == 0
        slow.go_on.set()
        assert owner.end().value == "value"

    def test_waiters_inherit_in_the_order_in_which_they_came(self):
        cache, first = KeyCache(), Slow(ValueError("first"))
        owner = Thread(cache.derive, "key", first)
        assert first.began.wait(60)
        order, threads = [], []

        def fails(number):
            def compute():
                order.append(number)
                if number < 3:
                    raise ValueError(str(number))
                return "value"

            return compute

        for number in range(6):
            threads.append(Thread(cache.derive, "key", fails(number)))
            wait_until(lambda: waiting(cache) == len(threads))
        first.go_on.set()
        assert str(owner.end().error) == "first"
        assert [str(t.end().error) for t in threads[:3]] == ["0", "1", "2"]
        assert [t.end().value for t in threads[3:]] == ["value"] * 3
        assert order == [0, 1, 2, 3]
        assert not cache._flights._flights

    def test_one_who_gave_up_is_passed_over(self):
        cache, first = KeyCache(), Slow(ValueError("first"))
        owner = Thread(cache.derive, "key", first)
        assert first.began.wait(60)
        hasty = Thread(cache.derive, "key", pytest.fail, within(20))
        wait_until(lambda: waiting(cache) == 1)
        steady = Thread(cache.derive, "key", lambda: "value")
        assert isinstance(hasty.end().error, TimeoutError)
        wait_until(lambda: waiting(cache) == 1)
        first.go_on.set()
        owner.end()
        assert steady.end().value == "value"

    def test_a_failure_that_nobody_waits_for_leaves_nothing(self):
        cache = KeyCache()
        for error in (ValueError, KeyboardInterrupt, SystemExit, TimeoutError):

            def compute(error=error):
                raise error

            with pytest.raises(error):
                cache.derive("key", compute)
            assert not cache._flights._flights
            assert not cache._entries

    def test_many_threads_with_random_deadlines_and_failures_all_end(self):
        import random

        cache = KeyCache()
        rng = random.Random(7)
        plan = [(rng.random() * 0.02, rng.random() < 0.9) for _ in range(200)]

        def one(within_s, fails):
            def compute():
                time.sleep(0.001)
                if fails:
                    raise ValueError
                return "value"

            try:
                return cache.derive("key", compute, within(within_s * 1e3))
            except (ValueError, TimeoutError):
                return None

        threads = [Thread(one, *arguments) for arguments in plan]
        for thread in threads:
            assert thread.end().error is None
        assert not cache._flights._flights
        assert cache.derive("key", lambda: "value") == "value"

    @pytest.mark.skipif(sys.platform == "win32", reason="no setitimer")
    def test_a_signal_handler_that_needs_the_key_does_not_wait_for_its_own_thread(self):
        cache, seen = KeyCache(), []

        def handler(number, frame):
            seen.append(cache.derive("key", lambda: "handler's", within(10_000)))

        def compute():
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            end = time.monotonic() + 60
            while not seen and time.monotonic() < end:
                time.sleep(0.01)
            return "value"

        before = signal.signal(signal.SIGALRM, handler)
        try:
            began = time.monotonic()
            assert cache.derive("key", compute) == "value"
            assert time.monotonic() - began < 5
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert seen == ["handler's"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_child_forked_during_a_derivation_derives_by_itself(self):
        cache, slow = KeyCache(), Slow("parent")
        owner = Thread(cache.derive, "key", slow)
        assert slow.began.wait(60)
        with warnings.catch_warnings():
            # Python 3.12 warns of what this test is about.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            import faulthandler

            faulthandler.dump_traceback_later(30, exit=True)
            os._exit(0 if cache.derive("key", lambda: "child") == "child" else 1)
        slow.go_on.set()
        owner.end()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert cache.get("key") == "parent"

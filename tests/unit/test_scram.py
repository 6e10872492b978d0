"""SCRAM conversations: the RFCs' and auth.md's vectors, and servers that break the rules."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mongokey.auth import (
    AuthenticationFailed,
    OffloadedCall,
    ServerProofError,
    build_credential,
    open_conversation,
    run_blocking,
)
from mongokey.auth.registry import find_mechanism
from mongokey.auth.scram import MAX_ITERATIONS, MIN_ITERATIONS, DeriveKeys
from mongokey.errors import OperationFailure
from tests.servers.scram_server import ScramError, ScramServer

ADDRESS = ("db.example.com", 27017)
NONCE = b"rOprNGfwEbeRWgbNEkqO"
SALT64 = b"W22ZaJ0SNY7soEsUEjb6gQ=="

# auth.md, "SCRAM-SHA-1" and "SCRAM-SHA-256"; the latter is RFC 7677 section 3.
VECTORS = {
    "SCRAM-SHA-1": (
        b"fyko+d2lbbFgONRv9qkxdawL",
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawLHo+Vgk7qvUOKUwuWLIWg4l/9SraGMHEE,"
        b"s=rQ9ZY3MntBeuP3E1TDVC4w==,i=10000",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawLHo+Vgk7qvUOKUwuWLIWg4l/9SraGMHEE,"
        b"p=MC2T8BvbmWRckDw8oWl5IVghwCY=",
        b"v=UMWeI25JD1yNYZRMpZ4VHvhZ9e0=",
    ),
    "SCRAM-SHA-256": (
        NONCE,
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


def reply(payload, done=False, **fields):
    return {"conversationId": 1, "done": done, "payload": payload, "ok": 1.0, **fields}


def converse(credential, mechanism="SCRAM-SHA-256", **options):
    return find_mechanism(mechanism).conversation(credential, ADDRESS, **options)


def user(mechanism="SCRAM-SHA-256", name="user", password="pencil"):
    return build_credential(mechanism, name, password)


def until_command(conversation, step):
    while isinstance(step, OffloadedCall):
        step.run()
        step = conversation.resume(step)
    return step


class Server:
    """A SCRAM server behind saslStart and saslContinue; `twist` may change each reply."""

    def __init__(self, scram, skip_empty=True, twist=None):
        self.scram, self.skip_empty = scram, skip_empty
        self.twist = twist or (lambda number, answer: answer)
        self.commands = []

    def send(self, database, command):
        self.commands.append((database, command))
        number = len(self.commands)
        if number == 1:
            answer = reply(self.scram.start(command["payload"]))
        elif number == 2:
            answer = reply(self.scram.finish(command["payload"]), done=self.skip_empty)
        else:
            answer = reply(b"", done=True)
        return self.twist(number, answer)


@pytest.mark.parametrize("mechanism", VECTORS)
def test_the_specifications_vectors(mechanism):
    nonce, client_first, server_first, client_final, server_final = VECTORS[mechanism]
    conversation = converse(user(mechanism), mechanism, _nonce=nonce)
    assert conversation.start() == {
        "saslStart": 1,
        "mechanism": mechanism,
        "payload": client_first,
        "autoAuthorize": 1,
        "options": {"skipEmptyExchange": True},
    }
    command = until_command(conversation, conversation.step(reply(server_first)))
    assert command == {"saslContinue": 1, "conversationId": 1, "payload": client_final}
    assert conversation.step(reply(server_final, done=True)) is None


@pytest.mark.parametrize("mechanism", VECTORS)
@pytest.mark.parametrize("skip_empty", [True, False])
def test_a_login_is_two_exchanges_and_three_with_an_older_server(mechanism, skip_empty):
    server = Server(ScramServer(mechanism, "user", "pencil"), skip_empty)
    run_blocking(converse(user(mechanism), mechanism), server.send)
    assert len(server.commands) == (2 if skip_empty else 3)
    assert {database for database, _ in server.commands} == {"admin"}
    if not skip_empty:
        assert server.commands[2][1] == {"saslContinue": 1, "conversationId": 1, "payload": b""}


@pytest.mark.parametrize("mechanism", VECTORS)
@pytest.mark.parametrize("name", ["a=b,c", "=2C", ",,==", "\u2168", "\u00e9t\u00e9"])
def test_names_are_escaped_and_otherwise_sent_as_they_are(mechanism, name):
    credential = user(mechanism, name)
    first = converse(credential, mechanism).start()["payload"]
    assert first.count(b",") == 3
    assert name.replace("=", "=3D").replace(",", "=2C").encode() in first
    server = Server(ScramServer(mechanism, name, "pencil"))
    run_blocking(converse(credential, mechanism), server.send)


@pytest.mark.parametrize(
    ("name", "password", "stored"),
    [
        ("IX", "IX", "IX"),
        ("IX", "I\u00adX", "IX"),
        ("\u2168", "IV", "IV"),
        ("\u2168", "I\u00adV", "IV"),
        ("\u2168", "\u2163", "IV"),
    ],
)
def test_sha_256_prepares_passwords_as_auth_md_step_4_asks(name, password, stored):
    server = Server(ScramServer("SCRAM-SHA-256", name, stored))
    run_blocking(converse(user("SCRAM-SHA-256", name, password)), server.send)


def test_sha_1_does_not_prepare_passwords():
    server = Server(ScramServer("SCRAM-SHA-1", "IX", "I\u00adX"))
    run_blocking(converse(user("SCRAM-SHA-1", "IX", "I\u00adX"), "SCRAM-SHA-1"), server.send)
    server = Server(ScramServer("SCRAM-SHA-1", "IX", "IX"))
    with pytest.raises(ScramError, match="invalid-proof"):
        run_blocking(converse(user("SCRAM-SHA-1", "IX", "I\u00adX"), "SCRAM-SHA-1"), server.send)


def test_nonces_are_random_long_and_printable():
    credential = user()
    nonces = {converse(credential).start()["payload"].rpartition(b"r=")[2] for _ in range(200)}
    assert len(nonces) == 200
    assert all(len(base64.b64decode(nonce, validate=True)) >= 24 for nonce in nonces)


def test_starting_afresh_after_speculation_uses_a_new_nonce():
    conversation = converse(user())
    speculative = conversation.speculative()
    assert speculative["db"] == "admin"
    afresh = conversation.start()
    assert "db" not in afresh
    assert afresh["payload"] != speculative["payload"]


def test_a_speculative_reply_saves_the_first_exchange():
    scram = ScramServer("SCRAM-SHA-256", "user", "pencil")
    conversation = converse(user())
    speculative = conversation.speculative()
    answer = {"conversationId": 1, "done": False, "payload": scram.start(speculative["payload"])}
    command = until_command(conversation, conversation.start(answer))
    assert conversation.step(reply(scram.finish(command["payload"]), done=True)) is None


def first(nonce=NONCE + b"server", salt=SALT64, iterations=b"4096", tail=b""):
    return b"r=" + nonce + b",s=" + salt + b",i=" + iterations + tail


def test_extensions_after_the_iteration_count_are_ignored():
    conversation = converse(user(), _nonce=NONCE)
    conversation.start()
    step = conversation.step(reply(first(tail=b",x=anything=1,y=2")))
    assert until_command(conversation, step)["payload"].startswith(b"c=biws,r=" + NONCE)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (first(nonce=NONCE), "nonce does not continue"),
        (first(nonce=b"other" + NONCE), "nonce does not continue"),
        (first(nonce=NONCE[:-1] + b"0server"), "nonce does not continue"),
        (first(nonce=NONCE[:-1]), "nonce does not continue"),
        (first(nonce=NONCE + b"\x7f"), "cannot be understood"),
        (first(nonce=NONCE + b" "), "cannot be understood"),
        (first(iterations=b"4095"), "4095 iterations"),
        (first(iterations=b"1"), "1 iterations"),
        (first(iterations=b"10000001"), "10000001 iterations"),
        (first(iterations=b"9" * 19), "9 iterations"),
        (first(iterations=b"9" * 20), "cannot be understood"),
        (first(iterations=b"0"), "cannot be understood"),
        (first(iterations=b"-4096"), "cannot be understood"),
        (first(iterations=b"04096"), "cannot be understood"),
        (first(iterations=b"4096.0"), "cannot be understood"),
        (first(iterations=b"+4096"), "cannot be understood"),
        (first(iterations=b""), "cannot be understood"),
        (first(iterations="\u0664\u0660\u0669\u0666".encode()), "cannot be understood"),
        (first(salt=b""), "cannot be understood"),
        (first(salt=b"!!!!"), "cannot be understood"),
        (first(salt=b"W22ZaJ0SNY7soEsUEjb6g==="), "cannot be understood"),
        (first(salt=b"W22ZaJ0SNY7soEsUEjb6gQ="), "not valid base64"),
        (first(salt=b"W22ZaJ0SNY7soEsUEjb6gR=="), "not valid base64"),
        (first(salt=b"W22ZaJ0SNY7soEsUEjb6g"), "not valid base64"),
        (first(salt=b"AAAA"), "salt has 3 bytes"),
        (first(salt=base64.b64encode(b"x" * 1025)), "salt has 1025 bytes"),
        (first(tail=b","), "cannot be understood"),
        (first(tail=b",x"), "cannot be understood"),
        (first(tail=b",x="), "cannot be understood"),
        (first(tail=b"\n"), "cannot be understood"),
        (first(tail=b",x=" + b"a" * 5000), "more than 4096"),
        (b"m=ext," + first(), "extension"),
        (b"", "it is empty"),
        (b"\xff" * 30, "cannot be understood"),
        (b"s=" + SALT64 + b",r=" + NONCE + b"x,i=4096", "cannot be understood"),
        (b"r=" + NONCE + b"x", "cannot be understood"),
    ],
)
def test_a_wrong_server_first_message_is_refused(payload, message):
    conversation = converse(user(), _nonce=NONCE)
    conversation.start()
    with pytest.raises(ServerProofError, match=message):
        until_command(conversation, conversation.step(reply(payload)))


def test_the_iteration_bounds_themselves_are_accepted():
    for count in (MIN_ITERATIONS, MAX_ITERATIONS):
        conversation = converse(user(), _nonce=NONCE)
        conversation.start()
        assert isinstance(conversation.step(reply(first(iterations=b"%d" % count))), DeriveKeys)


def test_the_iteration_ceiling_can_be_lowered():
    conversation = converse(user(), _nonce=NONCE, max_iterations=20_000)
    conversation.start()
    with pytest.raises(ServerProofError, match="more than the 20000"):
        conversation.step(reply(first(iterations=b"20001")))


def final(payload, done=True):
    """The conversation's end, reached with a genuine server, whose last message is changed."""
    server = Server(
        ScramServer("SCRAM-SHA-256", "user", "pencil"),
        twist=lambda number, answer: answer if number != 2 else payload(answer),
    )
    run_blocking(converse(user()), server.send)


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"v=" + base64.b64encode(b"\0" * 32), "could not prove that it knows the password"),
        (b"v=AAAA", "could not prove"),
        (b"v=", "neither its signature nor an error"),
        (b"", "neither its signature nor an error"),
        (b"x=1", "neither"),
        (b"\0", "neither"),
    ],
)
def test_without_the_right_signature_there_is_no_login(payload, message, done):
    with pytest.raises(ServerProofError, match=message):
        final(lambda answer: reply(payload, done=done))


def test_a_signature_with_something_glued_on_is_refused():
    with pytest.raises(ServerProofError):
        final(lambda answer: reply(answer["payload"] + b"x", done=True))
    final(lambda answer: reply(answer["payload"] + b",x=extension", done=True))


def test_a_server_error_is_reported_in_its_words():
    with pytest.raises(AuthenticationFailed, match="'invalid-proof'"):
        final(lambda answer: reply(b"e=invalid-proof", done=True))
    conversation = converse(user(), _nonce=NONCE)
    conversation.start()
    with pytest.raises(AuthenticationFailed, match=r"'unknown-user\\n'"):
        conversation.step(reply(b"e=unknown-user\n"))


def test_an_error_reply_is_an_operation_failure_with_its_code():
    conversation = converse(user())
    conversation.start()
    with pytest.raises(OperationFailure, match=r"Authentication failed\.") as caught:
        conversation.step({"ok": 0.0, "errmsg": "Authentication failed.", "code": 18})
    assert caught.value.code == 18


def test_done_before_the_proof_is_refused():
    conversation = converse(user(), _nonce=NONCE)
    conversation.start()
    with pytest.raises(ServerProofError, match="before it proved"):
        conversation.step(reply(first(), done=True))


def test_a_server_that_never_ends_is_left():
    server = Server(
        ScramServer("SCRAM-SHA-256", "user", "pencil"),
        skip_empty=False,
        twist=lambda number, answer: {**answer, "done": False},
    )
    with pytest.raises(ServerProofError, match="does not end"):
        run_blocking(converse(user()), server.send)
    assert len(server.commands) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"payload": None}, "it is empty|nor an error"),
        ({"payload": "text"}, "payload is str"),
        ({"payload": b"x" * (1 << 21)}, "2097152 bytes"),
        ({"done": None}, "done is missing"),
        ({"done": "yes"}, "done is str"),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_fields_of_the_wrong_type_are_named(fields, message, number):
    server = Server(
        ScramServer("SCRAM-SHA-256", "user", "pencil"),
        twist=lambda n, answer: {**answer, **fields} if n == number else answer,
    )
    with pytest.raises(ServerProofError, match=message):
        run_blocking(converse(user()), server.send)


@pytest.mark.parametrize("number", [(1 << 63) - 1, "1", True, 2.5, b"x", {"a": 1}, float("inf")])
def test_a_conversation_s_id_comes_back_as_it_was(number):
    server = Server(
        ScramServer("SCRAM-SHA-256", "user", "pencil"),
        twist=lambda n, answer: {**answer, "conversationId": number},
    )
    run_blocking(converse(user()), server.send)
    assert server.commands[1][1]["conversationId"] == number
    assert type(server.commands[1][1]["conversationId"]) is type(number)


def test_an_id_is_needed_only_to_go_on():
    def nameless(n, answer):
        return {**answer, "conversationId": None} if n == number else answer

    number = 1
    scram = ScramServer("SCRAM-SHA-256", "user", "pencil")
    with pytest.raises(ServerProofError, match="conversationId is missing"):
        run_blocking(converse(user()), Server(scram, twist=nameless).send)
    number = 2
    scram = ScramServer("SCRAM-SHA-256", "user", "pencil")
    run_blocking(converse(user()), Server(scram, twist=nameless).send)


@pytest.mark.parametrize("kind", [int, float])
def test_done_may_be_a_number(kind):
    server = Server(
        ScramServer("SCRAM-SHA-256", "user", "pencil"),
        twist=lambda n, answer: {**answer, "done": kind(answer["done"])},
    )
    run_blocking(converse(user()), server.send)


def test_a_finished_conversation_takes_no_more_replies():
    server = Server(ScramServer("SCRAM-SHA-256", "user", "pencil"))
    conversation = converse(user())
    run_blocking(conversation, server.send)
    with pytest.raises(RuntimeError, match="sent nothing"):
        conversation.step(reply(b"v=AAAA", done=True))
    with pytest.raises(RuntimeError, match="sent nothing"):
        converse(user()).step(reply(first()))


def test_work_of_another_conversation_is_refused():
    one, two = converse(user(), _nonce=NONCE), converse(user(), _nonce=NONCE)
    one.start()
    work = one.step(reply(first()))
    with pytest.raises(RuntimeError, match="not run"):
        one.resume(work)
    work.run()
    two.start()
    with pytest.raises(RuntimeError, match="not this conversation's"):
        two.resume(work)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.none()),
)


@settings(deadline=None)
@given(
    st.sampled_from([1, 2, 3]),
    st.dictionaries(st.sampled_from(["payload", "done", "conversationId", "ok"]), anything),
)
def test_no_reply_whatever_breaks_the_conversation_otherwise_than_cleanly(number, fields):
    server = Server(
        ScramServer("SCRAM-SHA-256", "user", "pencil", salt=b"0123456789abcdef"),
        skip_empty=False,
        twist=lambda n, answer: {**answer, **fields} if n == number else answer,
    )
    said = ""
    try:
        run_blocking(converse(user()), server.send)
    except OperationFailure as error:
        said = str(error)
    assert "pencil" not in said


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_no_payload_whatever_is_taken_for_a_proof(payload, in_the_end):
    server = Server(
        ScramServer("SCRAM-SHA-256", "user", "pencil", salt=b"0123456789abcdef"),
        twist=lambda n, answer: {**answer, "payload": payload} if n == 1 + in_the_end else answer,
    )
    with pytest.raises(OperationFailure):
        run_blocking(converse(user()), server.send)


def test_conversations_of_one_credential_do_not_share_nonces_or_state():
    credential = user()
    scrams = [ScramServer("SCRAM-SHA-256", "user", "pencil", salt=b"0" * 16) for _ in range(2)]
    conversations = [open_conversation(credential, "SCRAM-SHA-256", ADDRESS) for _ in range(2)]
    firsts = [c.start()["payload"] for c in conversations]
    assert firsts[0] != firsts[1]
    finals = [
        until_command(c, c.step(reply(s.start(f))))
        for c, s, f in zip(conversations, scrams, firsts, strict=True)
    ]
    for conversation, scram, command in zip(conversations, scrams, finals, strict=True):
        assert conversation.step(reply(scram.finish(command["payload"]), done=True)) is None

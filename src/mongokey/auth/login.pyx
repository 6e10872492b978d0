# cython: language_level=3
"""A login from hello to its end, as a generator that both faces drive.

Yields commands to send and work to do off the wire; knows negotiation, speculation and what is
remembered between logins (auth.md, "Authentication Handshake"). Must not know sockets, clocks,
or any mechanism by name.
"""

from mongokey.handshake.reply cimport HelloReply

from mongokey._support.address import format_address
from mongokey._support.portable import Portable
from mongokey._support.server_codes import STATE_CHANGE_CODES
from mongokey._support.server_errors import raise_command_error
from mongokey._support.shared_errors import own_copy
from mongokey.auth.diagnosis import explain, explain_hello
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout
from mongokey.auth.login_context import LoginContext
from mongokey.auth.mechanism import FIRST_STEP, WHOLE_LOGIN
from mongokey.auth.registry import PREFERRED, find_mechanism, loaded, negotiate
from mongokey.auth.refusals import from_memory, refuses_secret
from mongokey.auth.turns import Refusal, WaitForLogin
from mongokey.errors import ConfigurationError, NotPrimaryError, OperationFailure
from mongokey.handshake.hello import api_fields, hello_command


cdef dict mechanisms = loaded


cdef class Command:
    """A command to send as OP_MSG; answer the generator with the decoded reply, errors too."""

    def __init__(self, str database not None, dict document not None):
        self.database = database
        self.document = document


cdef Command command_of(str database, dict document):
    cdef Command made = Command.__new__(Command)
    made.database = database
    made.document = document
    return made


cdef class LoginResult:
    """What a login came to.

    `mechanism` is None when nobody logged in (no credential, or an arbiter); `round_trips`
    counts the messages sent, hello included; `speculative` says whether the answer to the
    speculative first step was used. `saved_state` is what the conversation left for a later login
    on the same connection (`Conversation.saved_state`).
    """

    def __init__(self, hello, mechanism, int round_trips, bint speculative, saved_state=None):
        self.hello = hello
        self.mechanism = mechanism
        self.round_trips = round_trips
        self.speculative = speculative
        self.saved_state = saved_state


cdef class Greeting:
    """A server's answer to hello, and what `authenticate` needs to go on from there.

    `hello` is None only where one logs in again without saying it.
    """

    def __init__(
        self, HelloReply hello, credential, address, server_api, subject, conversation, reply
    ):
        self.hello = hello
        self.credential = credential
        self.address = address
        self.server_api = server_api
        self.subject = subject
        self.conversation = conversation
        self.reply = reply


def login(
    credential,
    metadata,
    address,
    *,
    server_api=None,
    bint load_balanced=False,
    bint hello_ok=False,
    compressors=(),
    subject=None,
):
    """Say hello on a new connection and log in: `greet`, then `authenticate`.

    For each `Command` that comes out, send it and `send()` the reply in; for each `OffloadedCall`,
    run it (a blocking driver here, an asyncio driver in a thread) and `send(None)`. The generator
    returns a `LoginResult`; who gives up before that closes it (`close()`). `subject` is the one of
    the connection's client certificate (RFC 2253 order), "" when there is none, None when that is
    not known.

    Raises AuthenticationFailed (an OperationFailure), with user, source and next step in its
    message, when the server refuses; ServerProofError when it does not prove itself;
    ConfigurationError when the server's version does not fit; ProtocolError when its hello
    makes no sense. After an error the connection must be closed.
    """
    greeting = yield from greet(
        credential,
        metadata,
        address,
        server_api=server_api,
        load_balanced=load_balanced,
        hello_ok=hello_ok,
        compressors=compressors,
        subject=subject,
    )
    result = yield from authenticate(greeting)
    return result


def greet(
    credential,
    metadata,
    address,
    *,
    server_api=None,
    bint load_balanced=False,
    bint hello_ok=False,
    compressors=(),
    subject=None,
    bint to_be_used=True,
):
    """Say hello on a new connection; the login is `authenticate`'s, once the server is found to be
    one that is to be used.

    `to_be_used` says that this is known already: only then a login may go along with hello whose
    speculative step is all of it. The generator returns a `Greeting`; what it yields and raises is
    as in `login`, but the server's version is not looked at.
    """
    cdef HelloReply hello
    cdef bint began
    conversation = speculated = question = None
    if credential is not None:
        mechanism = credential.mechanism
        if mechanism is None:
            # A hundred connections of one user: what the first one ended with comes first.
            mechanism = credential.state.shared.mechanism or PREFERRED
            question = f"{credential.source}.{credential.username}"
        rules = rules_of(mechanism)
        speculates = rules.speculates
        if speculates == FIRST_STEP or (
            # Nor while another login of a user who never logged in is under way, or the last one's
            # refusal is the answer: one is enough.
            speculates == WHOLE_LOGIN and to_be_used and _may_log_in(credential.state)
        ):
            conversation = _open(rules, credential, address, subject)
            speculated = conversation.speculative()
    answer = yield command_of(
        "admin",
        hello_command(
            metadata.raw if metadata is not None else None,
            server_api=server_api,
            load_balanced=load_balanced,
            hello_ok=hello_ok,
            compressors=compressors,
            sasl_supported_mechs=question,
            speculative=speculated,
        ),
    )
    assert answer is not None, "a Command is answered with its reply"
    began, speculated = speculated is not None, None  # it may hold a secret
    if not answer.get("ok"):
        _refuse_hello(answer, credential, address)
    hello = HelloReply(answer)
    if load_balanced and hello.service_id is None:
        raise ConfigurationError(
            "Driver attempted to initialize in load balancing mode, but the server does not "
            f"support this mode: {format_address(address)} is no load balancer, or what is behind "
            "it was not told that there is one; remove loadBalanced=true"
        )
    reply = hello.speculative_authenticate if began else None
    # Imitations of MongoDB send an empty answer, or only that it is ok, or an error.
    if reply is not None and (not reply or not reply.get("ok", True) or tuple(reply) == ("ok",)):
        reply = None
    return Greeting(hello, credential, address, server_api, subject, conversation, reply)


def authenticate(Greeting greeting not None):
    """Log in on a connection whose server has said hello (`greet`). Yields, returns and raises what
    `login` does."""
    cdef HelloReply hello = greeting.hello
    cdef int commands
    cdef bint speculative
    credential, address = greeting.credential, greeting.address
    assert hello is not None, "a server that was asked has answered"
    if not hello.is_compatible:
        hello.check_compatible(format_address(address))
    if credential is None or hello.is_arbiter:
        return LoginResult(hello, None, 1, False)

    conversation, reply = greeting.conversation, greeting.reply
    chosen = credential.mechanism
    if chosen is None:
        chosen = negotiate(hello.sasl_supported_mechs)
    if conversation is None or chosen != conversation.mechanism:
        # Nothing was speculated, or for a mechanism that this user will not log in with.
        conversation = _open(rules_of(chosen), credential, address, greeting.subject)
        reply = None
    commands = yield from _converse(conversation, reply, greeting)
    shared = credential.state.shared
    if credential.mechanism is None:
        shared.mechanism = chosen
    shared.logged_in = True
    speculative = reply is not None
    saved_state = conversation.saved_state()
    return LoginResult(hello, conversation.mechanism, 1 + commands, speculative, saved_state)


def reauthenticate(
    credential,
    address,
    mechanism=None,
    saved_state=None,
    server_api=None,
):
    """Log in again on a connection whose server asked for it (error 391); no hello is sent.

    `mechanism` is the one the connection logged in with (`LoginResult.mechanism`); by default
    the credential's, then the one negotiated last. `saved_state` is that login's
    (`LoginResult.saved_state`), and the generator returns the new one's. Driven and failing as
    `login`.
    """
    chosen = mechanism or credential.mechanism or credential.state.shared.mechanism
    if chosen is None:
        chosen = negotiate(None)
    conversation = rules_of(chosen).conversation(credential, address)
    conversation.restore(saved_state)
    greeting = Greeting(None, credential, address, server_api, None, None, None)
    yield from _converse(conversation, None, greeting)
    credential.state.reauthentications += 1
    return conversation.saved_state()


cdef bint _may_log_in(state) except -1:
    turns = state.shared.turns
    if turns.proven:
        return True
    return not turns.busy and turns.remembered(state.backoff) is None


cdef object rules_of(mechanism):
    """`find_mechanism`, without a call for one that was named before."""
    rules = mechanisms.get(mechanism)
    return find_mechanism(mechanism) if rules is None else rules


cdef object _open(rules, credential, address, subject):
    if subject == "" and rules.certificate:
        raise ConfigurationError(
            f"{rules.name} logs in with the client certificate of TLS, and there is none: give "
            "tlsCertificateKeyFile (a PEM file with certificate and key)"
        )
    return rules.conversation(credential, address)


def _converse(conversation, speculative_reply, Greeting greeting):
    """Hold the conversation; returns how many commands it took. Explains its failures.

    Until the secret was accepted once, the steps that try it wait for their turn; and what was
    refused is not tried again before its back-off has passed.
    """
    cdef int commands = 0
    cdef str database = conversation.source
    cdef bint interactive
    always = {} if greeting.server_api is None else api_fields(greeting.server_api)
    credential = greeting.credential
    assert credential is not None, "somebody logs in"
    shared = credential.state.shared
    turns = shared.turns
    turn = None
    seen = turns.refusals
    try:
        step = conversation.start(speculative_reply)
        while step is not None:
            # Whether it is a dict costs less to ask than whether it is an OffloadedCall.
            interactive = not isinstance(step, dict) and step.interactive
            if interactive:
                # It waits for a person, not for the server: others may wait for the same one.
                turns.leave(turn)
                turn = None
            elif turn is None and not turns.proven:
                turn = yield from _take_turn(turns, credential)
                seen = turns.refusals
            if isinstance(step, dict):
                if always:
                    step.update(always)
                command = command_of(database, step)
                commands += 1
                # In no variable: tools that report errors print those, and it may hold a secret.
                step = None
                reply = yield command
                command = None
                assert reply is not None, "a Command is answered with its reply"
                step = conversation.step(reply)
            else:
                yield step
                step = conversation.resume(step)
        if turn is not None or not turns.proven:
            shared.succeeded(turn)
    except NotPrimaryError:
        # The server is going down or changing its role: not the credential's fault.
        raise
    except _RefusedBefore as other:
        raise own_copy(other.error) from other.error.__cause__
    except OperationFailure as error:
        context = _context(conversation, greeting, credential)
        context.diagnostic_context = conversation.diagnostic_context()
        refusal = _explained(error, context)
        # Of a login that came to no answer in time the next one may have one.
        if isinstance(refusal, LoginTimeout):
            shared.mechanism = None
        else:
            shared.refused(turn, refusal, seen, secret=refuses_secret(refusal))
        # A cause that is given on purpose (a callback's own error) stays to be seen.
        raise refusal from error.__cause__
    except ConfigurationError as error:
        context = _context(conversation, greeting, credential)
        wrong = ConfigurationError(f"{context.tried()}: {error}")
        wrong.diagnoses = error.diagnoses
        raise wrong from error.__cause__
    finally:
        # Also for a login that is given up: whoever drives this closes it then.
        if turn is not None:
            turns.leave(turn)
    return commands


cdef object _context(conversation, Greeting greeting, credential):
    """What a failed login's error tells; most logins do not fail."""
    context = LoginContext(credential, greeting.address, conversation.mechanism, greeting.hello)
    context.subject = greeting.subject or None
    if credential.mechanism is None and greeting.hello is not None:
        context.offered = greeting.hello.sasl_supported_mechs
    context.credential_description = conversation.credential_description()
    return context


class _RefusedBefore(Portable, Exception):
    """The login that this one waited for, or one before it, was refused."""

    def __init__(self, error):
        super().__init__()
        self.error = error


def _take_turn(turns, credential):
    """Wait until this login may go on; the turn it has then, None where it needs none."""
    while True:
        flight, own = turns.begin(credential.state.backoff)
        if own or flight is None:
            return flight
        if isinstance(flight, Refusal):
            raise _RefusedBefore(from_memory(flight, credential))
        if flight.refusal is None:
            work = WaitForLogin(flight)
            yield work
            if work.error is not None:
                raise work.error
            if work.own:
                return None
        if flight.refusal is not None:
            raise _RefusedBefore(flight.refusal)


cdef object _explained(error, context):
    kind = type(error) if isinstance(error, AuthenticationFailed) else AuthenticationFailed
    text, diagnoses = explain(error, context)
    failed = kind(text, error.code, error.details)
    failed.login, failed.diagnoses = context, diagnoses
    return failed


cdef int _refuse_hello(answer, credential, address) except -1:
    code = answer.get("code")
    if isinstance(code, int) and code in STATE_CHANGE_CODES:
        raise_command_error(answer)
    failure = AuthenticationFailed if credential is not None else OperationFailure
    raise failure(
        explain_hello(answer, credential, address), code if isinstance(code, int) else None, answer
    )

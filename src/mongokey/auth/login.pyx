# cython: language_level=3
"""A login from hello to its end, as a generator that both faces drive.

Yields commands to send and work to do off the wire; knows negotiation, speculation and what is
remembered between logins (auth.md, "Authentication Handshake"). Must not know sockets, clocks,
or any mechanism by name.
"""

from mongokey.handshake.reply cimport HelloReply

from mongokey._support.address import format_address
from mongokey._support.shared_errors import own_copy
from mongokey.auth.errors import LoginTimeout
from mongokey.auth.login_failures import (
    RefusedBefore,
    context_of,
    explained,
    refuse_hello,
    take_turn,
)
from mongokey.auth.mechanism import FIRST_STEP, WHOLE_LOGIN
from mongokey.auth.registry import PREFERRED, find_mechanism, loaded, negotiate
from mongokey.auth.refusals import refuses_secret
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
        refuse_hello(answer, credential, address)
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
    commands = yield from converse(conversation, reply, greeting)
    shared = credential.state.shared
    if credential.mechanism is None:
        shared.mechanism = chosen
    shared.logged_in = True
    speculative = reply is not None
    saved_state = conversation.saved_state()
    return LoginResult(hello, conversation.mechanism, 1 + commands, speculative, saved_state)


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


def converse(conversation, speculative_reply, Greeting greeting):
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
                turn = yield from take_turn(turns, credential)
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
    except RefusedBefore as other:
        raise own_copy(other.error) from other.error.__cause__
    except OperationFailure as error:
        context = context_of(conversation, greeting, credential)
        context.diagnostic_context = conversation.diagnostic_context()
        refusal = explained(error, context)
        # Of a login that came to no answer in time the next one may have one.
        if isinstance(refusal, LoginTimeout):
            shared.mechanism = None
        else:
            shared.refused(turn, refusal, seen, secret=refuses_secret(refusal))
        # A cause that is given on purpose (a callback's own error) stays to be seen.
        raise refusal from error.__cause__
    except ConfigurationError as error:
        context = context_of(conversation, greeting, credential)
        wrong = ConfigurationError(f"{context.tried()}: {error}")
        wrong.diagnoses = error.diagnoses
        raise wrong from error.__cause__
    finally:
        # Also for a login that is given up: whoever drives this closes it then.
        if turn is not None:
            turns.leave(turn)
    return commands

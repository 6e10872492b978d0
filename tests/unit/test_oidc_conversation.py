"""OIDC logins on documents: which token comes when, and what a refusal makes of it (auth.md,
"Credential Caching", "Speculative Authentication", "Reauthentication")."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey.auth import AuthenticationFailed, ServerProofError, open_conversation
from mongokey.auth.oidc import tokens as tokens_module
from mongokey.auth.oidc.tokens import tokens_of
from mongokey.auth_oidc import OIDCCallbackResult, OIDCIdPInfo
from mongokey.bson import decode, encode
from mongokey.errors import ConfigurationError, OperationFailure
from tests.unit._oidc import ADDRESS, IDP, Callback, Server, human, log_in, log_in_again, machine


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "PAUSE_S", 0.0)


def said(server: Server) -> list[tuple[str, Any]]:
    """What was sent since the last look."""
    seen, server.said = server.said, []
    return seen


class TestDocuments:
    def test_the_specifications_one_step_example(self) -> None:
        credential = machine(Callback("abcd1234"))
        conversation = open_conversation(credential, "MONGODB-OIDC", ADDRESS)
        assert conversation.speculative() is None
        work: Any = conversation.start()
        work.run()
        command: Any = conversation.resume(work)
        assert (command["saslStart"], command["mechanism"]) == (1, "MONGODB-OIDC")
        # BinData(0, "FwAAAAJqd3QACQAAAGFiY2QxMjM0AAA=")
        assert command["payload"] == b"\x17\0\0\0\x02jwt\0\x09\0\0\0abcd1234\0\0"
        assert conversation.source == "$external"
        done = {"ok": 1, "conversationId": 1, "payload": b"", "done": True}
        assert conversation.step(done) is None

    def test_the_specifications_two_step_example(self) -> None:
        credential = human(Callback("abcd1234"), "myidp")
        conversation = open_conversation(credential, "MONGODB-OIDC", ADDRESS)
        command: Any = conversation.start()
        assert command["payload"] == b"\x12\0\0\0\x02n\0\x06\0\0\0myidp\0\0"
        info = {"issuer": "https://issuer", "clientId": "abcd", "requestScopes": ["a", "b"]}
        work: Any = conversation.step(
            {"ok": 1, "conversationId": 7, "payload": encode(info), "done": False}
        )
        work.run()
        command = conversation.resume(work)
        assert (command["saslContinue"], command["conversationId"]) == (1, 7)
        assert decode(command["payload"]) == {"jwt": "abcd1234"}

    def test_a_speculative_question_is_the_first_step_with_its_database(self) -> None:
        credential = machine(Callback("never"))
        tokens_of(credential).put("cached")
        conversation = open_conversation(credential, "MONGODB-OIDC", ADDRESS)
        command = conversation.speculative()
        assert command is not None
        assert command["db"] == "$external"
        assert decode(command["payload"]) == {"jwt": "cached"}

    def test_without_a_user_name_no_principal_is_sent(self) -> None:
        server = Server("a")
        log_in(human(Callback("a")), server)
        assert said(server) == [("hello", None), ("n", None), ("jwt", "a")]


class TestMachines:
    def test_the_callback_is_called_once_and_later_logins_speculate(self) -> None:
        server, callback = Server("a"), Callback("a")
        credential = machine(callback, "principal")
        result = log_in(credential, server)
        assert (result.mechanism, result.round_trips, result.speculative) == (
            "MONGODB-OIDC",
            2,
            False,
        )
        assert said(server) == [("hello", None), ("jwt", "a")]
        for _ in range(2):
            result = log_in(credential, server)
            assert (result.round_trips, result.speculative) == (1, True)
            assert said(server) == [("hello", "a")]
        (context,) = callback.contexts
        assert context.username == "principal"
        assert context.version == 1
        assert context.timeout_seconds == 60
        assert (context.refresh_token, context.idp_info) == (None, None)

    def test_a_proxy_that_drops_the_question_costs_a_step_and_no_token(self) -> None:
        server, callback = Server("a", speculates=False), Callback("a")
        credential = machine(callback)
        log_in(credential, server)
        log_in(credential, server)
        assert said(server)[2:] == [("hello", "a"), ("jwt", "a")]
        assert len(callback.contexts) == 1

    def test_a_cached_token_that_is_refused_is_fetched_anew_once(self) -> None:
        server, callback = Server("new"), Callback("new")
        credential = machine(callback)
        tokens_of(credential).put("old")
        log_in(credential, server)
        assert said(server) == [("hello", "old"), ("jwt", "old"), ("jwt", "new")]
        assert len(callback.contexts) == 1

    def test_a_new_token_that_is_refused_ends_the_login(self) -> None:
        server, callback = Server(), Callback("bad")
        credential = machine(callback)
        for times in (1, 2):
            with pytest.raises(AuthenticationFailed) as caught:
                log_in(credential, server)
            assert caught.value.code == 18
            assert said(server) == [("hello", None), ("jwt", "bad")]
            assert len(callback.contexts) == times

    def test_both_refused_ends_the_login(self) -> None:
        server, callback = Server(), Callback("bad")
        credential = machine(callback)
        tokens_of(credential).put("old")
        with pytest.raises(AuthenticationFailed):
            log_in(credential, server)
        assert said(server) == [("hello", "old"), ("jwt", "old"), ("jwt", "bad")]
        assert len(callback.contexts) == 1

    def test_another_error_keeps_the_token(self) -> None:
        server, callback = Server("a"), Callback("a")
        credential = machine(callback)
        server.fail[1] = 20
        with pytest.raises(AuthenticationFailed) as caught:
            log_in(credential, server)
        assert caught.value.code == 20
        log_in(credential, server)
        assert len(callback.contexts) == 1

    def test_another_error_with_a_cached_token_is_not_tried_again(self) -> None:
        server, callback = Server("a", speculates=False), Callback("b")
        credential = machine(callback)
        tokens_of(credential).put("a")
        server.fail[1] = 20
        with pytest.raises(OperationFailure):
            log_in(credential, server)
        assert said(server) == [("hello", "a"), ("jwt", "a")]
        assert not callback.contexts

    def test_a_speculation_that_fails_takes_no_token_away(self) -> None:
        credential = machine(Callback("never"))
        tokens_of(credential).put("a")
        conversation = open_conversation(credential, "MONGODB-OIDC", ADDRESS)
        conversation.speculative()
        command: Any = conversation.start({"ok": 0, "code": 18, "done": False})
        assert decode(command["payload"]) == {"jwt": "a"}
        assert conversation.step(Server("a")._judge("a")) is None

    def test_a_token_fetched_by_another_login_is_not_fetched_again_when_refused(self) -> None:
        """Of several seeds asked at once, all are refused by one token and one call."""
        credential, server = machine(Callback("bad")), Server()
        early = open_conversation(credential, "MONGODB-OIDC", ADDRESS)
        with pytest.raises(AuthenticationFailed):
            log_in(credential, server)
        work: Any = early.start()
        work.run()
        command: Any = early.resume(work)
        assert decode(command["payload"]) == {"jwt": "bad"}
        with pytest.raises(OperationFailure):
            early.step(server._judge("bad"))
        assert tokens_of(credential).calls == 1


class TestPeople:
    def test_what_the_callback_gets_and_what_is_kept(self) -> None:
        callback = Callback(OIDCCallbackResult("a", 60, "refresh"))
        server, credential = Server("a"), human(callback, "ada")
        log_in(credential, server)
        assert said(server) == [("hello", None), ("n", "ada"), ("jwt", "a")]
        (context,) = callback.contexts
        assert context.timeout_seconds == 300
        assert context.idp_info == OIDCIdPInfo(**IDP)
        assert (context.username, context.version, context.refresh_token) == ("ada", 1, None)
        store = tokens_of(credential)
        assert (store.refresh_token, store.idp_info) == ("refresh", OIDCIdPInfo(**IDP))
        log_in(credential, server)
        assert said(server) == [("hello", "a")]

    def test_the_refresh_token_comes_before_a_new_login(self) -> None:
        callback = Callback(OIDCCallbackResult("a", None, "r1"), OIDCCallbackResult("b", None))
        server, credential = Server("a", "b"), human(callback)
        memory = log_in(credential, server).saved_state
        said(server)
        memory = log_in_again(credential, server, memory)
        assert said(server) == [("jwt", "b")]
        assert callback.contexts[1].refresh_token == "r1"
        assert callback.contexts[1].idp_info == OIDCIdPInfo(**IDP)
        # A call with a refresh token need not give a new one.
        assert tokens_of(credential).refresh_token == "r1"
        log_in_again(credential, server, memory)
        assert callback.contexts[2].refresh_token == "r1"

    def test_without_a_refresh_token_it_is_a_new_login(self) -> None:
        callback = Callback("a", "b")
        server, credential = Server("a", "b"), human(callback)
        memory = log_in(credential, server).saved_state
        said(server)
        log_in_again(credential, server, memory)
        assert said(server) == [("n", None), ("jwt", "b")]

    def test_what_a_refresh_token_gave_is_refused_so_a_new_login_follows(self) -> None:
        callback = Callback(OIDCCallbackResult("a", None, "r1"), "bad", "c")
        server, credential = Server("a", "c"), human(callback)
        memory = log_in(credential, server).saved_state
        said(server)
        log_in_again(credential, server, memory)
        assert said(server) == [("jwt", "bad"), ("n", None), ("jwt", "c")]
        assert [each.refresh_token for each in callback.contexts] == [None, "r1", None]

    def test_three_calls_and_no_more_when_nothing_helps(self) -> None:
        callback = Callback(OIDCCallbackResult("a", None, "r1"), "bad", "worse")
        server, credential = Server("a"), human(callback)
        memory = log_in(credential, server).saved_state
        said(server)
        with pytest.raises(AuthenticationFailed):
            log_in_again(credential, server, memory)
        assert said(server) == [("jwt", "bad"), ("n", None), ("jwt", "worse")]
        assert len(callback.contexts) == 3

    def test_a_cached_token_that_is_refused_leads_to_the_refresh_token(self) -> None:
        callback = Callback(OIDCCallbackResult("a", None, "r1"), "b")
        server, credential = Server("a"), human(callback)
        log_in(credential, server)
        said(server)
        server.good = {"b"}
        log_in(credential, server)
        assert said(server) == [("hello", "a"), ("jwt", "a"), ("jwt", "b")]
        assert callback.contexts[1].refresh_token == "r1"

    def test_a_refresh_that_raises_is_not_repeated(self) -> None:
        callback = Callback(OIDCCallbackResult("a", None, "r1"), RuntimeError("expired"), "b")
        server, credential = Server("a", "b"), human(callback)
        memory = log_in(credential, server).saved_state
        with pytest.raises(AuthenticationFailed):
            log_in_again(credential, server, memory)
        said(server)
        log_in(credential, server)
        assert said(server) == [("hello", None), ("n", None), ("jwt", "b")]

    def test_a_refused_principal_calls_nobody(self) -> None:
        callback = Callback("a")
        server, credential = Server("a"), human(callback)
        server.fail[1] = 18
        with pytest.raises(AuthenticationFailed):
            log_in(credential, server)
        assert said(server) == [("hello", None), ("n", None)]
        assert not callback.contexts

    def test_a_machines_identity_provider_has_no_client_id(self) -> None:
        callback = Callback("a")
        server = Server("a", idp={"issuer": "https://idp.example", "hint": "ignored"})
        log_in(human(callback), server)
        assert callback.contexts[0].idp_info == OIDCIdPInfo("https://idp.example", None, None)

    @pytest.mark.parametrize(
        "idp",
        [
            {},
            {"issuer": 5},
            {"issuer": ""},
            {"issuer": "https://x", "clientId": 5},
            {"issuer": "https://x", "requestScopes": "db"},
            {"issuer": "https://x", "requestScopes": [1]},
        ],
    )
    def test_a_server_that_names_no_identity_provider(self, idp: dict[str, Any]) -> None:
        callback = Callback("a")
        with pytest.raises(ServerProofError):
            log_in(human(callback), Server("a", idp=idp))
        assert not callback.contexts

    def test_an_answer_that_is_not_bson(self) -> None:
        conversation = open_conversation(human(Callback("a")), "MONGODB-OIDC", ADDRESS)
        conversation.start()
        with pytest.raises(ServerProofError, match="not a BSON document"):
            conversation.step({"ok": 1, "conversationId": 1, "done": False, "payload": b"\5\0"})


class TestProtocolErrors:
    def test_done_before_any_token(self) -> None:
        conversation = open_conversation(human(Callback("a")), "MONGODB-OIDC", ADDRESS)
        conversation.start()
        with pytest.raises(ServerProofError, match="before it got a token"):
            conversation.step({"ok": 1, "conversationId": 1, "done": True, "payload": b""})

    def test_going_on_after_the_token(self) -> None:
        credential = machine(Callback("never"))
        tokens_of(credential).put("a")
        conversation = open_conversation(credential, "MONGODB-OIDC", ADDRESS)
        conversation.start()
        with pytest.raises(ServerProofError, match="go on"):
            conversation.step({"ok": 1, "conversationId": 1, "done": False, "payload": b""})

    def test_work_of_another_conversation(self) -> None:
        one, two = (
            open_conversation(machine(Callback("a")), "MONGODB-OIDC", ADDRESS) for _ in range(2)
        )
        work: Any = one.start()
        two.start()
        work.run()
        with pytest.raises(RuntimeError):
            two.resume(work)


class TestReauthentication:
    def test_the_token_used_is_dropped_and_a_new_one_fetched_without_speculation(self) -> None:
        server, callback = Server("a", "b"), Callback("a", "b")
        credential = machine(callback)
        memory = log_in(credential, server).saved_state
        said(server)
        memory = log_in_again(credential, server, memory)
        assert said(server) == [("jwt", "b")]
        assert memory.text == "b"
        assert credential.state.reauthentications == 1

    def test_connections_that_used_the_old_token_take_the_new_one(self) -> None:
        server, callback = Server("a", "b"), Callback("a", "b")
        credential = machine(callback)
        memories = [log_in(credential, server).saved_state for _ in range(5)]
        said(server)
        for memory in memories:
            log_in_again(credential, server, memory)
        assert said(server) == [("jwt", "b")] * 5
        assert len(callback.contexts) == 2
        assert credential.state.reauthentications == 5

    def test_a_provider_that_gives_the_same_text_again_is_not_called_for_each_connection(
        self,
    ) -> None:
        server, callback = Server("a"), Callback("a")
        credential = machine(callback)
        memories = [log_in(credential, server).saved_state for _ in range(5)]
        for memory in memories:
            log_in_again(credential, server, memory)
        assert len(callback.contexts) == 2

    def test_a_speculative_login_remembers_its_token(self) -> None:
        server, callback = Server("a", "b"), Callback("b")
        credential = machine(callback)
        tokens_of(credential).put("a")
        memory = log_in(credential, server).saved_state
        assert memory.text == "a"
        log_in_again(credential, server, memory)
        assert said(server) == [("hello", "a"), ("jwt", "b")]

    def test_a_bad_new_token_ends_it(self) -> None:
        server, callback = Server("a"), Callback("a", "bad")
        credential = machine(callback)
        memory = log_in(credential, server).saved_state
        with pytest.raises(AuthenticationFailed):
            log_in_again(credential, server, memory)
        assert len(callback.contexts) == 2
        assert credential.state.reauthentications == 0


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        ["localhost", "127.0.0.1", "::1", "a.mongodb.net", "a.b.mongodb.net", "X.MongoDB.NET."],
    )
    def test_the_default_hosts(self, host: str) -> None:
        log_in(human(Callback("a")), Server("a"), (host, 27017))

    @pytest.mark.parametrize(
        "host",
        [
            "db.example.com",
            "mongodb.net",
            "evilmongodb.net",
            "a.mongodb.net.evil.com",
            "127.0.0.2",
            "/tmp/mongodb-27017.sock",
        ],
    )
    def test_others_get_no_token_and_call_nobody(self, host: str) -> None:
        callback = Callback("a")
        credential, server = human(callback), Server("a")
        tokens_of(credential).put("a")
        with pytest.raises(ConfigurationError, match="ALLOWED_HOSTS"):
            log_in(credential, server, (host, 27017))
        assert not callback.contexts
        assert not server.said

    def test_a_list_of_ones_own(self) -> None:
        credential = human(
            Callback("a"), ALLOWED_HOSTS=["*.example.com", "10.0.0.1", "/tmp/x.sock"]
        )
        for host in ("db.example.com", "10.0.0.1", "/tmp/x.sock"):
            log_in(credential, Server("a"), (host, None))
        for host in ("localhost", "example.com", "10.0.0.11"):
            with pytest.raises(ConfigurationError, match=r"\*\.example\.com, 10\.0\.0\.1"):
                log_in(credential, Server("a"), (host, 27017))

    def test_an_empty_list_allows_nothing(self) -> None:
        with pytest.raises(ConfigurationError, match="an empty list"):
            log_in(human(Callback("a"), ALLOWED_HOSTS=[]), Server("a"))

    def test_machines_are_not_asked(self) -> None:
        log_in(machine(Callback("a")), Server("a"), ("db.example.com", 27017))

"""langchain-mongodb without a model and without vector search, which no server here has: the
history of a chat, documents, a cache of answers."""

from __future__ import annotations

import os
import uuid

import pymongo
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import Generation
from langchain_mongodb import MongoDBChatMessageHistory
from langchain_mongodb.cache import MongoDBCache
from langchain_mongodb.docstores import MongoDBDocStore

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")


@pytest.fixture
def database():
    name = f"usage_langchain_{uuid.uuid4().hex[:8]}"
    yield name
    with pymongo.MongoClient(URI) as client:
        client.drop_database(name)


@pytest.fixture
def collection(database):
    with pymongo.MongoClient(URI) as client:
        yield client[database]["docs"]


def history(database, session="one", **further):
    return MongoDBChatMessageHistory(URI, session, database_name=database, **further)


def test_messages_come_back_in_order(database):
    made = history(database)
    made.add_messages([HumanMessage("hello"), AIMessage("hi")])
    made.add_message(HumanMessage("bye"))
    assert [each.content for each in history(database).messages] == ["hello", "hi", "bye"]
    assert [each.type for each in made.messages] == ["human", "ai", "human"]


def test_sessions_are_apart(database):
    history(database, "one").add_message(HumanMessage("a"))
    history(database, "two").add_message(HumanMessage("b"))
    assert [each.content for each in history(database, "two").messages] == ["b"]


def test_only_the_last_messages(database):
    made = history(database)
    made.add_messages([HumanMessage(str(n)) for n in range(6)])
    assert [each.content for each in history(database, history_size=2).messages] == ["4", "5"]


def test_a_history_is_cleared(database):
    made = history(database)
    made.add_message(HumanMessage("a"))
    made.clear()
    assert made.messages == []


def test_a_store_of_documents(collection):
    store = MongoDBDocStore(collection)
    store.mset([(str(n), Document(page_content=f"text {n}")) for n in range(4)])
    found = store.mget(["0", "3", "none"])
    assert [each and each.page_content for each in found] == ["text 0", "text 3", None]
    assert sorted(store.yield_keys()) == ["0", "1", "2", "3"]
    store.mdelete(["0", "1"])
    assert sorted(store.yield_keys()) == ["2", "3"]


def test_a_cache_of_answers(database):
    cache = MongoDBCache(URI, "answers", database_name=database)
    assert cache.lookup("question", "model") is None
    cache.update("question", "model", [Generation(text="answer")])
    found = cache.lookup("question", "model")
    assert found is not None
    assert [each.text for each in found] == ["answer"]
    cache.clear()
    assert cache.lookup("question", "model") is None

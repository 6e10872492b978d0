"""LangGraph's checkpoints and store in MongoDB, as an application uses them."""

from __future__ import annotations

import os
import uuid
from typing import TypedDict

import pymongo
import pytest
from langgraph.checkpoint.mongodb import MongoDBSaver
from langgraph.graph import END, START, StateGraph

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")


class State(TypedDict):
    steps: list[str]


def step(name):
    return lambda state: {"steps": [*state["steps"], name]}


def make_graph(saver):
    graph = StateGraph(State)
    graph.add_node("first", step("first"))
    graph.add_node("second", step("second"))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph.compile(checkpointer=saver)


@pytest.fixture
def database():
    name = f"usage_langgraph_{uuid.uuid4().hex[:8]}"
    yield name
    with pymongo.MongoClient(URI) as client:
        client.drop_database(name)


@pytest.fixture
def saver(database):
    with MongoDBSaver.from_conn_string(URI, database) as made:
        yield made


def config(thread):
    return {"configurable": {"thread_id": thread}}


def test_a_run_is_kept(saver):
    graph = make_graph(saver)
    assert graph.invoke({"steps": []}, config("one"))["steps"] == ["first", "second"]
    state = graph.get_state(config("one"))
    assert state.values["steps"] == ["first", "second"]
    assert state.next == ()


def test_the_history_of_a_thread(saver):
    graph = make_graph(saver)
    graph.invoke({"steps": []}, config("one"))
    history = list(graph.get_state_history(config("one")))
    assert [each.values.get("steps") for each in history if each.values] == [
        ["first", "second"],
        ["first"],
        [],
    ]


def test_threads_are_apart(saver):
    graph = make_graph(saver)
    graph.invoke({"steps": ["a"]}, config("one"))
    graph.invoke({"steps": ["b"]}, config("two"))
    assert graph.get_state(config("one")).values["steps"][0] == "a"
    assert graph.get_state(config("two")).values["steps"][0] == "b"
    assert graph.get_state(config("three")).values == {}


def test_going_on_from_a_checkpoint(saver):
    graph = make_graph(saver)
    graph.invoke({"steps": []}, config("one"))
    middle = next(
        each
        for each in graph.get_state_history(config("one"))
        if each.values.get("steps") == ["first"]
    )
    assert graph.invoke(None, middle.config)["steps"] == ["first", "second"]


def test_list_and_get(saver):
    graph = make_graph(saver)
    graph.invoke({"steps": []}, config("one"))
    found = list(saver.list(config("one"), limit=2))
    assert len(found) == 2
    latest = saver.get_tuple(config("one"))
    assert latest is not None
    assert latest.checkpoint["id"] == found[0].checkpoint["id"]
    assert list(saver.list({"configurable": {"thread_id": "none"}})) == []


def test_a_thread_is_deleted(saver):
    graph = make_graph(saver)
    graph.invoke({"steps": []}, config("one"))
    saver.delete_thread("one")
    assert saver.get_tuple(config("one")) is None


def test_a_saver_of_a_client(database):
    with pymongo.MongoClient(URI) as client:
        graph = make_graph(MongoDBSaver(client, db_name=database))
        assert graph.invoke({"steps": []}, config("one"))["steps"] == ["first", "second"]
        assert client[database]["checkpoints"].count_documents({}) > 0

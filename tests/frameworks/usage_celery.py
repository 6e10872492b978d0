"""Celery with MongoDB as broker and as result backend, and Kombu alone."""

from __future__ import annotations

import os
import threading
import time
import uuid

import celery
import kombu
import pymongo
import pytest
from celery.contrib.testing.worker import start_worker
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import GroupResult

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017").rstrip("/")


@pytest.fixture
def database():
    name = f"usage_celery_{uuid.uuid4().hex[:8]}"
    yield name
    with pymongo.MongoClient(URI) as client:
        client.drop_database(name)


@pytest.fixture
def app(database):
    app = celery.Celery("usage", broker=f"{URI}/{database}", backend=f"{URI}/{database}")
    app.conf.update(
        mongodb_backend_settings={"database": database, "taskmeta_collection": "results"},
        result_expires=3600,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )

    @app.task(name="add")
    def add(a, b):
        return a + b

    @app.task(name="fail")
    def fail():
        raise ValueError("no")

    @app.task(name="celery.ping")
    def ping():
        return "pong"

    @app.task(name="total")
    def total(values):
        return sum(values)

    yield app
    app.close()


def test_result_backend_alone(app):
    backend = app.backend
    backend.store_result("one", {"x": 1}, "SUCCESS")
    assert backend.get_result("one") == {"x": 1}
    assert backend.get_state("one") == "SUCCESS"
    assert backend.get_state("other") == "PENDING"
    backend.store_result("two", ValueError("no"), "FAILURE")
    assert isinstance(backend.get_result("two"), ValueError)
    backend.forget("one")
    assert backend.get_state("one") == "PENDING"


def test_backend_groups_and_cleanup(app):
    result = GroupResult("group", [app.AsyncResult("one"), app.AsyncResult("two")])
    result.save()
    assert [each.id for each in GroupResult.restore("group", app=app).results] == ["one", "two"]
    result.delete()
    assert GroupResult.restore("group", app=app) is None
    app.backend.cleanup()


def test_backend_from_many_threads(app):
    def work(number):
        for i in range(20):
            app.backend.store_result(f"{number}-{i}", i, "SUCCESS")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(app.backend.get_result(f"{n}-19") for n in range(8)) == 8 * 19


def test_tasks_through_a_worker(app):
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        assert app.tasks["add"].delay(1, 2).get(timeout=60) == 3
        failed = app.tasks["fail"].delay()
        with pytest.raises(ValueError, match="no"):
            failed.get(timeout=60)
        results = celery.group(app.tasks["add"].s(i, i) for i in range(5)).apply_async()
        assert results.get(timeout=60) == [0, 2, 4, 6, 8]
        chained = celery.chain(app.tasks["add"].s(1, 2), app.tasks["add"].s(10)).apply_async()
        assert chained.get(timeout=60) == 13


def test_a_result_that_does_not_come(app):
    with pytest.raises(ResultTimeout):
        app.AsyncResult("never").get(timeout=0.2)


def test_kombu_queue(database):
    with kombu.Connection(f"{URI}/{database}") as connection:
        queue = connection.SimpleQueue("letters")
        for i in range(5):
            queue.put({"number": i})
        assert queue.qsize() == 5
        found = []
        for _ in range(5):
            message = queue.get(timeout=20)
            found.append(message.payload["number"])
            message.ack()
        assert sorted(found) == list(range(5))
        with pytest.raises(queue.Empty):
            queue.get(block=False)
        queue.put("one more")
        assert queue.clear() == 1
        queue.close()


def test_kombu_fanout(database):
    exchange = kombu.Exchange("news", type="fanout")
    queues = [kombu.Queue(f"reader{i}", exchange) for i in range(2)]
    found = []

    def take(body, message):
        found.append(body)
        message.ack()

    with kombu.Connection(f"{URI}/{database}") as connection:
        with connection.Consumer(queues, callbacks=[take], accept=["json"]):
            producer = connection.Producer()
            producer.publish("hello", exchange=exchange, serializer="json")
            until = time.monotonic() + 20
            while len(found) < 2 and time.monotonic() < until:
                try:
                    connection.drain_events(timeout=1)
                except TimeoutError:
                    continue
    assert found == ["hello", "hello"]


def test_kombu_priorities_and_ttl(database):
    options = {"ttl": True}
    with kombu.Connection(f"{URI}/{database}", transport_options=options) as connection:
        channel = connection.channel()
        queue = kombu.Queue("urgent", channel=channel, max_priority=9, message_ttl=60)
        queue.declare()
        producer = connection.Producer(channel)
        for priority in (1, 9, 5):
            producer.publish({"p": priority}, routing_key="urgent", priority=priority)
        got = [queue.get(no_ack=True).payload["p"] for _ in range(3)]
        assert sorted(got) == [1, 5, 9]

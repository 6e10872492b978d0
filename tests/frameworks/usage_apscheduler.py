"""APScheduler with its jobs in MongoDB."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta, timezone

import pymongo
import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.mongodb import MongoDBJobStore
from apscheduler.schedulers.background import BackgroundScheduler

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_apscheduler"
ran = threading.Event()
FAR = datetime(2100, 1, 1, tzinfo=timezone.utc)


def work(*args):
    ran.set()


@pytest.fixture
def client():
    client = pymongo.MongoClient(URI)
    client.drop_database(DATABASE)
    yield client
    client.close()
    with pymongo.MongoClient(URI) as other:  # the store closes the one it was given
        other.drop_database(DATABASE)


@pytest.fixture
def scheduler(client):
    store = MongoDBJobStore(database=DATABASE, client=client)
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone=timezone.utc)
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


def test_a_job_runs_and_goes(scheduler):
    ran.clear()
    scheduler.start()
    scheduler.add_job(work, "date", run_date=datetime.now(timezone.utc) + timedelta(seconds=0.2))
    assert ran.wait(30)


def test_jobs_outlive_a_scheduler(scheduler, client):
    scheduler.start(paused=True)
    scheduler.add_job(work, "interval", hours=1, id="hourly", args=[1])
    scheduler.add_job(work, "cron", hour=3, id="nightly")
    scheduler.add_job(work, "date", run_date=FAR, id="once")
    other = BackgroundScheduler(
        jobstores={"default": MongoDBJobStore(database=DATABASE, client=client)},
        timezone=timezone.utc,
    )
    other.start(paused=True)
    found = {job.id: job for job in other.get_jobs()}
    assert set(found) == {"hourly", "nightly", "once"}
    assert found["once"].next_run_time == FAR
    assert found["hourly"].args == (1,)
    other.shutdown()


def test_change_pause_remove(scheduler):
    scheduler.start(paused=True)
    job = scheduler.add_job(work, "date", run_date=FAR, id="a")
    scheduler.modify_job("a", name="other", args=[2])
    assert scheduler.get_job("a").name == "other"
    job.pause()
    assert scheduler.get_job("a").next_run_time is None
    job.resume()
    scheduler.reschedule_job("a", trigger="interval", days=1)
    scheduler.remove_job("a")
    assert scheduler.get_job("a") is None
    with pytest.raises(JobLookupError):
        scheduler.remove_job("a")


def test_one_identity_once(scheduler):
    scheduler.start(paused=True)
    scheduler.add_job(work, "date", run_date=FAR, id="a")
    with pytest.raises(ConflictingIdError):
        scheduler.add_job(work, "date", run_date=FAR, id="a")
    scheduler.add_job(work, "date", run_date=FAR, id="a", replace_existing=True)


def test_a_store_makes_its_own_client(client):
    store = MongoDBJobStore(database=DATABASE, host=URI)
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone=timezone.utc)
    scheduler.start(paused=True)
    for i in range(50):
        scheduler.add_job(work, "date", run_date=FAR + timedelta(hours=i), id=str(i))
    assert len(scheduler.get_jobs()) == 50
    scheduler.remove_all_jobs()
    assert scheduler.get_jobs() == []
    scheduler.shutdown()

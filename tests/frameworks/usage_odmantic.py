"""ODMantic, as an application uses it: the engine for asyncio, over Motor, and the blocking one."""

from __future__ import annotations

import datetime
import os
from decimal import Decimal

import pymongo
import pytest
from odmantic import AIOEngine, EmbeddedModel, Field, Index, Model, ObjectId, Reference, SyncEngine
from odmantic.exceptions import DocumentNotFoundError, DuplicateKeyError
from odmantic.query import asc, desc, match

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_odmantic"


class Maker(Model):
    name: str = Field(unique=True)
    founded: int | None = None


class Part(EmbeddedModel):
    label: str
    weight: float = 1.0


class Car(Model):
    name: str = Field(index=True)
    price: Decimal = Decimal("1.0")
    parts: list[Part] = []
    maker: Maker = Reference()
    made: datetime.datetime = datetime.datetime(2026, 1, 1)

    model_config = {"indexes": lambda: [Index(Car.name, Car.made, name="name_made")]}


@pytest.fixture
def engine():
    client = pymongo.MongoClient(URI)
    client.drop_database(DATABASE)
    engine = SyncEngine(client=client, database=DATABASE)
    engine.configure_database([Maker, Car], update_existing_indexes=True)
    yield engine
    client.drop_database(DATABASE)
    client.close()


def cars(engine, count=6):
    maker = engine.save(Maker(name="M", founded=1900))
    engine.save_all(
        [Car(name=f"c{i}", maker=maker, parts=[Part(label="wheel")]) for i in range(count)]
    )
    return maker


def test_save_and_find(engine):
    maker = cars(engine)
    assert isinstance(maker.id, ObjectId)
    found = engine.find_one(Car, Car.name == "c3")
    assert found.maker == maker
    assert found.price == Decimal("1.0")
    assert found.parts[0].label == "wheel"


def test_queries(engine):
    cars(engine)
    assert engine.count(Car) == 6
    names = [car.name for car in engine.find(Car, sort=desc(Car.name), limit=2, skip=1)]
    assert names == ["c4", "c3"]
    assert engine.count(Car, Car.name.in_(["c1", "c2"])) == 2
    assert engine.count(Car, (Car.name == "c1") | (Car.name == "c2")) == 2
    assert engine.count(Car, match(Car.name, "^c[0-2]$")) == 3
    assert engine.find_one(Car, sort=asc(Car.name)).name == "c0"


def test_change_and_delete(engine):
    cars(engine)
    car = engine.find_one(Car, Car.name == "c1")
    car.name = "other"
    engine.save(car)
    assert engine.find_one(Car, Car.name == "other").id == car.id
    engine.delete(car)
    with pytest.raises(DocumentNotFoundError):
        engine.delete(car)
    assert engine.remove(Car, Car.name == "c2") == 1
    assert engine.remove(Car) == 4


def test_unique(engine):
    engine.save(Maker(name="a"))
    with pytest.raises(DuplicateKeyError):
        engine.save(Maker(name="a"))


def test_indexes(engine):
    assert "name_made" in engine.get_collection(Car).index_information()


def test_sessions_and_transactions(engine):
    with engine.session() as session:
        session.save(Maker(name="in a session"))
        assert session.count(Maker) == 1
    with engine.transaction() as transaction:
        transaction.save(Maker(name="in a transaction"))
        transaction.commit()
    assert engine.count(Maker) == 2
    with engine.transaction() as transaction:
        transaction.save(Maker(name="given up"))
        transaction.abort()
    assert engine.count(Maker) == 2


def test_many(engine):
    maker = engine.save(Maker(name="M"))
    engine.save_all([Car(name=f"{i}", maker=maker) for i in range(300)])
    assert len(list(engine.find(Car))) == 300


@pytest.mark.asyncio
async def test_the_engine_for_asyncio(engine):
    from motor.motor_asyncio import AsyncIOMotorClient

    client = AsyncIOMotorClient(URI)
    engine = AIOEngine(client=client, database=DATABASE)
    await engine.configure_database([Maker, Car], update_existing_indexes=True)
    maker = await engine.save(Maker(name="M"))
    await engine.save_all([Car(name=f"{i:03d}", maker=maker) for i in range(300)])
    assert len(await engine.find(Car)) == 300
    assert [car.name async for car in engine.find(Car, sort=Car.name, limit=2)] == ["000", "001"]
    assert (await engine.find_one(Car, Car.name == "007")).maker.name == "M"
    assert await engine.count(Car) == 300
    async with engine.session() as session:
        await session.save(Maker(name="x"))
        assert await session.count(Maker) == 2
    assert await engine.remove(Car) == 300
    client.close()

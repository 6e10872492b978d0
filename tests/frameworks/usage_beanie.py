"""Beanie, as an application uses it."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from uuid import UUID, uuid4

import pymongo
import pytest
import pytest_asyncio
from beanie import (
    BackLink,
    BulkWriter,
    DeleteRules,
    Document,
    Indexed,
    Insert,
    Link,
    Replace,
    UnionDoc,
    View,
    WriteRules,
    before_event,
    init_beanie,
)
from beanie.odm.operators.find.comparison import In
from beanie.odm.operators.update.general import Inc, Set
from pydantic import BaseModel, Field
from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_beanie"
pytestmark = pytest.mark.asyncio


class Category(BaseModel):
    name: str
    description: str | None = None


class Product(Document):
    name: Indexed(str, unique=True)  # type: ignore[valid-type]
    price: float = 0.0
    category: Category | None = None
    made: datetime = Field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=timezone.utc))
    key: UUID = Field(default_factory=uuid4)
    hits: int = 0

    @before_event(Insert, Replace)
    def lower(self) -> None:
        self.name = self.name.lower()

    class Settings:
        name = "products"
        use_state_management = True
        indexes = [[("price", pymongo.DESCENDING), ("name", pymongo.ASCENDING)]]


class Window(Document):
    width: int


class House(Document):
    name: str
    windows: list[Link[Window]] = []


class Person(Document):
    name: str
    home: Link[House]


class Total(BaseModel):
    id: str | None = Field(None, alias="_id")
    total: float


class Cheap(View):
    name: str
    price: float

    class Settings:
        source = Product
        pipeline = [{"$match": {"price": {"$lt": 3}}}]


@pytest_asyncio.fixture
async def client():
    client = AsyncMongoClient(URI, uuidRepresentation="standard")
    await client.drop_database(DATABASE)
    await init_beanie(database=client[DATABASE], document_models=[Product, Window, House, Person])
    yield client
    await client.drop_database(DATABASE)
    await client.close()


async def products(count=10):
    await Product.insert_many(
        [
            Product(name=f"p{i}", price=i, category=Category(name="even" if i % 2 == 0 else "odd"))
            for i in range(count)
        ]
    )


async def test_insert_get_and_events(client):
    product = await Product(name="BIG").insert()
    assert product.name == "big"
    found = await Product.get(product.id)
    assert found == product
    assert found.key == product.key


async def test_find_sort_skip_limit(client):
    await products()
    found = await Product.find(Product.price > 2).sort(-Product.price).skip(1).limit(3).to_list()
    assert [each.name for each in found] == ["p8", "p7", "p6"]
    assert await Product.find(In(Product.name, ["p1", "p2"])).count() == 2
    assert await Product.find_one(Product.category.name == "odd") is not None
    assert await Product.find(Product.name == "none").exists() is False


async def test_async_for_over_many_batches(client):
    await products(500)
    total = 0
    async for each in Product.find_all(batch_size=50):
        total += each.price
    assert total == 124750


async def test_projection(client):
    class Short(BaseModel):
        name: str

    await products(2)
    assert [each.name for each in await Product.find_all().project(Short).to_list()] == ["p0", "p1"]


async def test_updates(client):
    await products(4)
    await Product.find(Product.price < 2).update(Inc({Product.hits: 5}))
    assert await Product.find(Product.hits == 5).count() == 2
    one = await Product.find_one(Product.name == "p3")
    await one.set({Product.price: 30})
    assert (await Product.get(one.id)).price == 30
    await Product.find_one(Product.name == "new").upsert(
        Set({Product.price: 1}), on_insert=Product(name="new")
    )
    assert await Product.find_one(Product.name == "new") is not None


async def test_state_management(client):
    product = await Product(name="state").insert()
    product.hits = 3
    assert product.is_changed
    await product.save_changes()
    assert (await Product.get(product.id)).hits == 3


async def test_replace_save_delete(client):
    product = await Product(name="a").insert()
    product.price = 2
    await product.replace()
    product.price = 4
    await product.save()
    assert (await Product.get(product.id)).price == 4
    await product.delete()
    assert await Product.count() == 0
    await products(3)
    result = await Product.find(Product.price < 2).delete()
    assert result.deleted_count == 2


async def test_duplicate_key(client):
    await Product(name="a").insert()
    with pytest.raises(DuplicateKeyError):
        await Product(name="a").insert()


async def test_aggregate(client):
    await products(4)
    found = await Product.aggregate(
        [{"$group": {"_id": "$category.name", "total": {"$sum": "$price"}}}, {"$sort": {"_id": 1}}],
        projection_model=Total,
    ).to_list()
    assert [(each.id, each.total) for each in found] == [("even", 2), ("odd", 4)]
    assert await Product.find_all().sum(Product.price) == 6
    assert await Product.find_all().avg(Product.price) == 1.5
    assert sorted(await Product.distinct("category.name")) == ["even", "odd"]


async def test_bulk_writer(client):
    async with BulkWriter() as writer:
        await Product.insert_one(Product(name="a"), bulk_writer=writer)
        await Product.insert_one(Product(name="b"), bulk_writer=writer)
    assert await Product.count() == 2


async def test_links(client):
    house = House(name="h", windows=[Window(width=1), Window(width=2)])
    await house.insert(link_rule=WriteRules.WRITE)
    plain = await House.find_one(House.name == "h")
    await plain.fetch_all_links()
    assert [window.width for window in plain.windows] == [1, 2]
    fetched = await House.find_one(House.name == "h", fetch_links=True)
    assert sorted(window.width for window in fetched.windows) == [1, 2]
    person = await Person(name="x", home=house).insert()
    await person.fetch_link(Person.home)
    assert person.home.name == "h"
    await house.delete(link_rule=DeleteRules.DELETE_LINKS)
    assert await Window.count() == 0


async def test_indexes(client):
    names = await Product.get_pymongo_collection().index_information()
    assert names["name_1"]["unique"]
    assert "price_-1_name_1" in names


async def test_transaction(client):
    async with client.start_session() as session:
        async with await session.start_transaction():
            await Product(name="in").insert(session=session)
        assert await Product.find_one(Product.name == "in", session=session) is not None


async def test_first_last_and_find_many_lazy(client):
    await products(3)
    assert (await Product.find_all().sort("price").first_or_none()).name == "p0"
    assert [each async for each in Product.find(lazy_parse=True)] != []


async def test_inspect_collection(client):
    await products(2)
    result = await Product.inspect_collection()
    assert result.status == "OK"


async def test_names_are_there():
    assert all((BackLink, UnionDoc, Cheap))

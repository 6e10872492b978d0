"""Bunnet, the blocking sister of Beanie, as an application uses it."""

from __future__ import annotations

import os

import pymongo
import pytest
from bunnet import Document, Indexed, Link, WriteRules, init_bunnet
from pydantic import BaseModel
from pymongo.errors import DuplicateKeyError

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_bunnet"


class Category(BaseModel):
    name: str


class Product(Document):
    name: Indexed(str, unique=True)  # type: ignore[valid-type]
    price: float = 0.0
    category: Category | None = None
    hits: int = 0

    class Settings:
        name = "products"


class Window(Document):
    width: int


class House(Document):
    name: str
    window: Link[Window]


class Total(BaseModel):
    total: float


@pytest.fixture(autouse=True)
def database():
    with pymongo.MongoClient(URI) as client:
        client.drop_database(DATABASE)
        init_bunnet(database=client[DATABASE], document_models=[Product, Window, House])
        yield client[DATABASE]
        client.drop_database(DATABASE)


def test_insert_and_find():
    product = Product(name="tony", price=5.95, category=Category(name="chocolate"))
    product.insert()
    assert product.id is not None
    found = Product.find_one(Product.name == "tony").run()
    assert found is not None
    assert (found.price, found.category.name) == (5.95, "chocolate")
    assert Product.get(product.id).run() == found
    assert Product.find_one(Product.name == "other").run() is None


def test_a_unique_index_refuses():
    Product(name="one").insert()
    with pytest.raises(DuplicateKeyError):
        Product(name="one").insert()


def test_many_with_sort_skip_and_limit():
    Product.insert_many([Product(name=f"p{n}", price=n) for n in range(20)])
    query = Product.find(Product.price >= 5).sort(-Product.price).skip(2).limit(3)
    assert [each.price for each in query.to_list()] == [17.0, 16.0, 15.0]
    assert Product.find(Product.price < 5).count() == 5
    assert Product.count() == 20


def test_updates():
    Product(name="one", price=1).insert()
    Product.find(Product.name == "one").update({"$inc": {Product.hits: 2}}).run()
    assert Product.find_one(Product.name == "one").run().hits == 2
    product = Product.find_one(Product.name == "one").run()
    product.price = 9
    product.replace()
    product.set({Product.hits: 7})
    found = Product.find_one(Product.name == "one").run()
    assert (found.price, found.hits) == (9.0, 7)


def test_deletes():
    Product.insert_many([Product(name=f"p{n}", price=n) for n in range(4)])
    Product.find_one(Product.name == "p0").run().delete()
    Product.find(Product.price > 1).delete().run()
    assert [each.name for each in Product.find_all().to_list()] == ["p1"]


def test_aggregation():
    Product.insert_many([Product(name=f"p{n}", price=n) for n in range(5)])
    assert Product.find(Product.price > 1).sum(Product.price) == 9.0
    found = Product.aggregate(
        [{"$group": {"_id": None, "total": {"$sum": "$price"}}}], projection_model=Total
    ).to_list()
    assert [each.total for each in found] == [10.0]


def test_links():
    House(name="home", window=Window(width=3)).insert(link_rule=WriteRules.WRITE)
    found = House.find_one(House.name == "home").run()
    found.fetch_all_links()
    assert found.window.width == 3


def test_indexes_are_made(database):
    assert any(each.get("unique") for each in database["products"].list_indexes())

"""Eve: a REST API over collections, as its documentation shows it."""

from __future__ import annotations

import json
import os
from urllib.parse import urlsplit

import eve
import pymongo
import pytest

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_eve"


@pytest.fixture
def client():
    at = urlsplit(URI)
    settings = {
        "MONGO_HOST": at.hostname,
        "MONGO_PORT": at.port or 27017,
        "MONGO_DBNAME": DATABASE,
        "RESOURCE_METHODS": ["GET", "POST", "DELETE"],
        "ITEM_METHODS": ["GET", "PATCH", "PUT", "DELETE"],
        "DOMAIN": {
            "people": {
                "schema": {
                    "firstname": {"type": "string", "minlength": 1, "maxlength": 10},
                    "lastname": {"type": "string", "required": True, "unique": True},
                    "age": {"type": "integer"},
                    "friend": {
                        "type": "objectid",
                        "data_relation": {
                            "resource": "people",
                            "field": "_id",
                            "embeddable": True,
                        },
                    },
                },
                "mongo_indexes": {"by_age": [("age", -1)]},
            }
        },
    }
    with pymongo.MongoClient(URI) as own:
        own.drop_database(DATABASE)
        yield eve.Eve(settings=settings).test_client()
        own.drop_database(DATABASE)


def post(client, **fields):
    answer = client.post("/people", data=json.dumps(fields), content_type="application/json")
    return answer.status_code, answer.get_json()


def test_insert_and_read(client):
    status, made = post(client, firstname="Ada", lastname="Lovelace", age=36)
    assert status == 201
    found = client.get(f"/people/{made['_id']}").get_json()
    assert (found["firstname"], found["age"]) == ("Ada", 36)
    assert found["_etag"] == made["_etag"]


def test_validation(client):
    assert post(client, firstname="Ada")[0] == 422
    assert post(client, lastname="one")[0] == 201
    status, answer = post(client, lastname="one")
    assert status == 422
    assert "not unique" in json.dumps(answer)


def test_queries(client):
    for n in range(30):
        post(client, lastname=f"n{n}", age=n)
    where = json.dumps({"age": {"$gte": 10}})
    found = client.get(f"/people?where={where}&sort=-age&max_results=5&page=2").get_json()
    assert [each["age"] for each in found["_items"]] == [24, 23, 22, 21, 20]
    assert found["_meta"]["total"] == 20
    projected = client.get('/people?projection={"age": 1}&max_results=1').get_json()["_items"][0]
    assert "lastname" not in projected


def test_updates_need_the_etag(client):
    _, made = post(client, lastname="one", age=1)
    url = f"/people/{made['_id']}"
    change = {"data": json.dumps({"age": 2}), "content_type": "application/json"}
    assert client.patch(url, headers={"If-Match": "wrong"}, **change).status_code == 412
    assert client.patch(url, headers={"If-Match": made["_etag"]}, **change).status_code == 200
    assert client.get(url).get_json()["age"] == 2


def test_replace_and_delete(client):
    _, made = post(client, lastname="one", age=1)
    url = f"/people/{made['_id']}"
    replaced = client.put(
        url,
        data=json.dumps({"lastname": "two"}),
        content_type="application/json",
        headers={"If-Match": made["_etag"]},
    )
    assert replaced.status_code == 200
    etag = replaced.get_json()["_etag"]
    assert client.delete(url, headers={"If-Match": etag}).status_code == 204
    assert client.get(url).status_code == 404


def test_embedded_documents(client):
    _, first = post(client, lastname="one")
    _, second = post(client, lastname="two", friend=first["_id"])
    found = client.get(f'/people/{second["_id"]}?embedded={{"friend": 1}}').get_json()
    assert found["friend"]["lastname"] == "one"


def test_bulk_insert_and_delete_all(client):
    many = json.dumps([{"lastname": f"n{n}"} for n in range(5)])
    answer = client.post("/people", data=many, content_type="application/json")
    assert answer.status_code == 201
    assert len(answer.get_json()["_items"]) == 5
    assert client.delete("/people").status_code == 204
    assert client.get("/people").get_json()["_meta"]["total"] == 0


def test_indexes_are_made(client):
    post(client, lastname="one")
    with pymongo.MongoClient(URI) as own:
        assert "by_age" in own[DATABASE]["people"].index_information()

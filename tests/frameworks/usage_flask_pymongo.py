"""Flask-PyMongo, as an application uses it."""

from __future__ import annotations

import io
import json
import os

import flask
import pytest
from bson import ObjectId
from flask_pymongo import ASCENDING, BSONObjectIdConverter, PyMongo
from pymongo.errors import DuplicateKeyError

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017").rstrip("/")
DATABASE = "usage_flask_pymongo"


@pytest.fixture
def mongo():
    app = flask.Flask(__name__)
    mongo = PyMongo(app, uri=f"{URI}/{DATABASE}", tz_aware=True)
    mongo.cx.drop_database(DATABASE)

    @app.get("/page/<ObjectId:identity>")
    def page(identity):
        return flask.jsonify(mongo.db.pages.find_one_or_404({"_id": identity}))

    @app.post("/upload/<name>")
    def upload(name):
        return str(mongo.save_file(name, flask.request.files["file"]))

    @app.get("/file/<name>")
    def file(name):
        return mongo.send_file(name)

    mongo.app = app
    yield mongo
    mongo.cx.drop_database(DATABASE)
    mongo.cx.close()


def test_database_and_collections(mongo):
    identity = mongo.db.pages.insert_one({"title": "x"}).inserted_id
    assert mongo.db.pages.find_one({"_id": identity})["title"] == "x"
    # `pages.sub` by a dot fails in Flask-PyMongo 3.0 itself, with PyMongo 4.9 and later.
    assert mongo.db["pages.sub"].full_name == f"{DATABASE}.pages.sub"
    assert [each["title"] for each in mongo.db.pages.find().sort("title", ASCENDING)] == ["x"]


def test_find_one_or_404_and_json(mongo):
    identity = mongo.db.pages.insert_one({"title": "x"}).inserted_id
    client = mongo.app.test_client()
    answer = client.get(f"/page/{identity}")
    assert json.loads(answer.text) == {"_id": {"$oid": str(identity)}, "title": "x"}
    assert answer.json == {"_id": identity, "title": "x"}
    assert client.get(f"/page/{ObjectId()}").status_code == 404
    assert client.get("/page/no-id").status_code == 404


def test_files(mongo):
    client = mongo.app.test_client()
    content = b"0123456789" * 60_000
    answer = client.post("/upload/a.txt", data={"file": (io.BytesIO(content), "a.txt")})
    assert ObjectId.is_valid(answer.text)
    got = client.get("/file/a.txt")
    assert got.data == content
    assert got.headers["Content-Type"].startswith("text/plain")
    assert client.get("/file/b.txt").status_code == 404
    again = client.get("/file/a.txt", headers={"If-None-Match": got.headers["ETag"]})
    assert again.status_code == 304


def test_delete_file(mongo):
    identity = mongo.save_file("b.bin", io.BytesIO(b"abc"))
    if hasattr(mongo, "delete_file"):
        mongo.delete_file(identity)
        assert mongo.db["fs.files"].count_documents({}) == 0


def test_converter():
    converter = BSONObjectIdConverter({})
    identity = ObjectId()
    assert converter.to_python(str(identity)) == identity
    assert converter.to_url(identity) == str(identity)


def test_errors_are_pymongos(mongo):
    mongo.db.pages.create_index("title", unique=True)
    mongo.db.pages.insert_one({"title": "x"})
    with pytest.raises(DuplicateKeyError):
        mongo.db.pages.insert_one({"title": "x"})


def test_names_with_underscores(mongo):
    with pytest.raises(AttributeError):
        _ = mongo.db._private
    assert "pages" not in mongo.db.list_collection_names()

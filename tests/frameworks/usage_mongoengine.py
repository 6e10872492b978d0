"""MongoEngine, as an application uses it."""

from __future__ import annotations

import datetime
import os
from decimal import Decimal

import mongoengine as me
import pytest
from bson import ObjectId
from pymongo.errors import ServerSelectionTimeoutError

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_mongoengine"


class Address(me.EmbeddedDocument):
    street = me.StringField(required=True)
    city = me.StringField()


class Author(me.Document):
    name = me.StringField(required=True, max_length=50)
    email = me.EmailField(unique=True, sparse=True)
    address = me.EmbeddedDocumentField(Address)


class Post(me.Document):
    title = me.StringField(required=True)
    author = me.ReferenceField(Author, reverse_delete_rule=me.CASCADE)
    tags = me.ListField(me.StringField())
    score = me.IntField(default=0)
    price = me.Decimal128Field()
    written = me.DateTimeField(default=lambda: datetime.datetime(2026, 1, 2, 3, 4, 5))
    extra = me.DictField()
    meta = {"indexes": ["title", ("author", "-written")], "ordering": ["title"]}


class TextPost(me.Document):
    meta = {"allow_inheritance": True}
    text = me.StringField()


class LongPost(TextPost):
    pages = me.IntField()


class Picture(me.Document):
    content = me.FileField()


class Counter(me.Document):
    number = me.SequenceField()


@pytest.fixture(autouse=True)
def connection():
    client = me.connect(DATABASE, host=URI, uuidRepresentation="standard")
    client.drop_database(DATABASE)
    for document in (Author, Post, TextPost, LongPost, Picture, Counter):
        document._collection = None
    yield client
    client.drop_database(DATABASE)
    me.disconnect_all()


def posts(count=10):
    author = Author(name="Ada", address=Address(street="Main", city="X")).save()
    Post.objects.insert(
        [
            Post(title=f"{i:03d}", author=author, score=i, tags=["even" if i % 2 == 0 else "odd"])
            for i in range(count)
        ]
    )
    return author


def test_save_and_reload():
    author = Author(name="Ada", address=Address(street="Main")).save()
    author.name = "Grace"
    author.save()
    assert isinstance(author.id, ObjectId)
    assert Author.objects.get(id=author.id).name == "Grace"
    author.reload()
    assert author.address.street == "Main"


def test_validation():
    with pytest.raises(me.ValidationError):
        Author(name="x" * 51).save()


def test_unique():
    Author(name="a", email="a@example.org").save()
    with pytest.raises(me.NotUniqueError):
        Author(name="b", email="a@example.org").save()


def test_query_operators():
    posts()
    assert Post.objects(score__gte=7).count() == 3
    assert Post.objects(tags__in=["odd"]).count() == 5
    assert Post.objects(title__startswith="00").count() == 10
    assert Post.objects(me.Q(score=1) | me.Q(score=2)).count() == 2
    assert [post.score for post in Post.objects.order_by("-score")[:3]] == [9, 8, 7]
    assert [post.score for post in Post.objects.skip(8)] == [8, 9]


def test_only_exclude_scalar_and_as_pymongo():
    posts(3)
    assert Post.objects.only("title").first().score == 0
    assert list(Post.objects.scalar("score")) == [0, 1, 2]
    assert [each["score"] for each in Post.objects.as_pymongo()] == [0, 1, 2]
    assert Post.objects.exclude("tags").first().tags == []


def test_updates():
    posts(4)
    assert Post.objects(score__lt=2).update(inc__score=10, push__tags="new") == 2
    assert Post.objects(tags="new").count() == 2
    changed = Post.objects(score=2).modify(set__title="two", new=True)
    assert changed.title == "two"
    assert Post.objects(title="none").update_one(set__score=1, upsert=True) is not None
    assert Post.objects(title="none").get().score == 1
    assert Post.objects(score=3).update(full_result=True, set__score=4).modified_count == 1


def test_atomic_updates_of_a_document():
    posts(1)
    post = Post.objects.get()
    post.update(pull__tags="even", set__extra__color="red")
    post.reload()
    assert post.tags == []
    assert post.extra == {"color": "red"}


def test_references_and_select_related():
    author = posts(3)
    assert Post.objects.first().author == author
    assert {post.author.name for post in Post.objects.select_related()} == {"Ada"}
    assert Post.objects.no_dereference().first().author.id == author.id


def test_delete_cascades():
    author = posts(3)
    author.delete()
    assert Post.objects.count() == 0


def test_in_bulk_and_get_or_none():
    posts(3)
    ids = [post.id for post in Post.objects]
    assert set(Post.objects.in_bulk(ids)) == set(ids)
    with pytest.raises(Post.DoesNotExist):
        Post.objects.get(title="no")
    with pytest.raises(Post.MultipleObjectsReturned):
        Post.objects.get(score__gte=0)


def test_aggregate_sum_average_distinct():
    posts(4)
    assert Post.objects.sum("score") == 6
    assert Post.objects.average("score") == 1.5
    assert sorted(Post.objects.distinct("tags")) == ["even", "odd"]
    assert list(Post.objects.aggregate([{"$group": {"_id": None, "n": {"$sum": 1}}}])) == [
        {"_id": None, "n": 4}
    ]


def test_indexes():
    Post.ensure_indexes()
    names = set(Post._get_collection().index_information())
    assert {"title_1", "author_1_written_-1"} <= names
    assert Post.compare_indexes() == {"missing": [], "extra": []}


def test_inheritance():
    TextPost(text="a").save()
    LongPost(text="b", pages=3).save()
    assert TextPost.objects.count() == 2
    assert [type(each) for each in LongPost.objects] == [LongPost]


def test_decimal_and_dates():
    posts(1)
    Post.objects.update(set__price=Decimal("1.10"))
    post = Post.objects.get()
    assert post.price == Decimal("1.10")
    assert post.written == datetime.datetime(2026, 1, 2, 3, 4, 5)


def test_files():
    picture = Picture()
    picture.content.put(b"abc" * 100_000, content_type="image/png", filename="p.png")
    picture.save()
    found = Picture.objects.get(id=picture.id)
    assert found.content.content_type == "image/png"
    assert found.content.read() == b"abc" * 100_000
    found.content.replace(b"new")
    found.save()
    assert Picture.objects.first().content.read() == b"new"
    found.content.delete()
    assert not Picture.objects.first().content.grid_id or found.content.grid_id is None


def test_sequences():
    assert [Counter().save().number for _ in range(3)] == [1, 2, 3]


def test_many_batches():
    posts(1000)
    assert sum(post.score for post in Post.objects.batch_size(50)) == 499500
    assert len(Post.objects) == 1000


def test_context_managers():
    posts(1)
    with me.context_managers.switch_collection(Author, "people") as people:
        people(name="There").save()
    assert Author.objects.count() == 1
    with me.context_managers.query_counter() as counter:
        list(Post.objects)
        assert counter >= 0


def test_json():
    posts(1)
    text = Post.objects.only("title", "score").to_json()
    assert '"title": "000"' in text
    assert Post.from_json(Post.objects.first().to_json()).title == "000"


def test_two_aliases(connection):
    other = me.connect("usage_mongoengine_2", alias="second", host=URI)
    with me.context_managers.switch_db(Author, "second") as author:
        author.drop_collection()
        author(name="there").save()
        assert author.objects.count() == 1
    assert Author.objects.count() == 0
    other.drop_database("usage_mongoengine_2")


def test_nobody_there():
    me.connect("nothing", alias="away", host="mongodb://127.0.0.1:1", serverSelectionTimeoutMS=200)
    with me.context_managers.switch_db(Author, "away") as author:
        with pytest.raises(ServerSelectionTimeoutError):
            author.objects.count()


def test_read_preference_and_hint():
    from pymongo import ReadPreference

    posts(2)
    found = Post.objects.read_preference(ReadPreference.SECONDARY_PREFERRED).hint("title_1")
    assert len(list(found)) == 2


def test_explain_and_timeout():
    posts(2)
    assert isinstance(Post.objects(score=1).explain(), dict)
    assert Post.objects.max_time_ms(10_000).count() == 2

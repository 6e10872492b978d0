"""Django with django-mongodb-backend, as a project uses it."""

from __future__ import annotations

import datetime
import os
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import django
import django_mongodb_backend
import pytest
from django.conf import settings

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017").rstrip("/")
DATABASE = "usage_django"

# The app whose models stand below: relations backwards are of apps that are installed.
usage = ModuleType("usage")
usage.__path__ = [str(Path(__file__).parent)]
sys.modules["usage"] = usage

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django_mongodb_backend",
            "HOST": URI,
            "NAME": DATABASE,
        }
    },
    INSTALLED_APPS=["django_mongodb_backend", "usage"],
    DEFAULT_AUTO_FIELD="django_mongodb_backend.fields.ObjectIdAutoField",
    USE_TZ=True,
)
django.setup()

from django.db import IntegrityError, connection, models  # noqa: E402
from django_mongodb_backend.fields import ArrayField, EmbeddedModelField  # noqa: E402
from django_mongodb_backend.managers import MongoManager  # noqa: E402
from django_mongodb_backend.models import EmbeddedModel  # noqa: E402


class Place(EmbeddedModel):
    city = models.CharField(max_length=30)

    class Meta:
        app_label = "usage"


class Author(models.Model):
    name = models.CharField(max_length=30, unique=True)
    place = EmbeddedModelField(Place, null=True)
    tags = ArrayField(models.CharField(max_length=10), default=list)

    class Meta:
        app_label = "usage"


class Book(models.Model):
    title = models.CharField(max_length=30, db_index=True)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    pages = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal("1.50"))
    printed = models.DateTimeField(
        default=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    )
    key = models.UUIDField(default=uuid.uuid4)
    facts = models.JSONField(default=dict)
    objects = MongoManager()

    class Meta:
        app_label = "usage"


@pytest.fixture(autouse=True)
def database():
    connection.ensure_connection()
    connection.connection.drop_database(DATABASE)
    with connection.schema_editor() as editor:
        editor.create_model(Author)
        editor.create_model(Book)
    yield
    connection.connection.drop_database(DATABASE)


def books(count=6):
    author = Author.objects.create(name="Ada", place=Place(city="X"), tags=["a", "b"])
    Book.objects.bulk_create(
        [Book(title=f"b{i}", author=author, pages=i * 10, facts={"n": i}) for i in range(count)]
    )
    return author


def test_create_and_get():
    author = books()
    book = Book.objects.get(title="b2")
    assert book.author == author
    assert book.price == Decimal("1.50")
    assert book.printed.year == 2026
    assert isinstance(book.key, uuid.UUID)
    assert Author.objects.get().place.city == "X"
    assert Author.objects.get().tags == ["a", "b"]


def test_queries():
    books()
    assert Book.objects.filter(pages__gte=30).count() == 3
    assert Book.objects.exclude(title="b1").order_by("-pages").first().title == "b5"
    assert list(Book.objects.order_by("title").values_list("pages", flat=True)[1:3]) == [10, 20]
    assert Book.objects.filter(models.Q(title="b1") | models.Q(pages=50)).count() == 2
    assert Book.objects.filter(title__in=["b1", "b2"]).exists()
    assert Book.objects.filter(facts__n=3).get().title == "b3"


def test_joins_and_aggregates():
    books()
    assert Book.objects.filter(author__name="Ada").count() == 6
    assert Book.objects.select_related("author").first().author.name == "Ada"
    assert Book.objects.aggregate(total=models.Sum("pages"))["total"] == 150
    annotated = Author.objects.annotate(number=models.Count("books"))
    assert annotated.get().number == 6
    assert [b.title for b in Author.objects.prefetch_related("books").get().books.all()[:1]]


def test_update_and_delete():
    author = books()
    assert Book.objects.filter(pages__lt=20).update(pages=models.F("pages") + 1) == 2
    assert Book.objects.get(title="b0").pages == 1
    book = Book.objects.get(title="b1")
    book.title = "other"
    book.save()
    assert Book.objects.get(pk=book.pk).title == "other"
    author.delete()
    assert Book.objects.count() == 0
    made, created = Author.objects.get_or_create(name="New")
    assert (created, made.pk is None) == (True, False)


def test_unique():
    Author.objects.create(name="x")
    with pytest.raises(IntegrityError):
        Author.objects.create(name="x")


def test_raw_aggregate():
    books()
    found = Book.objects.raw_aggregate([{"$match": {"pages": {"$gt": 30}}}])
    assert sorted(book.title for book in found) == ["b4", "b5"]


def test_introspection():
    names = connection.introspection.table_names()
    assert {"usage_author", "usage_book"} <= set(names)


def test_version():
    assert django_mongodb_backend.__version__

"""The settings for the suite of django-mongodb-backend, whose folder is the current one: its apps
are the folders there, but for those that need GEOS."""

from pathlib import Path

_DATABASE = {
    "ENGINE": "django_mongodb_backend",
    "HOST": "mongodb://localhost:27017",
    "OPTIONS": {"directConnection": True},
}
DATABASES = {
    "default": {**_DATABASE, "NAME": "djangotests"},
    "other": {**_DATABASE, "NAME": "djangotests-other"},
}
_MODELS = sorted(Path().glob("*_/models.py"))
INSTALLED_APPS = [path.parent.name for path in _MODELS if path.parent.name != "gis_tests_"]
DEFAULT_AUTO_FIELD = "django_mongodb_backend.fields.ObjectIdAutoField"
SECRET_KEY = "of a test"  # noqa: S105
USE_TZ = False

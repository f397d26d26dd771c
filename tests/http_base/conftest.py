"""The applications that the tests call: with and without `HotPaths` in front."""

from __future__ import annotations

from functools import partial

import pytest
from django.core.handlers.asgi import ASGIHandler

from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from tests.http_base import views_for_tests
from tests.http_base.asgi_client import call


@pytest.fixture(autouse=True)
def urls_of_the_tests(settings):
    settings.ROOT_URLCONF = "tests.http_base.views_for_tests"


@pytest.fixture
def hot_app():
    return HotPaths(ASGIHandler(), views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies)


@pytest.fixture(params=["hot paths", "django alone"])
def app(request, hot_app):
    return hot_app if request.param == "hot paths" else ASGIHandler()


@pytest.fixture
def send(app):
    return partial(call, app)

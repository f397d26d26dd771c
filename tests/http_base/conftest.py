"""The applications that the tests call: with and without `HotPaths` in front."""

from __future__ import annotations

from functools import partial

import pytest
from django.core.handlers.asgi import ASGIHandler

from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from http_base.threaded_django import ThreadedDjango
from http_base.worker_threads import WorkerThreads
from tests.http_base import views_for_tests
from tests.http_base.asgi_client import call


@pytest.fixture(autouse=True)
def urls_of_the_tests(settings):
    settings.ROOT_URLCONF = "tests.http_base.views_for_tests"


@pytest.fixture(scope="session")
def django():
    threads = WorkerThreads(4, name="request")
    yield ThreadedDjango(ASGIHandler(), threads)
    threads.close()


@pytest.fixture
def hot_app(django):
    return HotPaths(django, views_for_tests.HOT_PATHS, bodies=MemoryBudget().bodies)


@pytest.fixture(params=["hot paths", "django alone"])
def app(request, hot_app, django):
    return hot_app if request.param == "hot paths" else django


@pytest.fixture
def send(app):
    return partial(call, app)

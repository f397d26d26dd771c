"""The ASGI application of a process: hot paths in front, Django with its static files behind."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from http_base.browsers import BrowserRules
from http_base.certificates import CertificateRule
from http_base.forwarded import BehindProxy
from http_base.hotpaths import HotPaths
from http_base.threaded_django import ThreadedDjango
from myqueue.contract.tracing import tracing_of
from queuesite.conf import BROKER, MANAGER, ensure_role

if TYPE_CHECKING:
    from http_base.hotpaths import App
    from http_base.memory_budget import MemoryBudget
    from http_base.worker_threads import WorkerThreads


def make_application(threads: WorkerThreads, *, memory: MemoryBudget) -> App:
    """Return the application for the role of this process.

    Args:
        threads: for requests to views with plain handlers.
        memory: of the process.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "queuesite.settings")
    role = ensure_role(os.environ, MANAGER)
    django_app = ThreadedDjango(ASGIStaticFilesHandler(get_asgi_application()), threads)
    urls = import_module("broker_app.urls" if role == BROKER else "manager_app.urls")
    get_resolver().url_patterns  # noqa: B018 - a first request shall not wait for the imports
    config = settings.QUEUE
    app: App = HotPaths(
        django_app,
        urls.HOT_PATHS,
        urls.JSON_BYTES_MAX,
        bodies=memory.bodies,
        door=urls.DOOR,
        rules=BrowserRules(settings.ALLOWED_HOSTS, config.allowed_hosts, urls.HOT_PATHS),
        slow_ms=config.slow_request_ms,
        tracing=tracing_of(f"queuesite-{role}"),
    )
    if config.tls_client_certs:
        app = CertificateRule(app, config.cluster_secret)
    if config.behind_proxy:
        app = BehindProxy(app)
    return app

"""All pages below `/admin/`: the console's, then those of Django's admin.

The first request for one imports this module, so that no start of a manager waits for them.
"""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

admin.autodiscover()
urlpatterns = [path("", include("manager_app.console.urls")), path("", admin.site.urls)]

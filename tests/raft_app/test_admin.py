"""The read-only pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import path

from raft_app.models import BrokerIdentity, Checkpoint, RaftEntry, RaftGroup

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest
    from django.test import RequestFactory

pytestmark = [
    pytest.mark.django_db(databases=["default", "broker"]),
    pytest.mark.urls(__name__),
]
urlpatterns = [path("admin/", admin.site.urls)]
MODELS = [RaftGroup, RaftEntry, Checkpoint, BrokerIdentity]


@pytest.fixture
def http_request(rf: RequestFactory) -> HttpRequest:
    request = rf.get("/admin/")
    request.user = User(is_staff=True, is_active=True, is_superuser=True)
    return request


@pytest.mark.parametrize("model", MODELS)
def test_even_a_superuser_only_looks(model: type[Model], http_request: HttpRequest) -> None:
    page = admin.site.get_model_admin(model)
    assert page.has_view_permission(http_request)
    assert not page.has_add_permission(http_request)
    for row in (None, model()):
        assert not page.has_change_permission(http_request, row)
        assert not page.has_delete_permission(http_request, row)
    assert "delete_selected" not in page.get_actions(http_request)


@pytest.mark.parametrize("model", MODELS)
def test_list_is_rendered(model: type[Model], http_request: HttpRequest) -> None:
    RaftGroup.objects.create(
        group_id=1,
        replica_id=1,
        topic="orders",
        partition=0,
        term=1,
        vote=0,
        commit=0,
        first_index=1,
        previous_term=0,
        hard_state_crc=0,
        facts_crc=0,
    )
    response = admin.site.get_model_admin(model).changelist_view(http_request)
    assert response.render().status_code == 200


@pytest.mark.parametrize(("model", "column"), [(RaftEntry, "data"), (Checkpoint, "state")])
def test_large_columns_stay_in_the_file(
    model: type[Model], column: str, http_request: HttpRequest
) -> None:
    page = admin.site.get_model_admin(model)
    assert f'"{column}"' not in str(page.get_queryset(http_request).query)
    assert column not in page.get_fields(http_request, model())

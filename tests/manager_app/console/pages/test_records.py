from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db


def test_the_lists_that_one_may_see_are_there(log_in):
    shown = log_in("viewer").get("/admin/records/").content
    assert b"/admin/manager_app/replica/" in shown
    assert b"/admin/manager_app/apitoken/" not in shown
    assert b"/admin/auth/user/" in log_in("superuser").get("/admin/records/").content

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("role", "status"), [("", 403), ("viewer", 200), ("superuser", 200)])
def test_viewers_see_the_overview(log_in, role, status):
    assert log_in(role).get("/admin/").status_code == status

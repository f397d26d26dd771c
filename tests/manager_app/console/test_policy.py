from __future__ import annotations

import re

import pytest

from manager_app.console.policy import POLICY

pytestmark = pytest.mark.django_db

OF_OTHERS = re.compile(rb"""(?:src|href|action)=["']?(?:https?:)?//""")
INLINE = re.compile(rb"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>|\son[a-z]+=")


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/login/", "/admin/records/", "/admin/auth/user/"]
)
def test_pages_load_our_own_files_alone_and_hold_no_script(log_in, path):
    answer = log_in("superuser").get(path)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert not OF_OTHERS.search(answer.content)
    assert not INLINE.search(answer.content)


def test_the_policy_is_of_pages_for_people_alone(client):
    assert "Content-Security-Policy" not in client.get("/schema").headers

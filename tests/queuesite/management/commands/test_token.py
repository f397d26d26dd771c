from __future__ import annotations

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from msgspec.structs import replace

from http_base.access import Role, hash_of
from manager_app.models import ApiToken
from queuesite.conf import MANAGER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ada(settings):
    settings.QUEUE = replace(settings.QUEUE, role=MANAGER)
    settings.DATABASE_ROUTERS = []
    User.objects.create_superuser("ada")


def token(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_token_is_shown_once_and_alone_on_its_line():
    rights = ["--right", "orders.*:produce,consume", "--right", "audit:consume"]
    shown, said = token("create", "ci", "--owner", "ada", "--role", "operator", *rights)
    row = ApiToken.objects.get()
    assert row.hash == hash_of(shown.removesuffix("\n"))
    assert row.role == Role.OPERATOR
    assert "not shown again" in said
    listed, _ = token("list")
    assert listed == (
        "ci\tactive\towner ada\trole operator\taudit:consume\torders.*:produce,consume\n"
    ) or listed == (
        "ci\tactive\towner ada\trole operator\torders.*:produce,consume\taudit:consume\n"
    )
    assert shown.strip() not in listed


def test_what_became_of_tokens_is_listed():
    for name, more in (("good", []), ("gone", []), ("short", ["--days", "1"])):
        token("create", name, "--owner", "ada", *more)
    token("revoke", "gone")
    lines = token("list")[0].splitlines()
    assert [line.split("\t")[1] for line in lines] == ["active", "revoked", "active"]
    assert "expires 2" in lines[2]
    User.objects.update(is_active=False)
    assert "its owner is not active" in token("list")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "x", "--owner", "nobody"],
        ["create", "x", "--owner", "ada", "--right", "orders"],
        ["create", "x", "--owner", "ada", "--right", "orders:read"],
        ["create", "x", "--owner", "ada", "--days", "0"],
        ["create", "x", "--owner", "ada", "--role", "king"],
        ["revoke", "unknown"],
        ["burn"],
    ],
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(CommandError):
        token(*arguments)
    assert not ApiToken.objects.exists()

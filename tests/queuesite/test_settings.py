from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client
from msgspec.structs import replace

from queuesite.settings import postgresql_options


def test_connections_to_postgresql_have_limits_in_seconds_and_milliseconds():
    config = replace(
        settings.QUEUE,
        database_connect_timeout_s=2,
        database_statement_timeout_ms=1_500,
        database_transaction_idle_timeout_ms=7_000,
        database_tcp_timeout_s=20,
    )
    assert postgresql_options(config, {}) == {
        "connect_timeout": 2,
        "tcp_user_timeout": 20_000,
        "keepalives_idle": 8,
        "keepalives_interval": 4,
        "keepalives_count": 3,
        "options": "-c statement_timeout=1500 -c idle_in_transaction_session_timeout=7000",
    }


def test_what_the_url_says_itself_wins_over_the_limits():
    given = {"sslmode": "require", "connect_timeout": "9", "options": "-c statement_timeout=1"}
    made = postgresql_options(settings.QUEUE, given)
    assert (made["sslmode"], made["connect_timeout"]) == ("require", "9")
    assert made["options"].endswith(" -c statement_timeout=1")


@pytest.mark.django_db
def test_form_without_its_token_writes_nothing():
    visitor = Client(enforce_csrf_checks=True)
    assert visitor.post("/admin/login/", {"username": "a", "password": "b"}).status_code == 403

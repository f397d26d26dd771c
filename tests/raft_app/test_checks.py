"""The system checks of the database `broker`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import registry

from raft_app.checks import check_broker_database, durability_errors
from raft_app.storage.database import INIT_COMMAND

SOUND: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
    },
}


def errors_with(**options: Any) -> list[str]:
    database = copy.deepcopy(SOUND)
    database["OPTIONS"].update(options)
    return [error.id for error in durability_errors(database)]


def test_settings_of_this_project_pass() -> None:
    assert "broker" in settings.DATABASES
    assert check_broker_database() == []


def test_check_is_run_by_every_command_that_checks() -> None:
    assert check_broker_database in registry.registry.get_checks()


def test_process_without_the_database_has_nothing_to_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "DATABASES", {"default": {}})
    assert check_broker_database(app_configs=None, databases=None) == []


def test_what_storage_itself_sets_passes() -> None:
    assert errors_with(init_command=INIT_COMMAND) == []


@pytest.mark.parametrize(
    "init_command",
    [
        "pragma journal_mode = wal;pragma synchronous = 2;",
        "PRAGMA main.journal_mode=WAL; PRAGMA main.synchronous=EXTRA",
        "PRAGMA journal_mode('WAL'); PRAGMA synchronous(3)",
    ],
)
def test_every_way_to_write_it_passes(init_command: str) -> None:
    assert errors_with(init_command=init_command) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"init_command": "PRAGMA synchronous=FULL"}, ["raft_app.E002"]),
        (
            {"init_command": "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL"},
            ["raft_app.E002"],
        ),
        (
            {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"},
            ["raft_app.E003"],
        ),
        ({"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}, ["raft_app.E003"]),
        (
            {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                " PRAGMA synchronous=1"
            },
            ["raft_app.E003"],
        ),
        ({"transaction_mode": None}, ["raft_app.E004"]),
        ({"transaction_mode": "DEFERRED"}, ["raft_app.E004"]),
        (
            {"init_command": "", "transaction_mode": None},
            ["raft_app.E002", "raft_app.E003", "raft_app.E004"],
        ),
    ],
)
def test_weaker_durability_is_refused(options: dict[str, Any], expected: list[str]) -> None:
    assert errors_with(**options) == expected


def test_other_database_than_sqlite_is_refused() -> None:
    [error] = durability_errors({"ENGINE": "django.db.backends.postgresql"})
    assert error.id == "raft_app.E001"

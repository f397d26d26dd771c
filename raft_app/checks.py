"""System checks that refuse settings of the database `broker` under which data could be lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

if TYPE_CHECKING:
    from collections.abc import Mapping

BROKER_ALIAS = "broker"
_PRAGMA = re.compile(r"^\s*PRAGMA\s+(?:\w+\.)?(\w+)\s*(?:=\s*|\(\s*)['\"]?(\w+)", re.IGNORECASE)
_FULL_OR_MORE = frozenset({"FULL", "2", "EXTRA", "3"})


def register_checks() -> None:
    """Make `manage.py check` and every command that checks first run them."""
    register(check_broker_database)


def check_broker_database(**_: object) -> list[CheckMessage]:
    """Check the alias `broker`; a process without it (a manager) has nothing to check."""
    database = settings.DATABASES.get(BROKER_ALIAS)
    return [] if database is None else durability_errors(database)


def durability_errors(database: Mapping[str, Any]) -> list[CheckMessage]:
    """Return what is weaker than WAL, synchronous FULL and IMMEDIATE transactions.

    Args:
        database: one value of the setting `DATABASES`.
    """
    if database.get("ENGINE") != "django.db.backends.sqlite3":
        return [
            Error(
                f"The database '{BROKER_ALIAS}' must be SQLite, not {database.get('ENGINE')!r}.",
                hint="A broker's log lies in one SQLite file in its own data directory.",
                id="raft_app.E001",
            )
        ]
    options = database.get("OPTIONS", {})
    pragmas = _pragmas(options.get("init_command", ""))
    errors: list[CheckMessage] = []
    if pragmas.get("journal_mode") != "WAL":
        errors.append(
            Error(
                f"The database '{BROKER_ALIAS}' must use journal_mode WAL.",
                hint="Put PRAGMA journal_mode=WAL into OPTIONS['init_command'].",
                id="raft_app.E002",
            )
        )
    if pragmas.get("synchronous") not in _FULL_OR_MORE:
        errors.append(
            Error(
                f"The database '{BROKER_ALIAS}' must use synchronous FULL: with less, what was"
                " acknowledged can be lost.",
                hint="Put PRAGMA synchronous=FULL into OPTIONS['init_command'].",
                id="raft_app.E003",
            )
        )
    if str(options.get("transaction_mode") or "").upper() != "IMMEDIATE":
        errors.append(
            Error(
                f"The database '{BROKER_ALIAS}' must use IMMEDIATE transactions.",
                hint="Set OPTIONS['transaction_mode'] to 'IMMEDIATE'.",
                id="raft_app.E004",
            )
        )
    return errors


def _pragmas(init_command: str) -> dict[str, str]:
    """Return the pragmas that the commands set: lower-case name to upper-case value."""
    found = (_PRAGMA.match(command) for command in init_command.split(";"))
    return {match[1].lower(): match[2].upper() for match in found if match}

"""What a test changes in the database of a manager that runs, as nobody else would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app.services.cluster import fenced

if TYPE_CHECKING:
    from django.db.models import QuerySet


def change(rows: QuerySet, **fields) -> int:  # type: ignore[type-arg]
    """Store fields of rows; return how many there are."""
    with fenced():
        return rows.update(**fields)

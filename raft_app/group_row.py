"""Changes to the row of a local replica beside its hard state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_app import models

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


def read_group_row(cursor: CursorWrapper, alias: str, group_id: int) -> models.RaftGroup:
    """Return the row."""
    return models.RaftGroup.objects.using(alias).get(group_id=group_id)


def change_group(row: models.RaftGroup, alias: str, **columns: Any) -> None:
    """Store other values in some columns of a row."""
    for name, value in columns.items():
        setattr(row, name, value)
    row.save(using=alias, update_fields=list(columns))

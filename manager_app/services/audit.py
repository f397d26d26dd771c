"""The audit log: what people changed that is not to be seen in what is stored now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app.models import AuditEntry
from manager_app.services.cluster import fenced

if TYPE_CHECKING:
    from typing import Any

ENTRIES_MAX = 10_000
"""Newest entries that are kept."""


def audit_store(entry: AuditEntry, **details: Any) -> None:
    """Store an entry, new or again, with more details; the oldest beyond the limit go."""
    entry.details = {**entry.details, **details}
    with fenced():
        entry.save()
        AuditEntry.objects.filter(pk__lte=entry.pk - ENTRIES_MAX).delete()

"""The fence of the metadata: each connection refuses to write them without the primary's lease.

`services.cluster.fenced` and `metadata_bump` put it up. Needs no table: a broker's process, which
has none of the metadata, can import it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from django.db.backends.base.base import BaseDatabaseWrapper

_epoch_of_process: Callable[[], int] | None = None
_FENCE = "queue_fence"
"""Attribute of a connection: the outermost `atomic` block that holds the epoch."""
_METADATA_WRITE = re.compile(
    r'\s*(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM) "(manager_app_(?!(?:cluster|event)")\w+)"'
)


def write_under(epoch: Callable[[], int] | None) -> None:
    """Let this process write metadata under the epoch that is returned at the time.

    Args:
        epoch: of the lease that this process acts under; raises `ReadOnlyManager` without one.
            None, as in a process that is no manager: writes are not fenced.
    """
    global _epoch_of_process
    _epoch_of_process = epoch


def expected_epoch() -> int | None:
    """Return the epoch that this process writes under; None where writes are not fenced.

    Raises:
        ReadOnlyManager: this process has none: another manager is the primary.
    """
    return None if _epoch_of_process is None else _epoch_of_process()


def note_fence() -> None:
    """Note that this thread's transaction holds the epoch."""
    if connection.atomic_blocks:
        setattr(connection, _FENCE, connection.atomic_blocks[0])


def guard(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Let no statement of a new connection write metadata outside a fence."""
    if _refuse_unfenced not in connection.execute_wrappers:
        connection.execute_wrappers.append(_refuse_unfenced)


def _refuse_unfenced(execute: Callable[..., Any], *statement: Any) -> Any:
    """Carry a statement out; an unfenced write is a bug: a take-over might come before it."""
    if _epoch_of_process is not None:
        wrapper = statement[3]["connection"]
        blocks = wrapper.atomic_blocks
        is_fenced = bool(blocks) and getattr(wrapper, _FENCE, None) is blocks[0]
        if not is_fenced and (written := _METADATA_WRITE.match(statement[0])):
            raise RuntimeError(f"{written[1]} is written outside of a fence")
    return execute(*statement)

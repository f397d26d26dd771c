"""What a failed call may say of its outcome: whether its thread wrote to the database before."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATABASE_FAILURES = (OperationalError, InterfaceError)
"""What is raised when the database cannot be used, rather than when it was used wrongly."""
_WRITES = ("INSERT", "UPDATE", "DELETE")


class NothingWritten(OperationalError):
    """The database could not be used, and nothing had been written: the call did not happen."""


class WriteWatch:
    """Notes whether anything may have been stored."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.wrote = False

    def __call__(self, execute: Callable[..., Any], *statement: Any) -> Any:
        """Carry a statement out; one that fails inside a transaction stored nothing."""
        sql, _, _, context = statement
        writes = sql.lstrip()[:6].upper() in _WRITES
        if writes and not context["connection"].in_atomic_block:
            self.wrote = True
        result = execute(*statement)
        self.wrote |= writes
        return result

    def judge(self, error: Exception) -> Exception:
        """Return the error to answer: `NothingWritten` for a database that failed, if it holds."""
        if not isinstance(error, DATABASE_FAILURES):
            return error
        judged = (OperationalError if self.wrote else NothingWritten)(*error.args)
        judged.__cause__ = error
        return judged


@contextmanager
def write_watch() -> Iterator[WriteWatch]:
    """Watch the statements of this thread."""
    watch = WriteWatch()
    with connection.execute_wrapper(watch):
        yield watch

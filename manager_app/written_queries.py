"""Queries whose SQL Django writes once, for what is read again and again.

Django makes the SQL of a query set anew each time it is read, which takes it longer than SQLite
takes to find fifty rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet


class WrittenQuery:
    """A query that depends on some values and gives tuples."""

    def __init__(self, make: Callable[..., QuerySet[Any, Any]]) -> None:
        """Write nothing yet.

        Args:
            make: values -> query set of tuples (`values_list`). The values have to be all of its
                parameters, in that order, and none of them None.
        """
        self._make = make
        self._sql = ""

    def rows(self, *values: int | str) -> list[tuple[Any, ...]]:
        """Return what the query finds now, as the database's driver has it.

        So a boolean is 0 or 1 on SQLite.
        """
        if not self._sql:
            sql, parameters = self._make(*values).query.sql_with_params()
            assert tuple(parameters) == values, f"{parameters} are not the values alone"
            self._sql = sql
        with connection.cursor() as cursor:
            cursor.execute(self._sql, values)
            return list(cursor.fetchall())

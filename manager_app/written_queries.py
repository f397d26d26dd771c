"""Queries and updates whose SQL Django writes once, for what is done again and again.

Django makes the SQL of a query set anew each time it is read, which takes it longer than SQLite
takes to find fifty rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import connection, connections, router
from django.db.models import Model
from django.db.models.sql import UpdateQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.db.models import QuerySet
    from django.db.models.sql.compiler import SQLCompiler

_M = TypeVar("_M", bound=Model)


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
            query = self._make(*values).query
            self._sql = _written(query.get_compiler(connection=connection), values)
        with connection.cursor() as cursor:
            cursor.execute(self._sql, values)
            return list(cursor.fetchall())


class WrittenGet(Generic[_M]):
    """A query that depends on some values and gives the one model that has them."""

    def __init__(self, make: Callable[..., QuerySet[_M]]) -> None:
        """Write nothing yet.

        Args:
            make: values -> query set of models with all their columns; for the values see
                `WrittenQuery`.
        """
        self._make = make
        self._sql = ""

    def get(self, *values: int | str) -> _M:
        """Return the model.

        Raises:
            django.core.exceptions.ObjectDoesNotExist: there is none, as the model's own kind.
        """
        if not self._sql:
            self._write(values)
        with connection.cursor() as cursor:
            cursor.execute(self._sql, values)
            found = cursor.fetchone()
        if found is None:
            raise self._model.DoesNotExist  # type: ignore[attr-defined]  # each model has its own
        row = list(found)
        for place, (converters, column) in self._converters.items():
            for convert in converters:
                row[place] = convert(row[place], column, connection)
        return self._model.from_db(connection.alias, self._names, row)

    def _write(self, values: tuple[int | str, ...]) -> None:
        rows = self._make(*values)
        compiler = rows.query.get_compiler(connection=connection)
        sql = _written(compiler, values)
        columns = [column for column, _, _ in compiler.select]
        self._model = rows.model
        self._names = [column.target.attname for column in columns]
        self._converters = compiler.get_converters(columns)
        self._sql = sql


class WrittenUpdate:
    """An update that depends on some values."""

    def __init__(
        self,
        model: type[Model],
        make: Callable[..., tuple[QuerySet[Any], Mapping[str, Any]]],
    ) -> None:
        """Write nothing yet.

        Args:
            model: whose rows it changes.
            make: values -> the rows to change, and what `update` is given for them by name. The
                values have to be all parameters, those of the changes first, and none of them None.
        """
        self._model = model
        self._make = make
        self._sql = ""

    def count(self, *values: int | str) -> int:
        """Change what is to be changed, and return how many rows that were.

        Raises:
            ReadOnlyManager: nothing may be written here, as the router says.
        """
        own = connections[router.db_for_write(self._model)]
        if not self._sql:
            rows, changes = self._make(*values)
            query: Any = rows.query.chain(UpdateQuery)  # Django says that it stays what it is
            query.add_update_values(changes)
            self._sql = _written(query.get_compiler(connection=own), values)
        with own.cursor() as cursor:
            cursor.execute(self._sql, values)
            return int(cursor.rowcount)


def _written(compiler: SQLCompiler, values: tuple[int | str, ...]) -> str:
    """Return the SQL of a statement whose parameters are these values alone."""
    sql, parameters = compiler.as_sql()
    assert tuple(parameters) == values, f"{parameters} are not the values alone"
    return sql

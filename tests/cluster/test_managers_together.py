"""Managers that start at the same moment over one empty PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest

from tests.cluster.rounds import MANY
from tests.cluster.terminals import Terminals, free_port
from tests.manager_app.postgres import required_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.postgres]

MANAGERS = 3
ROUNDS = 2 if MANY else 1


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the URL of a database on a server of this module."""
    with required_postgres() as url:
        yield url


def empty_database(server: str, name: str) -> str:
    """Make a database and return its URL."""
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return f"{server.rpartition('/')[0]}/{name}"


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_managers_that_start_together_all_start(tmp_path: Path, server: str, round_: int) -> None:
    terminals = Terminals(tmp_path)
    url = empty_database(server, f"together{round_}")
    try:
        numbers = [
            terminals.start("manager", QUEUE_PORT=free_port(), QUEUE_DATABASE_URL=url)
            for _ in range(MANAGERS)
        ]
        for number in numbers:
            terminals.wait_ready(number)
        told = [terminals.log(number).count("(shown once)") for number in numbers]
        assert sorted(told) == [0, 0, 1]
        wrong = {
            "QUEUE_DATABASE_URL": url,
            "QUEUE_CLUSTER_SECRET": "the secret of some other cluster",
        }
        if round_ == 0:
            for options in ((), ("-r",)):
                line = terminals.refused("manager", *options, QUEUE_PORT=free_port(), **wrong)
                assert "QUEUE_CLUSTER_SECRET" in line
    finally:
        terminals.stop()

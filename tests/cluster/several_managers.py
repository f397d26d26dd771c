"""Managers on one PostgreSQL, with brokers, each a process that the test kills, stops and wakes."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import psycopg2
import requests

from tests.cluster.fault_cluster import SECRET, ServerUnderTest
from tests.cluster.processes import ROOT, inherited, wait_until
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.manager_app.postgres import PostgresServer

LEFT_OUT = "manager_app_cluster"
"""The lease itself: a take-over writes it before its epoch counts."""
WITNESS = """
CREATE TABLE witness (at timestamptz DEFAULT clock_timestamp(), who text, holder text, what text);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness (who, holder, what)
    SELECT current_setting('application_name'), primary_address, TG_OP || ' ' || TG_TABLE_NAME
    FROM manager_app_cluster;
    RETURN NULL;
END $$;
"""
"""Notes in the transaction of each write of metadata who writes, and who the primary is."""


SWAP = (
    "ALTER DATABASE postgres ALLOW_CONNECTIONS false",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'",
    "ALTER DATABASE postgres RENAME TO before",
    "ALTER DATABASE restored RENAME TO postgres",
    "ALTER DATABASE before ALLOW_CONNECTIONS true",
)


class SeveralManagers:
    """Three managers and three brokers; who is the primary changes with what a test does."""

    def __init__(self, directory: Path, server: PostgresServer) -> None:
        """Make the cluster on an empty database; entering it starts it."""
        self.server = server
        self.directory = directory
        ports = free_ports(9)
        self.managers = [self._manager(number, ports[number]) for number in range(3)]
        self.brokers = [
            self._broker(number, *ports[3 + 2 * number : 5 + 2 * number]) for number in range(3)
        ]
        for one in self.managers:
            one.environment["QUEUE_MANAGER_ADDRESS"] = self.address

    def _manager(self, number: int, port: int) -> ServerUnderTest:
        variables = {
            "QUEUE_DATABASE_URL": self.server.url,
            # PostgreSQL's library takes it from here: whose connection it is.
            "PGAPPNAME": f"http://127.0.0.1:{port}",
            "QUEUE_DISK_RESERVE_BYTES": "0",
        }
        return ServerUnderTest("manager", self.directory / f"manager-{number}", port, variables)

    def _broker(self, number: int, port: int, raft_port: int) -> ServerUnderTest:
        variables = {
            "QUEUE_RAFT_PORT": str(raft_port),
            "QUEUE_MANAGER_ADDRESS": self.address,
            "QUEUE_DISK_RESERVE_BYTES": "0",
        }
        return ServerUnderTest("broker", self.directory / f"broker-{number}", port, variables)

    def __enter__(self) -> Self:
        try:
            self.start((*self.managers, *self.brokers))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self.brokers, *self.managers):
            if one.runs:
                one.signal(signal.SIGCONT)
                one.kill()

    def start(self, servers: Iterable[ServerUnderTest]) -> None:
        """Start servers at once, and wait until each is ready."""
        servers = list(servers)
        for one in servers:
            one.launch()
        for one in servers:
            one.wait_healthy()
        for one in servers:
            wait_until(lambda of=one: is_ready(of.address), what=f"{one.address} is ready")

    def add_broker(self) -> ServerUnderTest:
        """Start a further broker; the caller waits for it."""
        broker = self._broker(len(self.brokers), *free_ports(2))
        self.brokers.append(broker)
        broker.launch()
        return broker

    @property
    def address(self) -> str:
        """Addresses of all managers, as a client is given them."""
        return ",".join(one.address for one in self.managers)

    @property
    def pids(self) -> list[int]:
        """Pids of all that run."""
        return [one.pid for one in (*self.managers, *self.brokers) if one.runs]

    def others(self, than: ServerUnderTest) -> list[ServerUnderTest]:
        """Return the managers but one."""
        return [one for one in self.managers if one is not than]

    def primary(self) -> ServerUnderTest | None:
        """Return who is the primary by the database; None while nobody is."""
        [(address,)] = self.stored("SELECT primary_address FROM manager_app_cluster")
        return next((one for one in self.managers if one.address == address), None)

    def stored(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Return the rows that a statement finds in the database."""
        with (
            closing(psycopg2.connect(self.server.url_of(database), connect_timeout=10)) as made,
            made.cursor() as cursor,
        ):
            cursor.execute(statement)
            return list(cursor.fetchall())

    def restore(self, dump: Path) -> None:
        """Put the database of a dump into the place of the present one, which is `before` then.

        As the how-to page says: it is restored beside, made ready, and then takes the name.
        """
        self.server.run("createdb", "restored")
        self.server.run("pg_restore", "-d", "restored", str(dump))
        environment = {
            "QUEUE_DATABASE_URL": self.server.url_of("restored"),
            "QUEUE_CLUSTER_SECRET": SECRET,
        }
        subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "restored"],
            env={**inherited(), **environment, "QUEUE_ROLE": "manager"},
            cwd=self.directory,
            check=True,
            capture_output=True,
        )
        with closing(psycopg2.connect(self.server.url_of("template1"))) as made:
            made.autocommit = True
            for statement in SWAP:
                made.cursor().execute(statement)

    def watch_writes(self) -> None:
        """From now on note who writes metadata, and who is the primary then."""
        with closing(psycopg2.connect(self.server.url)) as made, made, made.cursor() as cursor:
            cursor.execute(WITNESS)
            cursor.execute(
                "SELECT tablename FROM pg_tables WHERE tablename LIKE 'manager\\_app\\_%'"
            )
            for (table,) in cursor.fetchall():
                if table != LEFT_OUT:
                    cursor.execute(
                        f"CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON {table}"
                        " FOR EACH STATEMENT EXECUTE FUNCTION witness()"
                    )

    def manager_logs(self) -> str:
        """Return all that the managers printed."""
        paths = [one.directory.with_suffix(".log") for one in self.managers]
        return "".join(path.read_text(errors="replace") for path in paths)

    def foreign_writes(self) -> list[tuple[Any, ...]]:
        """Return the writes of metadata that were not the primary's at the time."""
        return self.stored("SELECT at, who, holder, what FROM witness WHERE who <> holder")


def is_ready(address: str) -> bool:
    """Tell whether a server says that it is ready."""
    try:
        return requests.get(f"{address}/readyz", timeout=2).ok
    except requests.RequestException:
        return False

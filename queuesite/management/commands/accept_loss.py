"""`manage.py accept-loss`: let a partition that lost its quorum go on with what is left."""

from __future__ import annotations

import asyncio
import getpass
import socket
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from http_base.cluster_http import CallFailed, ClusterCall, ClusterHttp
from manager_app.answers import PartitionLoss, TopicDetail, TopicList
from myqueue.contract.errors import QueueError
from myqueue.contract.inputs import JSON, MAX_PAGE
from queuesite.conf import ConfigError, read_secret, secret_places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

CALL_TIMEOUT_S = 60.0
"""Longer than a manager waits for the brokers."""
LEADERLESS = ("no leader", "no healthy replica")
"""Conditions of partitions."""

T = TypeVar("T")


class Command(BaseCommand):
    """Asks a manager what would be lost, then a person, then has it done."""

    help = (
        "Let a partition that no majority of its replicas can lead any more, as after a restored"
        " backup, go on with what one replica has. Messages that others had are lost. The manager"
        " keeps who accepted it, when, and which offsets."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument("topic", nargs="?")
        parser.add_argument("partition", type=int, nargs="?")
        parser.add_argument(
            "--all", action="store_true", help="of all partitions that no replica can lead"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--manager", default="", metavar="ADDRESS", help="of a manager (http://127.0.0.1:PORT)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Show what is lost, ask, and let the manager do it."""
        one = options["topic"], options["partition"]
        if options["all"] is not (one == (None, None)) or (None in one and not options["all"]):
            raise CommandError("name a topic and a partition, or say --all", returncode=2)
        config = settings.QUEUE
        scheme = "https" if config.tls_cert else "http"
        address = (options["manager"] or f"{scheme}://127.0.0.1:{config.port}").rstrip("/")
        try:
            secret = config.cluster_secret or read_secret(secret_places(config.data_dir))
        except ConfigError as error:
            raise CommandError(str(error), returncode=2) from error
        if not secret:
            raise CommandError(
                f"no secret of the cluster: set QUEUE_CLUSTER_SECRET, or QUEUE_DATA_DIR to where"
                f" {config.data_dir} should have it",
                returncode=2,
            )
        manager = _Manager(address, secret)
        for topic, partition in manager.leaderless() if options["all"] else [one]:
            self._accept(manager, topic, partition, asks=not options["yes"])

    def _accept(self, manager: _Manager, topic: str, partition: int, *, asks: bool) -> None:
        path = f"/topics/{topic}/partitions/{partition}/loss"
        loss = manager.call(ClusterCall("GET", path, accept=JSON), PartitionLoss)
        self.stdout.write(f"{topic}/{partition}:")
        self._show(loss)
        if asks and not loss.accepted and not self._is_sure(f"{topic}/{partition}"):
            raise CommandError("nothing was changed", returncode=1)
        by = f"{getpass.getuser()}@{socket.gethostname()}"
        done = manager.call(ClusterCall("POST", path, body={"by": by}, accept=JSON), PartitionLoss)
        self.stdout.write(
            f"accepted: it goes on with replica {done.replica_id} on broker {done.broker_id}, and"
            f" new messages begin at offset {done.next_offset}"
        )

    def _show(self, loss: PartitionLoss) -> None:
        for one in loss.replicas:
            end = "?" if one.end_offset is None else one.end_offset
            self.stdout.write(
                f"replica {one.replica_id} on broker {one.broker_id}: messages before {end}, once"
                f" reported {one.kept_offset}; {one.fault or 'sound'}"
            )
        lost = loss.known_offset - loss.end_offset
        what = f"{lost} messages from offset {loss.end_offset} to {loss.known_offset - 1}, and all"
        self.stdout.write(
            f"going on with replica {loss.replica_id} on broker {loss.broker_id} loses"
            f" {what if lost else 'all'} that were acknowledged after the last report"
        )

    def _is_sure(self, where: str) -> bool:
        try:
            said = input(f"Accept that for good? Type {where} to go on: ")
        except EOFError:
            return False
        return said.strip() == where


class _Manager:
    """A manager, asked with the cluster's secret."""

    def __init__(self, address: str, secret: str) -> None:
        self._address = address
        self._secret = secret

    def call(self, call: ClusterCall, kind: type[T]) -> T:
        """Make a call and return its answer.

        Raises:
            CommandError: it was refused, or no manager answered.
        """

        async def ask() -> T:
            http = ClusterHttp(self._secret, tls=settings.QUEUE.tls)
            try:
                return (await http.call(self._address, call, timeout_s=CALL_TIMEOUT_S)).read(kind)
            finally:
                await http.close()

        try:
            return asyncio.run(ask())
        except (QueueError, CallFailed) as error:
            raise CommandError(f"the manager at {self._address}: {error}", returncode=1) from error

    def leaderless(self) -> Iterator[tuple[str, int]]:
        """Yield the partitions that have no leader now, topic by topic."""
        after: str | None = ""
        while after is not None:
            path = f"/topics?{urlencode({'limit': MAX_PAGE, 'after': after})}"
            page = self.call(ClusterCall("GET", path, accept=JSON), TopicList)
            for topic in page.topics:
                path = f"/topics/{topic}"
                told = self.call(ClusterCall("GET", path, accept=JSON), TopicDetail)
                for one in told.partitions:
                    if one.condition in LEADERLESS:
                        yield told.topic, one.partition
            after = page.next

"""A broker's link to the managers: it registers, reports, and takes orders.

Nothing in a broker waits for a manager but the very first start, which needs a broker id. Reports
go out at every heartbeat, with what changed since the one before, and at once when leadership
moves, with short signs of life between; the answers carry orders. Orders are carried out beside the
reports, so that a broker that is busy with long ones is not taken for dead.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from broker_app.links.report_memory import ReportMemory
from http_base.cluster import BrokerOrders, BrokerReport
from http_base.cluster_http import CallFailed, ClusterCall, ClusterHttp, Unreadable
from http_base.tasks import cancel, spawn
from myqueue.contract.errors import ManagerNotFound, QueueError, TopicAlreadyExists
from myqueue.contract.inputs import JSON

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from http_base.tls import Tls

logger = logging.getLogger(__name__)

REPORT_TIMEOUT_SECONDS = 5.0
"""For one manager to answer one call."""
RETRY_SECONDS = 0.5
"""Pause after a report that no manager took."""
NUMBER_BITS = 48
"""Of the random number of a process's first report; a database keeps 63."""
GATHER_SECONDS = 0.01
"""Leadership changes within this time go out in one report."""

_Answer = TypeVar("_Answer")


class _Leader(msgspec.Struct):
    address: str


class _Partition(msgspec.Struct):
    partition: int
    leader: _Leader | None = None


class _Topic(msgspec.Struct):
    partitions: list[_Partition]


class ManagerContact(Protocol):
    """The link to the managers."""

    last_contact: float | None
    """Loop time of the last report that a manager took."""

    def heartbeat(self) -> None:
        """Send a report soon; called in the loop."""

    def sign(self, moved: Iterable[int] = ()) -> None:
        """Send a sign of life soon that names the replicas of these groups; called in the loop."""

    async def topic_leaders(self, topic: str) -> list[str | None]:
        """Return the address of each partition's leader, None where there is none.

        Raises:
            TopicDoesNotExist: there is no such topic.
            QueueError: no manager answers, or one refuses.
        """

    async def topic_create(self, topic: str, partitions: int, replication_factor: int) -> None:
        """Create a topic; an existing one is no error.

        Raises:
            QueueError: no manager answers, or one refuses.
        """


class ManagerLink:
    """Sends reports to the first manager that takes them; lives in the engine's loop."""

    def __init__(self, addresses: Sequence[str], secret: str, *, tls: Tls | None = None) -> None:
        """Make a link.

        Args:
            addresses: `http://host:port` of managers, tried in turn.
            secret: the cluster's; proves that a broker is one of it.
            tls: of this process.
        """
        self._addresses = list(addresses)
        self._http = ClusterHttp(secret, tls=tls)
        self._wake = asyncio.Event()
        self._memory = ReportMemory(secrets.randbits(NUMBER_BITS))
        self._full_wanted = False
        self._changed_groups: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._orders: dict[bool, BrokerOrders] = {}
        """What is to be carried out, by whether a full report was answered; the oldest first."""
        self._ordered = asyncio.Event()
        self.last_contact: float | None = None
        """Loop time of the last report that was taken."""

    async def send(self, report: BrokerReport) -> BrokerOrders:
        """Send one report and return the orders of the manager that took it.

        Raises:
            ManagerNotFound: no manager gave an answer that can be read.
            QueueError: the last manager asked refused it, with this error.
        """
        call = ClusterCall("POST", "/brokers/heartbeat", body=report, accept=JSON)
        orders = await self._ask(call, BrokerOrders)
        self.last_contact = asyncio.get_running_loop().time()
        return orders

    async def topic_leaders(self, topic: str) -> list[str | None]:
        """Return the address of each partition's leader, None where there is none.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered.
            QueueError: the last manager asked refused.
        """
        described = await self._ask(ClusterCall("GET", f"/topics/{topic}", accept=JSON), _Topic)
        partitions = sorted(described.partitions, key=lambda one: one.partition)
        return [one.leader.address if one.leader is not None else None for one in partitions]

    async def topic_create(self, topic: str, partitions: int, replication_factor: int) -> None:
        """Create a topic; an existing one is no error.

        Raises:
            ManagerNotFound: no manager answered.
            QueueError: the last manager asked refused.
        """
        wanted = {
            "topic": topic,
            "number_of_partitions": partitions,
            "replication_factor": replication_factor,
        }
        with suppress(TopicAlreadyExists):
            call = ClusterCall("POST", "/topics", body=wanted, accept=JSON)
            await self._ask(call, dict[str, object])

    async def _ask(self, call: ClusterCall, answer_type: type[_Answer]) -> _Answer:
        """Call managers in turn and return the answer of the first that takes it.

        Raises:
            ManagerNotFound: no manager gave an answer that can be read.
            QueueError: the last manager asked refused, with this error.
        """
        refusal: QueueError | None = None
        for address in list(self._addresses):
            try:
                answered = await self._http.call(address, call, timeout_s=REPORT_TIMEOUT_SECONDS)
                answer = answered.read(answer_type)
            except Unreadable as error:
                refusal = ManagerNotFound(
                    f"the answer of the manager at {address} cannot be read: {error.__cause__}"
                )
            except CallFailed as error:
                logger.debug("no manager answers %s %s: %s", call.method, call.path, error)
            except QueueError as error:
                refusal = error
            else:
                self._prefer(address)
                return answer
        raise refusal or ManagerNotFound(f"no manager answers at {', '.join(self._addresses)}")

    async def join(self, report: BrokerReport) -> BrokerOrders:
        """Send a report until a manager takes it: the first start of a broker.

        Raises:
            QueueError: a manager refused this broker for good.
        """
        told = False
        while True:
            try:
                return await self.send(report)
            except QueueError as error:
                if not error.retriable and not isinstance(error, ManagerNotFound):
                    raise
                if not told:
                    logger.warning("waiting for a manager: %s", error.message)
                    told = True
            await asyncio.sleep(RETRY_SECONDS)

    def start(
        self,
        make_report: Callable[[bool, frozenset[int]], BrokerReport],
        take_orders: Callable[[BrokerOrders], Awaitable[None]],
        *,
        learn: Callable[[BrokerOrders], None] = lambda _: None,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Report from now on whenever it is asked for.

        Args:
            make_report: makes a report of the replicas that have changed since it was last called
                so, with what is gone, or of those of the given groups.
            take_orders: carries out what one answer says, and may take its time; must be
                idempotent, for what is not done by then a later answer orders again.
            learn: told each answer as soon as it comes.
            on_failure: told when the link broke by a bug: a broker without it must not go on.
        """
        self._tasks = [
            spawn("reporting to a manager", self._run(make_report, learn), on_failure=on_failure),
            spawn("taking orders", self._carry_out(take_orders), on_failure=on_failure),
        ]

    def heartbeat(self) -> None:
        """Send a full report soon."""
        self._full_wanted = True
        self._wake.set()

    def sign(self, moved: Iterable[int] = ()) -> None:
        """Send a report soon; it names the replicas of these groups, unless more is due."""
        self._changed_groups.update(moved)
        self._wake.set()

    def leadership_changed(self, group_id: int) -> None:
        """Report the replica of a group soon: its leader has changed."""
        self._changed_groups.add(group_id)
        self._wake.set()

    async def stop(self) -> None:
        """End the link; a report and orders under way are given up."""
        await cancel(self._tasks)
        await self._http.close()

    async def _run(
        self,
        make_report: Callable[[bool, frozenset[int]], BrokerReport],
        learn: Callable[[BrokerOrders], None],
    ) -> None:
        """Send the reports that are due, one at a time, until it is cancelled."""
        reason = ""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            full, self._full_wanted = self._full_wanted, False
            changed, self._changed_groups = frozenset(self._changed_groups), set()
            try:
                report = make_report(full, changed)
                report = self._memory.next_report(report) if full else report
                orders = await self.send(report)
            except QueueError as error:
                said = f"{error.code}: {error.message}"
                if said != reason:
                    logger.warning("no manager takes reports: %s", said)
                reason = said
                self._changed_groups |= changed
                self._full_wanted |= full
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()
                continue
            if reason:
                logger.info("reports are taken again")
                reason = ""
            learn(orders)
            if self._memory.answered(report, orders):
                self.heartbeat()
            self._order(orders, full=report.full)

    def _order(self, orders: BrokerOrders, *, full: bool) -> None:
        """Queue orders; the answer to a full report replaces all orders before it.

        Answers to partial reports name few replicas; whatever is dropped of them here comes again
        with the next full report.
        """
        if full:
            self._orders.clear()
        self._orders[full] = orders
        self._ordered.set()

    async def _carry_out(self, take_orders: Callable[[BrokerOrders], Awaitable[None]]) -> None:
        """Carry out queued orders one after the other, until it is cancelled."""
        while True:
            await self._ordered.wait()
            self._ordered.clear()
            while self._orders:
                full = next(iter(self._orders))
                orders = self._orders.pop(full)
                try:
                    await take_orders(orders)
                except QueueError as error:
                    logger.warning("an order was refused: %s", error)
                else:
                    if full:
                        self._memory.carried_out(orders)

    def _prefer(self, address: str) -> None:
        """Ask this manager first from now on."""
        self._addresses.remove(address)
        self._addresses.insert(0, address)

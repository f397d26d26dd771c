"""The broker of this process: views and tasks find the engine and its collaborators here."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from broker_app.client_origins import ClientOrigins
from broker_app.decode_cache import DecodeCache
from broker_app.decoding import Decoding
from broker_app.elections import Elections
from broker_app.kept_told import KeptTold
from broker_app.overview import Overview
from broker_app.partition.commands import ForgetIdle
from broker_app.partition.groups_with_dead import GroupsWithDead
from broker_app.partition.retention_clock import RetentionClock
from broker_app.partition.statemachine import PartitionState
from broker_app.place_index import PlaceIndex
from broker_app.traffic import Traffic
from broker_app.waiting.gathering import Gathering
from broker_app.waiting.longpoll import LongPolls
from broker_app.waiting.out_of_order import OutOfOrderBatches
from broker_app.waiting.pop_lock import PopLock
from broker_app.waiting.pop_tries import PopTries
from broker_app.waiting.work_waits import WorkWaits
from http_base.access import AccessIndex
from http_base.tasks import cancel, spawn
from myqueue.contract import retry_after
from myqueue.contract.errors import NoLeader, PartitionNotFound, QueueError, StalePlacement
from raft_app.engine.local_replicas import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker_app.links.manager_link import ManagerContact
    from broker_app.links.peer_link import PeerContact
    from broker_app.partition.limits import BrokerLimits
    from broker_app.waiting.work_waits import WaitKey
    from http_base.access import AccessTable
    from raft_app.engine.engine import Engine
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import BrokerIdentity

logger = logging.getLogger(__name__)

CONTACT_LOST_AFTER_S = 60.0
"""Without an answer of a manager for this long, overdue tokens are taken."""
CORRUPTIONS_TOLD_MAX = 10_000
"""Batches that cannot be decoded of which is remembered that the log was told."""
SIGN_REPLICAS_MAX = 64
"""Replicas that one sign of life names; the others wait for the next ones, or for a heartbeat."""
TIDY_TIMEOUT_MS = 5_000
"""For one command that forgets idle entries."""


class HasLimits(Protocol):
    """The options of a broker process that the runtime needs."""

    @property
    def limits(self) -> BrokerLimits:
        """What the services hold in memory."""


class BrokerRuntime:
    """One broker's engine with everything that waits on it; lives in the engine's loop."""

    def __init__(
        self,
        engine: Engine,
        link: ManagerContact,
        options: HasLimits,
        *,
        peers: PeerContact,
        identity: BrokerIdentity,
    ) -> None:
        """Put it together and listen to the engine.

        Args:
            engine: owns the replicas.
            link: to the managers.
            options: the limits.
            peers: asks other brokers.
            identity: who this broker is, as it is stored.
        """
        self.engine = engine
        self.link = link
        self.peers = peers
        self.limits = limits = options.limits
        self.traffic, self.elections, self.decoding = Traffic(), Elections(), Decoding()
        self.long_polls = LongPolls(limits.long_polls_max)
        self.memory = engine.memory
        """What this broker holds in memory, and may."""
        self.out_of_order = OutOfOrderBatches(
            bytes_max=limits.parked_bytes_max, share=self.memory.decoded
        )
        self.pop_lock = PopLock(limits.pops_waiting_max)
        self.pop_tries = PopTries()
        self.gathering = Gathering()
        self.receive_lock = PopLock(limits.receives_waiting_max)
        self.work_waits = WorkWaits(limits.long_polls_max, self._work_due_in)
        self.groups_with_dead = GroupsWithDead()
        self.client_origins = ClientOrigins(limits)
        self.decode_cache = DecodeCache(
            batches_max=limits.decoded_batches_max,
            bytes_max=limits.decoded_bytes_max,
            share=self.memory.decoded,
        )
        self.oldest_times: dict[tuple[int, int], int] = {}  # of `selectors.standings`
        self._corruptions_told: set[tuple[int, int]] = set()
        self._identity = identity
        self._epoch_lock = asyncio.Lock()
        self._revoked: dict[str, frozenset[int]] = {}
        self.access: AccessIndex | None = None
        """Who may do what, as a manager said last; None until one did."""
        self.overview = Overview(engine.replicas, engine.replicas.watch(*Event))
        self._index = PlaceIndex(engine.replicas)
        self._tidying: set[asyncio.Task[None]] = set()
        self.retaining: asyncio.Task[None] | None = None
        """The round of retention that runs or was the last one."""
        self.copying_dead: asyncio.Task[None] | None = None
        self.retention_clocks: dict[int, RetentionClock] = {}
        """By group id, of the partitions led here that keep messages for a limited time."""
        self._kept_told = KeptTold(engine.replicas, engine.replicas.watch(*Event))
        engine.on_applied.append(self._applied)
        engine.on_leadership.append(self._leadership_changed)

    # --- partitions -----------------------------------------------------------------------

    def partition(self, topic: str, partition: int) -> Replica:
        """Return the local replica of a partition.

        Raises:
            PartitionNotFound: this broker has none.
        """
        if self._index.is_old:
            self._refresh_index()
        replica = self._index.replicas.get((topic, partition))
        if replica is None:
            raise PartitionNotFound(
                f"this broker has no replica of partition {partition} of topic {topic[:260]!r};"
                " ask a manager where it is"
            )
        return replica

    @property
    def places(self) -> list[tuple[str, int]]:
        """Topic and index of each partition that has a replica here, in order; for reading."""
        if self._index.is_old:
            self._refresh_index()
        return self._index.places

    def _refresh_index(self) -> None:
        """Bring the index up to date; forget what was counted for those that went."""
        if self._index.refresh():
            self.traffic.forget_others({topic for topic, _ in self._index.replicas})
            self.elections.forget_others(self.engine.replicas)

    @property
    def epoch(self) -> int:
        """Highest lease epoch that a manager's call carried, in this life or an earlier one."""
        return self._identity.epoch

    async def obey_epoch(self, epoch: int) -> None:
        """Record the lease epoch of an internal call; durable when this returns.

        Raises:
            StalePlacement: a call with a later epoch has come already.
        """
        if epoch > self.epoch:
            # What is stored is in force, also when the call is cancelled meanwhile.
            raising = spawn("raising the epoch", self._raise_epoch(epoch), expected=(QueueError,))
            await asyncio.shield(raising)
        else:
            self._refuse_earlier(epoch)

    async def _raise_epoch(self, epoch: int) -> None:
        async with self._epoch_lock:
            if epoch > self.epoch:
                identity = replace(self._identity, epoch=epoch)
                await self.engine.save_identity(identity)
                self._identity = identity
        self._refuse_earlier(epoch)

    def _refuse_earlier(self, epoch: int) -> None:
        if epoch < self.epoch:
            raise StalePlacement(f"lease epoch {epoch} is below {self.epoch}, seen here already")

    def is_new_corruption(self, group_id: int, base_offset: int) -> bool:
        """Tell whether a corrupt batch is met for the first time since the process started."""
        place = (group_id, base_offset)
        if place in self._corruptions_told:
            return False
        if len(self._corruptions_told) >= CORRUPTIONS_TOLD_MAX:
            self._corruptions_told.clear()
        self._corruptions_told.add(place)
        return True

    # --- clients --------------------------------------------------------------------------

    def revoke(self, producers: Iterable[int] | None, consumers: Iterable[int] | None) -> None:
        """Replace the ids whose tokens are no longer taken; None leaves them as they are."""
        for kind, told in (("producer", producers), ("consumer", consumers)):
            if told is not None:
                self._revoked[kind] = frozenset(told)

    def is_revoked(self, kind: str, client_id: int) -> bool:
        """Tell whether a manager has revoked this client."""
        return client_id in self._revoked.get(kind, ())

    @property
    def access_version(self) -> str:
        """Of what a manager said last about who may do what; empty until one did."""
        return "" if self.access is None else self.access.table.version

    def learn_access(self, table: AccessTable) -> None:
        """Replace who may do what."""
        known = self.access
        self.access = AccessIndex(table, ()) if known is None else known.followed_by(table)

    def hears_manager(self) -> bool:
        """Tell whether a manager has answered within `CONTACT_LOST_AFTER_S`."""
        contact = self.link.last_contact
        now = asyncio.get_running_loop().time()
        return contact is not None and now - contact < CONTACT_LOST_AFTER_S

    # --- time -----------------------------------------------------------------------------

    def post_heartbeat(self) -> None:
        """Report to a manager and tidy up; called by the scheduler from its own thread."""
        self.engine.post(self._heartbeat)

    def post_sign(self) -> None:
        """Send a sign of life; called by the scheduler from its own thread."""
        self.engine.post(self._sign)

    async def stop(self) -> None:
        """Cancel the tasks in the background."""
        await cancel([*self._tidying, self.retaining, self.copying_dead])
        self.decoding.close()
        self.decode_cache.clear()

    def end_long_polls(self) -> None:
        """Answer every long poll with what there is, and hold none from now on."""
        self.long_polls.end()
        self.work_waits.end()

    def _sign(self) -> None:
        """Send a sign of life that says what some replicas have kept since they last said it.

        Those that waited longest come first: a manager stores what it is told, for all brokers.
        """
        self.link.sign(self._kept_told.next(SIGN_REPLICAS_MAX))

    def _heartbeat(self) -> None:
        self._kept_told.tell_all()
        self.link.heartbeat()
        self.overview.refresh()
        clock_ms = self.engine.clock_ms()
        for group_id, replica in self.overview.filling.items():
            if replica.serves and state_of(replica).wants_tidying(clock_ms):
                task = spawn("forgetting idle entries", self._forget_idle(group_id))
                self._tidying.add(task)
                task.add_done_callback(self._tidying.discard)

    async def _forget_idle(self, group_id: int) -> None:
        try:
            await self.engine.propose(group_id, ForgetIdle(), timeout_ms=TIDY_TIMEOUT_MS)
        except QueueError as error:
            logger.info("Group %d keeps its idle entries for now: %s", group_id, error)

    # --- the engine's news ----------------------------------------------------------------

    def _applied(self, replica: Replica) -> None:
        group_id, state = replica.spec.group_id, state_of(replica)
        self.long_polls.applied(group_id, state.next_offset)
        self.work_waits.applied(group_id)
        self.groups_with_dead.note(group_id, may_have_dead=state.works.may_have_dead)

    def _leadership_changed(self, replica: Replica) -> None:
        self.elections.note(replica)
        group_id = replica.spec.group_id
        self.long_polls.disturb(group_id)
        self.work_waits.disturb(group_id)
        self.groups_with_dead.note(group_id, may_have_dead=state_of(replica).works.may_have_dead)

    def _work_due_in(self, key: WaitKey) -> float | None:
        """Return in how many seconds a message becomes visible to a group of workers."""
        replica = self.engine.replicas.get(key[0])
        if replica is None or not replica.serves:
            return 0
        state = state_of(replica)
        clock_ms = state.partition_clock(self.engine.clock_ms())
        due_ms = state.work_due(key[1], clock_ms)
        return None if due_ms is None else max(0, due_ms - clock_ms) / 1000


def state_of(replica: Replica) -> PartitionState:
    """Return the state machine of a replica, which a broker makes."""
    state = replica.state_machine
    assert isinstance(state, PartitionState), state
    return state


_installed: BrokerRuntime | None = None


def install(runtime: BrokerRuntime | None) -> None:
    """Make a runtime the process's broker; None takes it away."""
    global _installed
    _installed = runtime


def installed() -> BrokerRuntime | None:
    """Return the process's broker, None before it started and after it stopped."""
    return _installed


def current() -> BrokerRuntime:
    """Return the process's broker.

    Raises:
        NoLeader: it is starting or stopping.
    """
    if _installed is None:
        raise NoLeader(
            "the broker is starting or stopping; try again", retry_after_ms=retry_after.STARTING_MS
        )
    return _installed

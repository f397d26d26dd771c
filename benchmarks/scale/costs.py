"""What one unit of everything takes, as straight lines through measured sizes."""

from __future__ import annotations

from math import log

import msgspec


class Line(msgspec.Struct, frozen=True):
    """A cost: `fixed`, and `each` more for each unit."""

    fixed: float
    each: float

    def at(self, size: float) -> float:
        """Return the cost of a size."""
        return self.fixed + self.each * size

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> Line:
        """Return the line through two points (size, cost); it never falls, nor begins below 0."""
        (size, cost), (more, dearer) = small, large
        assert size < more, "two sizes"
        each = max(0.0, (dearer - cost) / (more - size))
        return cls(max(0.0, cost - each * size), each)


class Growth(msgspec.Struct, frozen=True):
    """How a cost grew between two sizes."""

    name: str
    small: float
    large: float
    small_s: float
    large_s: float

    @property
    def exponent(self) -> float:
        """1: with the size; 2: with its square."""
        return log(max(self.large_s, 1e-9) / max(self.small_s, 1e-9)) / log(self.large / self.small)


class ManagerCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Of a manager, in its own thread; seconds of a processor unless told."""

    database: str
    """sqlite or postgresql, whose server's own time is not in here."""
    report_same: Line
    """A full report with nothing new; by replicas of the broker."""
    report_changed: Line
    """One in which every replica is new; by replicas."""
    report_bytes: Line
    """By replicas."""
    answer_bytes: Line
    """Orders that answer a full report; by replicas."""
    sign: Line
    """By brokers."""
    metadata_load: Line
    """By partitions."""
    metadata_bytes: Line
    """Memory of the copy; by partitions."""
    repair_look: Line
    """A look for partitions to heal that finds none; by partitions."""
    repair_round: Line
    """Deciding and storing a round with as many changes as go on at once; by partitions, when all
    that one broker of ten holds is to be moved."""
    balance: Line
    """A look at the spread of leaders; by partitions."""
    place: Line
    """Choosing brokers for a new topic of a hundred partitions; by partitions that there are."""
    heartbeats_stored: Line
    """Heartbeats of clients stored together; by clients."""
    clients_looked_at: Line
    """By clients."""
    file_bytes: Line
    """Of the database; by partitions."""


class ClusterCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Of processes of a cluster of three; seconds of a processor unless told."""

    broker_idle: Line
    """A second of an idle broker; by replicas on it."""
    broker_bytes: Line
    """Memory in RAM; by replicas."""
    broker_file_bytes: Line
    """Files of a broker without messages; by replicas."""
    frame_bytes: Line
    """Bytes of frames that an idle broker sends in a second; by replicas."""
    manager_idle: float
    """A second of a manager that nobody asks."""
    manager_bytes: float
    """Memory of an empty manager."""
    call: float
    """Of a manager for a call that it answers from memory: a client's heartbeat."""
    member_call: float
    """Of a manager for a heartbeat of a member of a group."""
    topic_call: Line
    """Of a manager for the description of a topic on one broker; by partitions."""
    topic_broker: float
    """Of a manager for each further broker that it asks about a topic."""
    topic_bytes: Line
    """Of that answer; by partitions."""
    message: float
    """Of all brokers together for one message sent alone."""


class UnitCosts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the model multiplies."""

    manager: ManagerCosts
    cluster: ClusterCosts

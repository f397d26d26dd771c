"""The size of a cluster: what the model is asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from queuesite.conf import QueueConfig


@dataclass(frozen=True, kw_only=True)
class ClusterSize:
    """Sizes and rates of a cluster; times are those of the configuration."""

    brokers: int = 100
    partitions: int = 100_000
    replication_factor: int = 3
    topic_partitions: int = 100
    """Of each topic."""
    racks: int = 3
    """Of equally many brokers; the placement knows nothing of them."""
    clients: int = 10_000
    """Registered producers and consumers; each uses one topic."""
    members: int = 1_000
    """Of those, members of consumer groups."""
    messages_per_second: float = 10_000.0
    """Produced one at a time, over all partitions."""
    active_share: float = 1.0
    """Part of the partitions that get a message between two reports of a broker."""
    metadata_changes_per_hour: float = 60.0
    """Topics made or changed, brokers that come and go."""
    bytes_per_partition: float = 100e6
    """Stored in each replica."""
    network_bytes_per_second: float = 125e6
    """Of each machine."""
    broker_memory_bytes: float = 8e9
    manager_memory_bytes: float = 8e9
    config: QueueConfig = field(default_factory=QueueConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        assert 1 <= self.replication_factor <= self.brokers, "a replica each on another broker"
        assert 1 <= self.racks <= self.brokers, "no rack is empty"
        assert self.partitions >= 1, "a model of nothing"

    @property
    def replicas(self) -> int:
        """Replicas of all partitions."""
        return self.partitions * self.replication_factor

    @property
    def replicas_per_broker(self) -> float:
        """Replicas that a broker holds."""
        return self.replicas / self.brokers

    @property
    def led_per_broker(self) -> float:
        """Partitions that a broker leads."""
        return self.partitions / self.brokers

    @property
    def brokers_per_rack(self) -> int:
        """Brokers that go with a rack."""
        return ceil(self.brokers / self.racks)

    @property
    def brokers_of_topic(self) -> float:
        """Brokers that hold something of one topic."""
        return min(
            self.brokers, min(self.topic_partitions, self.partitions) * self.replication_factor
        )

    @property
    def peers(self) -> float:
        """Other brokers with which a broker shares a partition, at the most.

        Placement among equals takes brokers in the order of their ids: neighbours share.
        """
        return min(self.brokers - 1, 2 * (self.replication_factor - 1))

    @property
    def report_s(self) -> float:
        """Seconds between two full reports of a broker."""
        return self.config.broker_heartbeat_s

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two heartbeats of a leader."""
        return self.config.heartbeat_ticks * self.config.tick_ms / 1000

    @property
    def election_s(self) -> float:
        """Shortest silence of a leader before an election, in seconds; up to twice as long."""
        return self.config.election_timeout_ticks * self.config.tick_ms / 1000

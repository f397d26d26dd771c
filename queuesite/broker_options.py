"""From the configuration of a process to the options of a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.limits import BrokerLimits, StateLimits
from broker_app.process import BrokerOptions
from raft_app.core.config import RaftConfig
from raft_app.engine_config import EngineConfig
from raft_app.transport import TransportLimits

if TYPE_CHECKING:
    from queuesite.conf import QueueConfig


def broker_options(config: QueueConfig) -> BrokerOptions:
    """Return what a broker with this configuration is put together from."""
    limits = TransportLimits()
    return BrokerOptions(
        data_dir=config.data_dir,
        address=config.address,
        bind_host=config.bind_host,
        raft_port=config.raft_port,
        raft_address=config.raft_address,
        manager_addresses=config.manager_addresses,
        cluster_secret=config.cluster_secret,
        engine=EngineConfig(
            raft=RaftConfig(
                election_timeout_ticks=config.election_timeout_ticks,
                heartbeat_ticks=config.heartbeat_ticks,
                max_uncommitted_bytes=config.max_uncommitted_bytes,
                max_uncommitted_entries=config.max_uncommitted_entries,
            ),
            tick_ms=config.tick_ms,
            tail_bytes_per_group=config.tail_bytes_per_group,
            tail_bytes=config.tail_bytes,
            checkpoint_entries=config.checkpoint_entries,
            disk_reserve_bytes=config.disk_reserve_bytes,
        ),
        transport=TransportLimits(
            max_queued_append_bytes=config.transport_queue_bytes - limits.max_queued_control_bytes
        ),
        limits=BrokerLimits(
            long_polls_max=config.long_polls_max, sequence_park_ms=config.sequence_park_ms
        ),
        state=StateLimits(
            producers_max=config.producers_max,
            cursors_max=config.cursors_max,
            request_ids_max=config.request_ids_max,
        ),
    )

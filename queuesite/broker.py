"""A broker's options, made of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.options import BrokerOptions
from broker_app.partition.limits import BrokerLimits, StateLimits
from raft_app.core.config import RaftConfig
from raft_app.engine.config import PEER_INFLIGHT_BYTES, EngineConfig
from raft_app.transport.protocol import TransportLimits

if TYPE_CHECKING:
    from queuesite.conf import QueueConfig

VOUCH_WAIT_MS = 5_000
"""How long a broker that starts waits for a manager to say what its replicas had acknowledged,
before they vote. Longer leaves partitions without a leader where no manager runs."""
SPARES_WAIT_BYTES = 64 << 10
"""Entries of so much are sent to a quorum alone at first: a spare follower lags by that at most."""
_CONTROL_QUEUE_SHARE = 8
"""One part in this many of a peer's queue is kept for RPCs without entries."""


def options_of(config: QueueConfig) -> BrokerOptions:
    """Return a broker's options as the configuration says."""
    control_bytes = config.transport_queue_bytes // _CONTROL_QUEUE_SHARE
    append_bytes = config.transport_queue_bytes - control_bytes
    return BrokerOptions(
        data_dir=config.data_dir,
        address=config.address,
        bind_host=config.bind_host,
        raft_port=config.raft_port,
        raft_address=config.raft_address,
        manager_addresses=config.manager_addresses,
        cluster_secret=config.cluster_secret,
        tls=config.tls,
        rack=config.rack,
        change_secret=config.change_secret,
        engine=EngineConfig(
            raft=RaftConfig(
                election_timeout_ticks=config.election_timeout_ticks,
                heartbeat_ticks=config.heartbeat_ticks,
                quiesce_after_ticks=config.quiesce_after_ticks,
                spares_wait_bytes=SPARES_WAIT_BYTES,
                max_uncommitted_bytes=config.max_uncommitted_bytes,
                max_uncommitted_entries=config.max_uncommitted_entries,
            ),
            tick_ms=config.tick_ms,
            vouch_wait_ms=VOUCH_WAIT_MS,
            peer_inflight_bytes=min(PEER_INFLIGHT_BYTES, append_bytes),
            tail_bytes_per_group=config.tail_bytes_per_group,
            tail_bytes=config.tail_bytes,
            checkpoint_entries=config.checkpoint_entries,
            log_keep_bytes=config.log_keep_bytes,
            snapshot_bytes_per_second=config.snapshot_bytes_per_second,
            scrub_bytes_per_second=config.scrub_bytes_per_second,
            disk_reserve_bytes=config.disk_reserve_bytes,
        ),
        transport=TransportLimits(
            max_queued_append_bytes=append_bytes,
            max_queued_control_bytes=control_bytes,
        ),
        limits=BrokerLimits(
            long_polls_max=config.long_polls_max,
            sequence_park_ms=config.sequence_park_ms,
            producers_per_address_max=config.producers_per_address_max,
            cursors_per_address_max=config.cursors_per_address_max,
        ),
        state=StateLimits(
            producers_max=config.producers_max,
            cursors_max=config.cursors_max,
            request_ids_max=config.request_ids_max,
        ),
    )

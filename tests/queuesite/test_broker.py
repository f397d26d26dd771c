from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from queuesite.broker import options_of
from queuesite.conf import BROKER, QueueConfig

CONFIG = replace(QueueConfig(role=BROKER), port=8003, raft_port=9003, data_dir=Path("d"))


def test_addresses_and_limits_reach_the_broker():
    options = options_of(replace(CONFIG, tick_ms=20, producers_max=7, sequence_park_ms=9))
    assert options.address == "http://127.0.0.1:8003"
    assert options.raft_address == "127.0.0.1:9003"
    assert options.engine.tick_ms == 20
    assert options.state.producers_max == 7
    assert options.limits.sequence_park_ms == 9


def test_queue_of_a_peer_is_what_the_configuration_says():
    limits = options_of(CONFIG).transport
    total = limits.max_queued_append_bytes + limits.max_queued_control_bytes
    assert total == CONFIG.transport_queue_bytes
    assert limits.max_queued_append_bytes > limits.max_queued_control_bytes

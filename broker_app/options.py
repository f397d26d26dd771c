"""What a broker process needs to know of its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker_app.partition.limits import BrokerLimits, StateLimits
from raft_app.engine.config import EngineConfig
from raft_app.transport.protocol import TransportLimits

if TYPE_CHECKING:
    from pathlib import Path

    from http_base.tls import Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """Where a broker lies, whom it asks, and its limits."""

    data_dir: Path
    address: str
    """`http://host:port` where clients and managers reach it."""
    bind_host: str
    raft_port: int
    raft_address: str
    """`host:port` where its peers reach it."""
    manager_addresses: tuple[str, ...]
    cluster_secret: str
    tls: Tls | None = None
    """Of this process."""
    rack: str = ""
    """What it shares a failure with; "" when nothing is known."""
    change_secret: bool = False
    """Whether another secret than before may be right."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    transport: TransportLimits = field(default_factory=TransportLimits)
    limits: BrokerLimits = field(default_factory=BrokerLimits)
    state: StateLimits = field(default_factory=StateLimits)

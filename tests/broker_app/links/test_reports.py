"""What a broker says about itself."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from broker_app.links.reports import make_report, report_replica
from broker_app.partition.limits import StateLimits
from broker_app.partition.statemachine import PartitionState
from http_base.cluster import BrokerReport, ReplicaPlace
from http_base.memory_budget import MemoryBudget
from raft_app.core.bootstrap import bootstrap_state
from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import Membership, RaftMember
from raft_app.engine.replica import Replica
from raft_app.storage.protocol import BrokerIdentity, Checkpoint, GroupSpec

OPTIONS = SimpleNamespace(address="http://b:1", raft_address="b:2", rack="r")


def replica() -> Replica:
    spec = GroupSpec(7, 1, "logs", 3)
    membership = Membership(voters=(RaftMember(1, 10), RaftMember(2, 20)), version=4)
    node = RawNode(RaftConfig(), bootstrap_state(1, membership), randomizer=lambda low, high: low)
    state = PartitionState(spec, limits=StateLimits())
    checkpoint = Checkpoint(0, 0, membership, 0, b"")
    return Replica(spec, node, state, checkpoint, memory=MemoryBudget())


def test_replica_is_reported_with_its_place_and_its_offsets():
    report = report_replica(replica())
    assert (report.group_id, report.replica_id, report.partition) == (7, 1, 3)
    assert (report.role, report.term, report.leader_broker_id) == ("follower", 1, 0)
    assert (report.log_start_offset, report.high_watermark) == (0, 0)
    assert report.placement_version == 4
    assert report.replicas == [ReplicaPlace(1, 10), ReplicaPlace(2, 20)]
    assert not report.serves


def test_report_survives_its_way_through_json():
    identity = BrokerIdentity(incarnation="i" * 32, broker_id=3, cluster_id="c")
    report = make_report(
        [replica()],
        identity,
        OPTIONS,
        epoch=2,
        stopping=True,
        full=False,
        disk_free_bytes=5,
        disk_slow=True,
    )
    assert msgspec.json.decode(msgspec.json.encode(report), type=BrokerReport) == report
    assert (report.broker_id, report.stopping, report.full) == (3, True, False)
    assert (report.disk_free_bytes, report.disk_slow, report.rack) == (5, True, "r")

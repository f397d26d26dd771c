"""Partitions that lost their quorum: what is left of them, and how they go on.

These functions block and belong into the threads of the ordinary views.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from http_base.cluster import LossOrder, StoredReplica
from http_base.tasks import gather_bounded
from manager_app import selectors
from manager_app.answers import LossReplica, PartitionLoss
from manager_app.brokers.client import BrokerCall
from manager_app.models import ReplicaState
from manager_app.placement.loss_rules import LossFacts, plan_loss
from manager_app.placement.partition_facts import replica_facts
from manager_app.services.cluster import acting_epoch
from manager_app.services.loss import loss_done, loss_store, loss_unfinished
from myqueue.contract import retry_after
from myqueue.contract.answers import Done
from myqueue.contract.errors import NotReady

if TYPE_CHECKING:
    from manager_app.models import LossAccepted, Partition
    from manager_app.placement.loss_rules import LossPlan
    from manager_app.runtime import ManagerRuntime

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
"""For a broker to read the end of one log, or to store where it goes on."""
LIMIT_S = 30.0
"""For all brokers of a partition together."""


def describe_loss(runtime: ManagerRuntime, topic: str, index: int) -> PartitionLoss:
    """Return what a partition would lose, or loses since that was accepted.

    Raises:
        TopicDoesNotExist | PartitionNotFound: there is none.
        StalePlacement: there is no loss to accept; the message says why.
    """
    partition = selectors.partition_get(topic, index)
    accepted = loss_unfinished(partition.group_id)
    if accepted is not None:
        return _accepted(accepted)
    facts = _facts(runtime, partition)
    return _answer(partition, plan_loss(facts, term=partition.term), facts)


def accept_loss(runtime: ManagerRuntime, topic: str, index: int, *, by: str) -> PartitionLoss:
    """Let a partition go on with what one replica has; a call that was cut off is finished.

    Raises:
        TopicDoesNotExist | PartitionNotFound: there is none.
        StalePlacement: there is no loss to accept; the message says why.
        NotReady: the broker did not do it; the next call goes on.
    """
    partition = selectors.partition_get(topic, index)
    accepted = loss_unfinished(partition.group_id)
    facts: list[LossFacts] = []
    if accepted is None:
        facts = _facts(runtime, partition)
        accepted = loss_store(partition, plan_loss(facts, term=partition.term), by=by)
        runtime.metadata.refresh()
        logger.critical(
            "%s accepted that %s/%d goes on with replica %d of broker %d: its messages end at"
            " offset %d, the last known one was before %d, new ones begin at %d",
            *(by, topic, index, accepted.old_replica_id, accepted.broker_id),
            *(accepted.end_offset, accepted.known_offset, accepted.next_offset),
        )
    order = LossOrder(
        topic=topic,
        partition=index,
        old_replica_id=accepted.old_replica_id,
        replica_id=accepted.new_replica_id,
        above_term=accepted.above_term,
        next_offset=accepted.next_offset,
        epoch=acting_epoch(),
        version=accepted.version,
    )
    call = BrokerCall("POST", _path(partition), body=order)
    brokers = runtime.orders.brokers
    asking = brokers.ask(
        accepted.broker_id, call, Done, timeout_s=CALL_TIMEOUT_S, log_level=logging.ERROR
    )
    if runtime.run(asking, timeout_s=LIMIT_S) is None:
        reason = f"broker {accepted.broker_id} did not go on yet; its log and the manager's say why"
        raise NotReady(reason, reasons=[reason], retry_after_ms=retry_after.STARTING_MS)
    loss_done(accepted)
    return _accepted(accepted, facts)


def _path(partition: Partition) -> str:
    return f"/partitions/{partition.group_id}/stored"


def _facts(runtime: ManagerRuntime, partition: Partition) -> list[LossFacts]:
    """Ask the brokers of a partition what they have of it."""
    rows = list(partition.replicas.all())
    brokers = runtime.orders.brokers
    call = BrokerCall("GET", _path(partition))
    asking = gather_bounded(
        (brokers.ask(row.broker_id, call, StoredReplica, timeout_s=CALL_TIMEOUT_S) for row in rows),
        max(1, len(rows)),
    )
    answers = runtime.run(asking, timeout_s=LIMIT_S)
    return [
        LossFacts(
            replica_id=row.replica_id,
            broker_id=row.broker_id,
            gone=replica_facts(row).gone,
            faulty=row.state == ReplicaState.FAULTY,
            kept_term=row.kept_term,
            kept_offset=row.kept_offset,
            found=found if found is not None and found.replica_id == row.replica_id else None,
        )
        for row, found in zip(rows, answers, strict=True)
    ]


def _answer(partition: Partition, plan: LossPlan, facts: list[LossFacts]) -> PartitionLoss:
    return PartitionLoss(
        topic=partition.topic.name,
        partition=partition.index,
        broker_id=plan.survivor.broker_id,
        replica_id=plan.survivor.replica_id,
        end_offset=plan.end_offset,
        known_offset=plan.known_offset,
        next_offset=plan.next_offset,
        accepted=False,
        replicas=[_described(one) for one in facts],
    )


def _accepted(accepted: LossAccepted, facts: list[LossFacts] | None = None) -> PartitionLoss:
    return PartitionLoss(
        topic=accepted.topic_name,
        partition=accepted.index,
        broker_id=accepted.broker_id,
        replica_id=accepted.new_replica_id,
        end_offset=accepted.end_offset,
        known_offset=accepted.known_offset,
        next_offset=accepted.next_offset,
        accepted=True,
        replicas=[_described(one) for one in facts or ()],
    )


def _described(facts: LossFacts) -> LossReplica:
    found = facts.found
    return LossReplica(
        replica_id=facts.replica_id,
        broker_id=facts.broker_id,
        fault=(found.faulty or found.unusable) if found else "its broker does not answer for it",
        last_index=found.last_index if found else None,
        end_offset=found.end_offset if found and not found.unusable else None,
        kept_offset=facts.kept_offset,
    )

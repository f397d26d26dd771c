"""Announcing, draining, removing and marking brokers as dead, in the database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from manager_app import event_texts, selectors
from manager_app.models import Broker, BrokerState, Event, EventKind
from manager_app.placement import partition_facts
from manager_app.services.cluster import fenced, metadata_bump
from manager_app.services.events import about, event_store, events_store
from myqueue.contract.errors import BrokerAlreadyPresent, BrokerNotEmpty, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Collection

ADDRESS_LENGTH_MAX = 255


def address_clean(text: str) -> str:
    """Return an address as it is stored: `http://host:port`; a missing scheme is added.

    Raises:
        InvalidRequest: the text is no address of that form.
    """
    address = text.strip().rstrip("/")
    if "://" not in address:
        address = f"http://{address}"
    if not _is_address(address):
        raise InvalidRequest(
            f"broker_address must be http://host:port, not {text[:300]!r}", field="broker_address"
        )
    return address


def broker_create(address: str) -> Broker:
    """Store a broker that a person announced; its process takes the row over when it reports.

    Raises:
        InvalidRequest: the address is no `http://host:port`.
        BrokerAlreadyPresent: a broker with this address is present.
    """
    address = address_clean(address)
    with transaction.atomic():
        metadata_bump()
        present = Broker.objects.filter(address=address).exclude(state=BrokerState.REPLACED)
        if known := present.first():
            raise BrokerAlreadyPresent(
                f"Broker {address} is already present", broker_id=known.broker_id
            )
        return Broker.objects.create(address=address)


def broker_delete(broker_id: int) -> int:
    """Remove a broker, or begin to drain it: its replicas move to others first. Again is no error.

    Returns:
        How many replicas it holds. 0: it is removed; else it is removed once it holds none.

    Raises:
        BrokerNotFound: there is none with this id.
        BrokerNotEmpty: it holds replicas that no other broker can take; nothing changed.
    """
    with transaction.atomic():
        metadata_bump()
        broker = selectors.broker_get(broker_id)
        count = broker.replicas.count()
        if not count:
            broker.delete()
            return 0
        if stuck := partition_facts.replicas_without_refuge(broker):
            raise BrokerNotEmpty(
                f"broker {broker_id} holds {count} replicas, and no other live broker is without"
                f" the partitions of {stuck} of them and has room on its disk: start one more, or"
                " delete their topics first",
                broker_id=broker_id,
                replicas=count,
            )
        Broker.objects.filter(pk=broker_id).update(draining=True)
    return count


def broker_keep(broker_id: int) -> Broker:
    """End the draining of a broker; return it. Replicas that moved away do not come back.

    Raises:
        BrokerNotFound: there is none with this id, or it is removed already.
    """
    with transaction.atomic():
        metadata_bump()
        broker = selectors.broker_get(broker_id)
        broker.draining = False
        broker.save(update_fields=["draining"])
    return broker


def brokers_remove_drained() -> list[int]:
    """Remove the drained brokers that hold no replica any more; return their ids."""
    drained = Broker.objects.filter(draining=True, replicas=None).order_by("broker_id")
    if not drained.exists():
        return []
    with transaction.atomic():
        metadata_bump()
        removed = list(drained.values_list("broker_id", flat=True))
        Broker.objects.filter(pk__in=removed).delete()
        events_store(_removed(broker_id) for broker_id in removed)
    return removed


def broker_beat(broker: Broker) -> bool:
    """Record a heartbeat of a broker; return whether a dead one is alive by it."""
    now = timezone.now()
    if broker.state != BrokerState.DEAD:
        with fenced():
            Broker.objects.filter(pk=broker.broker_id).update(last_heartbeat=now)
        return False
    with transaction.atomic():
        metadata_bump()
        Broker.objects.filter(pk=broker.broker_id, state=BrokerState.DEAD).update(
            state=BrokerState.ALIVE, last_heartbeat=now
        )
        event_store(
            event_texts.broker_changed(broker.broker_id, BrokerState.ALIVE, address=broker.address)
        )
    return True


def brokers_mark_dead(broker_ids: Collection[int]) -> bool:
    """Mark silent brokers as dead; their replicas stay. Return whether any was not dead before."""
    silent = Broker.objects.filter(
        pk__in=list(broker_ids), state__in=(BrokerState.ALIVE, BrokerState.STOPPING)
    )
    if not silent.exists():
        return False
    with transaction.atomic():
        metadata_bump()
        named = list(silent.order_by("broker_id").values_list("broker_id", "address"))
        events_store(
            event_texts.broker_changed(broker_id, BrokerState.DEAD, address=address)
            for broker_id, address in named
        )
        return silent.update(state=BrokerState.DEAD) > 0


def _removed(broker_id: int) -> Event:
    return Event(
        kind=EventKind.BROKER,
        action="broker removed",
        text=f"Broker {broker_id} holds nothing any more and is removed",
        about=about(broker=broker_id),
    )


def _is_address(address: str) -> bool:
    if len(address) > ADDRESS_LENGTH_MAX or not address.isascii() or not address.isprintable():
        return False
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and bool(port)
        and not any(character in address for character in " \"'<>\\")
        and not (parts.path or parts.query or parts.fragment or parts.username)
    )

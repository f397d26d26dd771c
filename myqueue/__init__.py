"""Client of a replicated, durable message queue.

    from myqueue import Client, Consumer, Producer

Names are loaded when they are first used, so that `import myqueue` is quick and servers that need
the wire contract alone do not load the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from myqueue.client import Client
    from myqueue.config import ClientConfig
    from myqueue.consumer.aio import AsyncConsumer
    from myqueue.consumer.consumer import Consumer
    from myqueue.contract.errors import (
        AlreadyRegistered,
        BrokerAlreadyPresent,
        BrokerUnreachable,
        BufferFull,
        ClientClosed,
        CommitTimeout,
        CorruptBatch,
        DeliveryTimeout,
        GroupNotFound,
        IllegalGeneration,
        InvalidRequest,
        ManagerNotFound,
        MessageTooLarge,
        OffsetOutOfRange,
        PartitionNotFound,
        QueueEmpty,
        QueueError,
        Rebalancing,
        TopicAlreadyExists,
        TopicDoesNotExist,
        UnauthorizedException,
        UndeliveredMessages,
        UnreadMessages,
        UnsettledDeliveries,
    )
    from myqueue.contract.records import Record
    from myqueue.older import MyConsumer, MyProducer
    from myqueue.producer.aio import AsyncProducer
    from myqueue.producer.producer import Producer
    from myqueue.results import (
        Delivered,
        DeliveredBatch,
        Delivery,
        Fetched,
        Lag,
        Message,
        Registration,
        Settlement,
    )
    from myqueue.worker.aio import AsyncWorker
    from myqueue.worker.worker import Worker

_MODULES = {
    "myqueue.consumer.aio": ("AsyncConsumer",),
    "myqueue.producer.aio": ("AsyncProducer",),
    "myqueue.worker.aio": ("AsyncWorker",),
    "myqueue.client": ("Client",),
    "myqueue.config": ("ClientConfig",),
    "myqueue.consumer.consumer": ("Consumer",),
    "myqueue.contract.errors": (
        "AlreadyRegistered",
        "BrokerAlreadyPresent",
        "BrokerUnreachable",
        "BufferFull",
        "ClientClosed",
        "CommitTimeout",
        "CorruptBatch",
        "DeliveryTimeout",
        "GroupNotFound",
        "IllegalGeneration",
        "InvalidRequest",
        "ManagerNotFound",
        "MessageTooLarge",
        "OffsetOutOfRange",
        "PartitionNotFound",
        "QueueEmpty",
        "QueueError",
        "Rebalancing",
        "TopicAlreadyExists",
        "TopicDoesNotExist",
        "UnauthorizedException",
        "UndeliveredMessages",
        "UnreadMessages",
        "UnsettledDeliveries",
    ),
    "myqueue.older": ("MyConsumer", "MyProducer"),
    "myqueue.producer.producer": ("Producer",),
    "myqueue.contract.records": ("Record",),
    "myqueue.results": (
        "Delivered",
        "DeliveredBatch",
        "Delivery",
        "Fetched",
        "Lag",
        "Message",
        "Registration",
        "Settlement",
    ),
    "myqueue.worker.worker": ("Worker",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "AlreadyRegistered",
    "AsyncConsumer",
    "AsyncProducer",
    "AsyncWorker",
    "BrokerAlreadyPresent",
    "BrokerUnreachable",
    "BufferFull",
    "Client",
    "ClientClosed",
    "ClientConfig",
    "CommitTimeout",
    "Consumer",
    "CorruptBatch",
    "Delivered",
    "DeliveredBatch",
    "Delivery",
    "DeliveryTimeout",
    "Fetched",
    "GroupNotFound",
    "IllegalGeneration",
    "InvalidRequest",
    "Lag",
    "ManagerNotFound",
    "Message",
    "MessageTooLarge",
    "MyConsumer",
    "MyProducer",
    "OffsetOutOfRange",
    "PartitionNotFound",
    "Producer",
    "QueueEmpty",
    "QueueError",
    "Rebalancing",
    "Record",
    "Registration",
    "Settlement",
    "TopicAlreadyExists",
    "TopicDoesNotExist",
    "UnauthorizedException",
    "UndeliveredMessages",
    "UnreadMessages",
    "UnsettledDeliveries",
    "Worker",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'myqueue' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

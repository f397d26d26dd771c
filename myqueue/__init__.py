"""Client of a replicated, durable message queue.

    from myqueue import Client, Consumer, Producer

Names are loaded when they are first used, so that `import myqueue` is quick and servers that need
the wire contract alone do not load the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Type checkers, editors and the reference of the documentation do not run `__getattr__`.
    from myqueue.aio_client import AsyncClient as AsyncClient
    from myqueue.client import Client as Client
    from myqueue.config import ClientConfig as ClientConfig
    from myqueue.consumer.aio import AsyncConsumer as AsyncConsumer
    from myqueue.consumer.consumer import Consumer as Consumer
    from myqueue.contract.errors import AlreadyRegistered as AlreadyRegistered
    from myqueue.contract.errors import BrokerAlreadyPresent as BrokerAlreadyPresent
    from myqueue.contract.errors import BrokerUnreachable as BrokerUnreachable
    from myqueue.contract.errors import BufferFull as BufferFull
    from myqueue.contract.errors import ClientClosed as ClientClosed
    from myqueue.contract.errors import CommitTimeout as CommitTimeout
    from myqueue.contract.errors import CorruptBatch as CorruptBatch
    from myqueue.contract.errors import DamagedExport as DamagedExport
    from myqueue.contract.errors import DeliveryTimeout as DeliveryTimeout
    from myqueue.contract.errors import GroupActive as GroupActive
    from myqueue.contract.errors import GroupNotFound as GroupNotFound
    from myqueue.contract.errors import IllegalGeneration as IllegalGeneration
    from myqueue.contract.errors import InvalidRequest as InvalidRequest
    from myqueue.contract.errors import ManagerNotFound as ManagerNotFound
    from myqueue.contract.errors import MessageTooLarge as MessageTooLarge
    from myqueue.contract.errors import OffsetOutOfRange as OffsetOutOfRange
    from myqueue.contract.errors import PartitionNotFound as PartitionNotFound
    from myqueue.contract.errors import QueueEmpty as QueueEmpty
    from myqueue.contract.errors import QueueError as QueueError
    from myqueue.contract.errors import Rebalancing as Rebalancing
    from myqueue.contract.errors import TopicAlreadyExists as TopicAlreadyExists
    from myqueue.contract.errors import TopicDoesNotExist as TopicDoesNotExist
    from myqueue.contract.errors import UnauthorizedException as UnauthorizedException
    from myqueue.contract.errors import UndeliveredMessages as UndeliveredMessages
    from myqueue.contract.errors import UnmovedOffsets as UnmovedOffsets
    from myqueue.contract.errors import UnreadMessages as UnreadMessages
    from myqueue.contract.errors import UnsettledDeliveries as UnsettledDeliveries
    from myqueue.contract.records import Record as Record
    from myqueue.descriptions import BrokerDescription as BrokerDescription
    from myqueue.descriptions import ClientDescription as ClientDescription
    from myqueue.descriptions import GroupDescription as GroupDescription
    from myqueue.descriptions import GroupReset as GroupReset
    from myqueue.descriptions import GroupSummary as GroupSummary
    from myqueue.descriptions import PartitionDescription as PartitionDescription
    from myqueue.descriptions import TopicDescription as TopicDescription
    from myqueue.older import MyConsumer as MyConsumer
    from myqueue.older import MyProducer as MyProducer
    from myqueue.producer.aio import AsyncProducer as AsyncProducer
    from myqueue.producer.producer import Producer as Producer
    from myqueue.results import DeadLetter as DeadLetter
    from myqueue.results import Delivered as Delivered
    from myqueue.results import DeliveredBatch as DeliveredBatch
    from myqueue.results import Delivery as Delivery
    from myqueue.results import Fetched as Fetched
    from myqueue.results import Lag as Lag
    from myqueue.results import Message as Message
    from myqueue.results import Registration as Registration
    from myqueue.results import Settlement as Settlement
    from myqueue.worker.aio import AsyncWorker as AsyncWorker
    from myqueue.worker.worker import Worker as Worker

_NAMES = {
    "myqueue.aio_client": "AsyncClient",
    "myqueue.client": "Client",
    "myqueue.config": "ClientConfig",
    "myqueue.consumer.aio": "AsyncConsumer",
    "myqueue.consumer.consumer": "Consumer",
    "myqueue.contract.errors": (
        "AlreadyRegistered BrokerAlreadyPresent BrokerUnreachable BufferFull ClientClosed "
        "CommitTimeout CorruptBatch DamagedExport DeliveryTimeout GroupActive GroupNotFound "
        "IllegalGeneration InvalidRequest ManagerNotFound MessageTooLarge OffsetOutOfRange "
        "PartitionNotFound QueueEmpty QueueError Rebalancing TopicAlreadyExists "
        "TopicDoesNotExist UnauthorizedException UndeliveredMessages UnmovedOffsets UnreadMessages "
        "UnsettledDeliveries"
    ),
    "myqueue.contract.records": "Record",
    "myqueue.descriptions": (
        "BrokerDescription ClientDescription GroupDescription GroupReset GroupSummary "
        "PartitionDescription TopicDescription"
    ),
    "myqueue.older": "MyConsumer MyProducer",
    "myqueue.producer.aio": "AsyncProducer",
    "myqueue.producer.producer": "Producer",
    "myqueue.results": (
        "DeadLetter Delivered DeliveredBatch Delivery Fetched Lag Message Registration Settlement"
    ),
    "myqueue.worker.aio": "AsyncWorker",
    "myqueue.worker.worker": "Worker",
}
"""What each module gives, separated by spaces; a test compares it with the imports above."""
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__version__ = "0.4.0.dev0"
if not TYPE_CHECKING:
    # Type checkers read lists of names that are written out, or the imports above.
    __all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'myqueue' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_MODULE_OF, "__version__"])

"""The exceptions of the original library, by the module's name that its programs import."""

from __future__ import annotations

from myqueue.contract.errors import (
    AlreadyRegistered,
    BrokerAlreadyPresent,
    ManagerNotFound,
    QueueEmpty,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)

__all__ = [
    "AlreadyRegistered",
    "BrokerAlreadyPresent",
    "ManagerNotFound",
    "QueueEmpty",
    "TopicAlreadyExists",
    "TopicDoesNotExist",
    "UnauthorizedException",
]

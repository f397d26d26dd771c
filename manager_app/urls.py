"""Every URL of a manager's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import path

from manager_app.apis.brokers import BrokerApi, BrokerHeartbeatApi, BrokersApi, HandOverApi
from manager_app.apis.clients import (
    ConsumerApi,
    ConsumerRegisterApi,
    ConsumersApi,
    ProducerApi,
    ProducerRegisterApi,
    ProducersApi,
)
from manager_app.apis.dead_letters import DeadLettersApi, LettersApi
from manager_app.apis.door import door
from manager_app.apis.events import EventsApi
from manager_app.apis.groups import (
    GroupApi,
    GroupHeartbeatApi,
    GroupJoinApi,
    GroupLeaveApi,
    GroupOffsetsApi,
    GroupsApi,
)
from manager_app.apis.losses import LossApi
from manager_app.apis.messages import ConsumeApi, CursorResetApi, ProduceApi, SizeApi
from manager_app.apis.passing import (
    AckApi,
    ExtendApi,
    FetchApi,
    NackApi,
    OffsetByTimeApi,
    OffsetsApi,
    OffsetsCommitApi,
    ReceiveApi,
)
from manager_app.apis.rebalance import RebalanceApi
from manager_app.apis.status import (
    HealthApi,
    LivenessApi,
    MetricsApi,
    PassedHeartbeatsApi,
    ReadinessApi,
)
from manager_app.apis.tokens import TokenApi, TokensApi
from manager_app.apis.topics import PurgeApi, RedriveApi, TopicApi, TopicsApi

if TYPE_CHECKING:
    from collections.abc import Callable

HOT_PATHS: dict[str, Callable[..., Any]] = {
    "/producer/produce": ProduceApi.as_view(),
    "/consumer/consume": ConsumeApi.as_view(),
    "/cursors/reset": CursorResetApi.as_view(),
    "/size": SizeApi.as_view(),
    "/fetch": FetchApi.as_view(),
    "/offsets": OffsetsApi.as_view(),
    "/offsets/by-time": OffsetByTimeApi.as_view(),
    "/offsets/commit": OffsetsCommitApi.as_view(),
    "/messages/receive": ReceiveApi.as_view(),
    "/messages/ack": AckApi.as_view(),
    "/messages/nack": NackApi.as_view(),
    "/messages/extend": ExtendApi.as_view(),
    "/health": HealthApi.as_view(),
    "/healthz": LivenessApi.as_view(),
    "/readyz": ReadinessApi.as_view(),
    "/metrics": MetricsApi.as_view(),
}
"""Exact path -> view that is called without Django's handler."""
JSON_BYTES_MAX = {"/brokers/heartbeat": BrokerHeartbeatApi.json_bytes_max}
"""Exact path -> cap of JSON bodies there for who has the cluster's token."""
DOOR = door
"""Checks who sends a long body."""

urlpatterns = [
    path("topics", TopicsApi.as_view()),
    path("topics/<str:topic>", TopicApi.as_view()),
    path("topics/<str:topic>/purge", PurgeApi.as_view()),
    path("topics/<str:topic>/redrive", RedriveApi.as_view()),
    path("topics/<str:topic>/dead-letters", LettersApi.as_view()),
    path("topics/<str:topic>/partitions/<int:partition>/loss", LossApi.as_view()),
    path("brokers", BrokersApi.as_view()),
    path("brokers/heartbeat", BrokerHeartbeatApi.as_view()),
    path("brokers/<int:broker_id>", BrokerApi.as_view()),
    path("brokers/<int:broker_id>/hand-over", HandOverApi.as_view()),
    path("dead-letters", DeadLettersApi.as_view()),
    path("tokens", TokensApi.as_view()),
    path("tokens/<path:token_name>", TokenApi.as_view()),
    path("events", EventsApi.as_view()),
    path("rebalance", RebalanceApi.as_view()),
    path("producer/register", ProducerRegisterApi.as_view()),
    path("consumer/register", ConsumerRegisterApi.as_view()),
    path("clients/signs", PassedHeartbeatsApi.as_view()),
    path("producers", ProducersApi.as_view()),
    path("producers/<int:client_id>", ProducerApi.as_view()),
    path("consumers", ConsumersApi.as_view()),
    path("consumers/<int:client_id>", ConsumerApi.as_view()),
    path("groups", GroupsApi.as_view()),
    path("groups/<str:group>", GroupApi.as_view()),
    path("groups/<str:group>/join", GroupJoinApi.as_view()),
    path("groups/<str:group>/heartbeat", GroupHeartbeatApi.as_view()),
    path("groups/<str:group>/leave", GroupLeaveApi.as_view()),
    path("groups/<str:group>/offsets", GroupOffsetsApi.as_view()),
    *(path(hot_path[1:], view) for hot_path, view in HOT_PATHS.items()),
]

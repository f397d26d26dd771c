"""URLs of a broker, exactly as the API documentation has them."""

from __future__ import annotations

from django.urls import path

from broker_app.apis.consume import ConsumeApi, SizeApi
from broker_app.apis.cursors import ClientForgetApi, CursorOpenApi, CursorResetApi
from broker_app.apis.door import door
from broker_app.apis.fetch import FetchApi, OffsetByTimeApi
from broker_app.apis.health import HealthApi, HealthzApi, MetricsApi, ReadyzApi
from broker_app.apis.offsets import (
    GroupForgetApi,
    GroupStandingsApi,
    OffsetsApi,
    OffsetsCommitApi,
)
from broker_app.apis.partitions import (
    LeaderApi,
    PartitionApi,
    PartitionsApi,
    PurgeApi,
    ReplicasApi,
    StoredApi,
)
from broker_app.apis.produce import ProduceApi
from broker_app.apis.standing import StandingApi
from broker_app.apis.work import AckApi, ExtendApi, NackApi, ReceiveApi

_EXACT = {
    "producer/produce": ProduceApi.as_view(),
    "consumer/consume": ConsumeApi.as_view(),
    "fetch": FetchApi.as_view(),
    "size": SizeApi.as_view(),
    "messages/receive": ReceiveApi.as_view(),
    "messages/ack": AckApi.as_view(),
    "messages/nack": NackApi.as_view(),
    "messages/extend": ExtendApi.as_view(),
    "messages/purge": PurgeApi.as_view(),
    "offsets": OffsetsApi.as_view(),
    "offsets/commit": OffsetsCommitApi.as_view(),
    "offsets/by-time": OffsetByTimeApi.as_view(),
    "cursors/reset": CursorResetApi.as_view(),
    "cursors/open": CursorOpenApi.as_view(),
    "clients/forget": ClientForgetApi.as_view(),
    "groups": GroupStandingsApi.as_view(),
    "groups/forget": GroupForgetApi.as_view(),
    "partitions": PartitionsApi.as_view(),
    "standing": StandingApi.as_view(),
    "health": HealthApi.as_view(),
    "healthz": HealthzApi.as_view(),
    "readyz": ReadyzApi.as_view(),
    "metrics": MetricsApi.as_view(),
}

urlpatterns = [
    *(path(route, view) for route, view in _EXACT.items()),
    path("partitions/<int:group_id>", PartitionApi.as_view()),
    path("partitions/<int:group_id>/leader", LeaderApi.as_view()),
    path("partitions/<int:group_id>/replicas", ReplicasApi.as_view()),
    path("partitions/<int:group_id>/stored", StoredApi.as_view()),
]

HOT_PATHS = {f"/{route}": view for route, view in _EXACT.items()}
"""What `HotPaths` answers without Django's handler: every path without parameters."""
JSON_BYTES_MAX: dict[str, int] = {}
"""Nobody sends a broker more than the usual."""
DOOR = door
"""Checks who sends a long body."""

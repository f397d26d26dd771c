"""The Django app of brokers: the partitions' state machines and the API in front of them."""

from __future__ import annotations

from django.apps import AppConfig


class BrokerAppConfig(AppConfig):
    """Declares the app; it has no tables, state lives in the log and its checkpoints."""

    name = "broker_app"
    verbose_name = "Broker"

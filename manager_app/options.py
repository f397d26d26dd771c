"""The part of the configuration that a manager process uses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from http_base.tls import Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerOptions:
    """Address, secret and limits of a manager; the fields are those of `settings.QUEUE`."""

    address: str
    """`http://host:port` where others reach it."""
    cluster_secret: str
    tls: Tls | None = None
    """Of this process."""
    read_only: bool
    """Answers reads, and passes calls for partitions on; never the primary."""
    database_connect_timeout_s: int
    database_answer_timeout_ms: int
    dead_after_s: float
    """Silence after which a broker or a client counts as gone."""
    suspect_after_s: float
    """Silence after which a broker is shown as suspect."""
    replace_after_s: float
    """Silence after which the replicas of a broker move to others."""
    forget_after_s: float
    """Silence after which a consumer is forgotten with its cursors."""
    long_polls_max: int
    """Calls passed on at once, and as many long polls again."""

    @classmethod
    def of(cls, config: object) -> Self:
        """Return the options from a configuration that has these fields: `settings.QUEUE`."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

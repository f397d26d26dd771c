"""Where scheduled tasks and views find the engine of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_app.engine.engine import Engine

_installed: Engine | None = None


def install(engine: Engine | None) -> None:
    """Make an engine the one of this process; None takes it away."""
    global _installed
    _installed = engine


def current() -> Engine | None:
    """Return the engine of this process, None before it started and after it stopped."""
    return _installed

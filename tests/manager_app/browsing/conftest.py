"""Looks that a busy machine does not end early."""

from __future__ import annotations

import pytest

from manager_app.browsing import reading


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(reading, "LOOK_S", 60.0)
    monkeypatch.setattr(reading, "BROKER_LIMIT_S", 60.0)

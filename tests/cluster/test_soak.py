"""A short soak: nothing is lost, and everything that a longer one draws is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.rounds import MANY
from tests.soak.plot import draw
from tests.soak.soak import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SECONDS = 60 if MANY else 12


def test_a_while_under_all_kinds_of_traffic_loses_nothing(tmp_path: Path) -> None:
    outcome = run(tmp_path, seconds=SECONDS, tell=lambda _: None)
    assert set(outcome.lost.values()) == {0}
    assert outcome.missed == 0
    assert min(outcome.acknowledged.values()) > SECONDS
    assert outcome.slow_client_cut_off
    assert list(outcome.events.values()) == ["broker killed"] * 2
    assert set(outcome.samples) == {"manager", "broker 1", "broker 2", "broker 3"}
    draw(outcome.samples, outcome.events, tmp_path / "soak.svg", "a while")

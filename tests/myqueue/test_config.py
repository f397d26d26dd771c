from __future__ import annotations

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import InvalidRequest


def test_the_defaults_are_possible() -> None:
    config = ClientConfig()
    assert config.delivery_timeout_ms == 120_000
    assert config.heartbeat_interval_ms == 15_000


@pytest.mark.parametrize("value", [0, -1, 1.5, "5", True, None])
def test_an_impossible_value_names_its_field(value: object) -> None:
    with pytest.raises(InvalidRequest, match="buffer_bytes"):
        ClientConfig(buffer_bytes=value)  # type: ignore[arg-type]


def test_the_first_pause_is_not_above_the_longest() -> None:
    with pytest.raises(InvalidRequest, match="retry_backoff_ms"):
        ClientConfig(retry_backoff_ms=2_000)

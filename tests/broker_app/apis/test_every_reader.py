"""All readers find the same messages in a partition, and are told the same of the others."""

from __future__ import annotations

import itertools
import logging
from random import Random
from typing import TYPE_CHECKING

import pytest
from django.core.handlers.asgi import ASGIHandler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_app.urls import HOT_PATHS
from http_base.hotpaths import HotPaths
from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import CorruptBatch
from myqueue.contract.records import (
    CODEC_NONE,
    CODEC_ZSTD,
    MAX_TIMESTAMP,
    Record,
    encode_batch,
    read_header,
)
from tests.batches import fuzzed, undecodable
from tests.broker_app.apis.every_reader import EVERY_WAY, Stored

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin

_group_ids = itertools.count(1_000)
_HEAVY = ("millions of empty lists", "a million messages in place of one")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
CONTENTS = TEXTS | st.binary(max_size=10)
RECORDS = st.builds(
    Record,
    CONTENTS,
    st.none() | CONTENTS,
    st.none() | st.dictionaries(TEXTS, CONTENTS, min_size=1, max_size=3),
    st.integers(-MAX_TIMESTAMP // 4, MAX_TIMESTAMP // 2),
)
GOOD = st.builds(
    lambda records, codec: encode_batch(records, codec=codec),
    st.lists(RECORDS, min_size=1, max_size=20),
    st.sampled_from([CODEC_NONE, CODEC_ZSTD]),
)
KINDS = st.sampled_from(sorted(set(undecodable()) - set(_HEAVY)))
SEEDS = st.integers(0, 1 << 32)


@pytest.fixture(autouse=True)
def nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Keep thousands of lines out of the log, of these tests alone."""
    caplog.set_level(logging.CRITICAL, "broker_app.log_reading")


def _has_header(batch: bytes) -> bool:
    try:
        read_header(batch)
    except CorruptBatch:
        return False
    return True


def _batch(told: bytes | str | int) -> bytes:
    """Return the batch that a kind of undecodable ones, or a seed, stands for."""
    if isinstance(told, bytes):
        return told
    return undecodable()[told] if isinstance(told, str) else fuzzed(Random(told))


@given(batches=st.lists(GOOD | KINDS | SEEDS, min_size=1, max_size=8))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_every_way_of_reading_finds_the_same_and_leaves_out_the_same(
    runtime: BrokerRuntime, engine: EngineTwin, batches: list[bytes | str | int]
) -> None:
    app = HotPaths(ASGIHandler(), HOT_PATHS, bodies=MemoryBudget().bodies)
    stored = Stored(engine, app, next(_group_ids))
    for batch in filter(_has_header, map(_batch, batches)):
        await stored.plant(batch)
    await stored.check(EVERY_WAY)
    stored.close()

from __future__ import annotations

import pytest
from msgspec.structs import replace

from manager_app.brokers.reports import beat_broker, take_report
from myqueue.contract.errors import InvalidRequest


async def last_report_of(site):
    twin, reports = site.twins.brokers[0], []

    async def keep(report):
        reports.append(report)
        return await site.send_report(report)

    site.twins.send_report = keep
    await twin.report(full=False)
    return reports[-1]


async def test_a_report_that_is_refused_shows_that_its_broker_lives_all_the_same(site):
    report = await last_report_of(site)
    site.clock.seconds += 30
    seen = site.runtime.broker_heartbeats
    nonsense = replace(report, incarnation="nonsense")
    with pytest.raises(InvalidRequest):
        await site.in_database(take_report, site.runtime, nonsense)
    assert seen.last_seen_s(report.broker_id) == site.runtime.monotonic_s()


async def test_the_beat_of_a_broker_that_nobody_knows_is_none(site):
    assert not await site.in_database(beat_broker, site.runtime, 99)
    assert 99 not in site.runtime.broker_heartbeats
    site.clock.seconds += 30
    assert await site.in_database(beat_broker, site.runtime, 1)
    assert site.runtime.broker_heartbeats.last_seen_s(1) == site.runtime.monotonic_s()

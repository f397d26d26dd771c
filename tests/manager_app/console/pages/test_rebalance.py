from __future__ import annotations

import pytest

from manager_app.answers import MoveDetail, RebalanceDetail
from manager_app.console.pages.rebalance import sentence
from manager_app.models import Broker, BrokerState, Cluster, RebalanceState
from tests.manager_app.many_partitions import make_cluster


def detail(**fields):
    known = {
        "state": "on",
        "bytes_per_second": 1 << 20,
        "repairs": 0,
        "running": [],
        "moves_left": 0,
        "bytes_left": 0,
        "seconds_left": 0.0,
        "plan": [],
    }
    return RebalanceDetail(**{**known, **fields})


MOVE = MoveDetail(topic="t", partition=0, source=1, target=2, size_bytes=9, copied_bytes=3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "there is nothing to move"),
        (
            {"moves_left": 3, "bytes_left": 2048, "seconds_left": 90.0},
            "3 replicas to move, 2.0 KiB",
        ),
        ({"moves_left": 3, "seconds_left": 90.0}, "about 1 min at this speed"),
        ({"running": [MOVE]}, "1 replica to move"),
        ({"moves_left": 3, "state": "paused"}, "until it is started"),
        ({"moves_left": 3, "state": "off"}, "until it is started"),
        ({"moves_left": 3, "repairs": 2}, "wait for 2 partitions that need a repair"),
    ],
)
def test_what_is_going_on_is_said_in_a_sentence(fields, said):
    assert said in sentence(detail(**fields))


@pytest.mark.django_db
def test_the_plan_is_shown_and_viewers_have_no_buttons(log_in):
    make_cluster(1)
    more = Broker.objects.create(
        incarnation="f" * 32, address="http://h:9", state=BrokerState.ALIVE
    )
    Broker.objects.update(disk_free_bytes=1 << 40)
    shown = log_in("viewer").get("/admin/rebalance/").content.decode()
    assert "replicas to move" in shown
    assert f"Broker {more.pk}" in shown
    assert "/admin/rebalance/start/" not in shown
    assert "/admin/rebalance/pause/" in log_in("operator").get("/admin/rebalance/").content.decode()
    assert log_in("administrator").get("/admin/rebalance/").status_code == 200


async def test_moving_is_paused_started_at_a_speed_and_cancelled_here(site, log_in_at):
    browser = await log_in_at("operator")

    async def state():
        row = await site.in_database(Cluster.objects.get)
        return row.rebalance, row.rebalance_bytes_per_second

    assert (await browser.post("/admin/rebalance/pause/", confirmed=1)).status == 302
    assert (await state())[0] == RebalanceState.PAUSED
    asked = await browser.post("/admin/rebalance/start/", mib_per_second="2.5")
    assert asked.status == 200
    assert b"2.5 MiB a second" in asked.body
    assert (await state())[0] == RebalanceState.PAUSED
    started = await browser.post("/admin/rebalance/start/", mib_per_second="2.5", confirmed=1)
    assert started.status == 302
    assert await state() == (RebalanceState.ON, 5 << 19)
    assert (await browser.post("/admin/rebalance/start/", mib_per_second="0")).status == 400
    assert (await browser.post("/admin/rebalance/cancel/", confirmed=1)).status == 302
    assert (await state())[0] == RebalanceState.OFF

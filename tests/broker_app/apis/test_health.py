"""GET /healthz, /readyz and /metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from broker_app import runtime as runtimes
from tests.broker_app.apis.conftest import Api

if TYPE_CHECKING:
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


async def test_ready_broker_has_no_reasons(api: Api) -> None:
    assert (await api.get("/healthz", None)).json == {"status": "success"}
    assert (await api.get("/readyz", None)).json == {"status": "success", "reasons": []}
    assert (await api.get("/health", None)).json == {"status": "success", "reasons": []}


async def test_reasons_are_named(api: Api, engine: EngineTwin, replica: ReplicaTwin) -> None:
    engine.watchdog.intervals_without_tick = 20
    engine.failure = SimpleNamespace(done=lambda: True)
    engine.disk.full = True
    replica.faulty = "a bad row"
    answer = await api.get("/readyz", None)
    assert (answer.status, answer.json["status"]) == (503, "failure")
    assert len(answer.json["reasons"]) == 4
    assert (await api.get("/healthz", None)).status == 200
    health = await api.get("/health", None)
    assert (health.status, health.json["reasons"]) == (200, answer.json["reasons"])


async def test_who_need_not_be_known_is_told_of_no_topic(
    api: Api, replica: ReplicaTwin, settings: Any
) -> None:
    settings.QUEUE = structs.replace(settings.QUEUE, auth="required")
    replica.faulty = "a bad row"
    for path, status in (("/health", 200), ("/readyz", 503)):
        answer = await api.get(path, None)
        assert answer.status == status
        assert answer.json["reasons"] == ["1 replicas are faulty; /partitions names them"]
        assert b"logs" not in answer.body


async def test_starting_broker_is_alive_and_not_ready(api: Api, failure: Any) -> None:
    runtimes.install(None)
    assert (await api.get("/healthz", None)).status == 200
    assert failure(await api.get("/readyz", None))[0] == 503
    call = {"topic": "logs", "partition": 0, "producer_id": 1, "message": "a"}
    assert failure(await api.post("/producer/produce", **call)) == (503, "NO_LEADER")


async def test_metrics_show_the_broker(api: Api) -> None:
    text = (await api.get("/metrics", None)).body.decode()
    assert 'queue_broker_replicas{role="leader"} 1.0' in text
    assert "queue_broker_long_polls 0.0" in text
    assert "# TYPE queue_broker_messages_produced_total counter" in text

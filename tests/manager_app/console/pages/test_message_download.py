from __future__ import annotations

import pytest

from manager_app.console.pages import message_download
from myqueue.contract.records import Record
from tests.manager_app.console.pages.test_messages import URL, filled, patience

__all__ = ["patience"]  # a fixture for the tests here, too


@pytest.fixture
async def reader(site, log_in_at):
    return await log_in_at("viewer", messages=True)


def lines(answer):
    import msgspec

    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/jsonl"
    return [msgspec.json.decode(line) for line in answer.body.splitlines()]


async def test_what_the_browser_shows_is_downloaded_line_by_line(site, reader):
    await filled(site)
    every = lines(await reader.get(f"{URL}download/?start=oldest"))
    assert [one["key"] for one in every] == [f"k{number}" for number in range(6)]
    assert every[0] == {
        "topic": "logs",
        "partition": 0,
        "offset": 0,
        "timestamp": 1_000,
        "message": '{"n": 0}',
        "key": "k0",
        "headers": {"trace": "t0"},
    }
    newest = lines(await reader.get(f"{URL}download/?partition=1"))
    assert [one["offset"] for one in newest] == [2, 1, 0]
    found = lines(await reader.get(f"{URL}download/?key=k3"))
    assert [one["key"] for one in found] == ["k3"]


async def test_bytes_come_in_base64_and_hostile_text_as_text(site, reader):
    await site.create_topic("logs", 1)
    site.twins.group("logs", 0).append([Record(b"\xff"), Record("a\nb</script>")])
    answer = await reader.get(f"{URL}download/?start=oldest")
    one, other = lines(answer)
    assert (one["message"], one["message_base64"]) == (None, "/w==")
    assert other["message"] == "a\nb</script>"
    assert answer.headers["content-disposition"] == 'attachment; filename="logs.jsonl"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_download_ends_at_its_limits(site, reader, monkeypatch):
    await filled(site)
    monkeypatch.setattr(message_download, "PIECE", message_download.ScanLimits(found=2))
    monkeypatch.setattr(message_download, "MESSAGES_MAX", 3)
    assert len(lines(await reader.get(f"{URL}download/?start=oldest"))) == 4
    monkeypatch.setattr(message_download, "MESSAGES_MAX", 100)
    monkeypatch.setattr(message_download, "BYTES_MAX", 1)
    assert len(lines(await reader.get(f"{URL}download/?start=oldest"))) == 2
    monkeypatch.setattr(message_download, "BYTES_MAX", 1 << 20)
    assert len(lines(await reader.get(f"{URL}download/?start=oldest"))) == 6


async def test_a_wrong_question_is_refused(site, reader):
    await filled(site)
    for query, status in [("path=x", 400), ("at=x", 400), ("partition=9", 400)]:
        assert (await reader.get(f"{URL}download/?{query}")).status == status
    assert (await reader.get("/admin/topics/nowhere/messages/download/")).status == 404

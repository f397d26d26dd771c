"""The page of dead letters: what is shown of them, to whom, and who may send them back."""

from __future__ import annotations

import pytest

from myqueue.contract.records import Record
from tests.manager_app.console.pages.test_groups import ask_anew
from tests.manager_app.group_twin import CommittedTwin

PAGE = "/admin/groups/mailers/dead-letters/mails/"
HTML = "<script>alert(1)</script>"


@pytest.fixture
async def dead(site, monkeypatch):
    ask_anew(site, monkeypatch)
    await site.create_topic("mails", partitions=1)
    await site.create_topic("mails.dead", partitions=1)
    site.twins.group("mails", 0).offsets["mailers"] = CommittedTwin(0, offset=0, unsettled=1)
    headers = {
        "dead-letter-topic": "mails",
        "dead-letter-partition": "0",
        "dead-letter-offset": "17",
        "dead-letter-group": "mailers",
        "dead-letter-deliveries": "5",
    }
    values = (HTML, b"\xff\xfe" * 400, "x" * (1 << 20))
    records = [Record(value, "k", headers, timestamp=1) for value in values]
    site.twins.group("mails.dead", 0).append(records)
    return site


async def shown(browser, path=PAGE, status=200):
    answer = await browser.get(path)
    assert answer.status == status, answer.body.decode()[:500]
    return answer.body.decode()


async def test_letters_are_shown_as_text_cut_with_where_they_died(dead, log_in_at):
    page = await shown(await log_in_at("operator", messages=True))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert HTML not in page
    assert "mails / 0 at 17" in page
    assert "ff fe" in page
    assert "1.0 MiB" in page
    assert len(page) < 100_000
    assert "/admin/topics/mails.dead/messages/0/2/" in page


async def test_without_the_right_to_read_messages_their_number_alone_is_shown(dead, log_in_at):
    page = await shown(await log_in_at("operator"))
    assert "script&gt;alert" not in page
    assert "a right of its own" in page
    assert f"{PAGE}redrive/" in page


async def test_only_who_may_sends_back_and_purges(dead, log_in_at):
    viewer, operator = await log_in_at("viewer", messages=True), await log_in_at("operator")
    assert "redrive" not in await shown(viewer)
    for action in ("redrive", "purge"):
        assert (await viewer.get(f"{PAGE}{action}/")).status == 403
    assert "3 dead letters in mails.dead will go back" in await shown(operator, f"{PAGE}redrive/")
    assert (await operator.post(f"{PAGE}purge/", confirmed=1)).status == 403
    admin = await log_in_at("administrator")
    done = await admin.post(f"{PAGE}purge/", confirmed=1, typed="mails")
    assert (done.status, done.headers["location"]) == (302, PAGE)
    assert dead.twins.group("mails.dead", 0).begin == 3
    assert "No dead letter waits here." in await shown(admin)


async def test_before_anything_died_it_says_so_and_of_others_nothing(dead, log_in_at):
    await dead.create_topic("jobs", partitions=1)
    dead.twins.group("jobs", 0).offsets["mailers"] = CommittedTwin(0, offset=0)
    browser = await log_in_at("operator")
    page = await shown(browser, "/admin/groups/mailers/dead-letters/jobs/")
    assert "No dead letter waits here." in page
    assert "redrive/" not in page
    await shown(browser, "/admin/groups/nobody/dead-letters/mails/", status=404)
    group = await shown(browser, "/admin/groups/mailers/")
    assert PAGE in group

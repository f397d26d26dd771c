from __future__ import annotations

import re

import pytest

from manager_app.browsing import reading
from manager_app.browsing.reading import ScanLimits
from manager_app.console.pages import messages
from manager_app.console.pages.messages import places_of, text_of_places
from manager_app.models import Event
from myqueue.contract.errors import InvalidRequest, Overloaded
from myqueue.contract.records import Record, placeholder_batch

URL = "/admin/topics/logs/messages/"


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let no busy machine end a look early."""
    monkeypatch.setattr(reading, "LOOK_S", 60.0)
    monkeypatch.setattr(reading, "BROKER_LIMIT_S", 60.0)


PUBLISH = "/admin/topics/logs/publish/"
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'


async def filled(site, count=6, *, partitions=2):
    """Make a topic with messages that came to the partitions in turn."""
    await site.create_topic("logs", partitions)
    for number in range(count):
        record = Record(f'{{"n": {number}}}', f"k{number}", {"trace": f"t{number}"}, 1_000 + number)
        site.twins.group("logs", number % partitions).append([record])


def listed(answer):
    """Return the (partition, offset) of the messages that a page lists."""
    assert answer.status == 200, answer
    links = re.findall(r'href="/admin/topics/logs/messages/(\d+)/(\d+)/"', answer.body.decode())
    return [(int(partition), int(offset)) for partition, offset in links]


@pytest.fixture
async def reader(site, log_in_at):
    return await log_in_at("operator", messages=True)


async def test_who_may_not_read_messages_sees_none_and_who_may_not_publish_does_not(
    site, log_in_at
):
    await filled(site)
    browser = await log_in_at("administrator")
    shown = (await browser.get("/admin/topics/logs/")).body.decode()
    assert URL not in shown
    assert PUBLISH not in shown
    for path in (URL, f"{URL}?follow=1", f"{URL}0/0/", f"{URL}download/", f"{URL}0/0/?download=1"):
        assert (await browser.get(path)).status == 403
    for path in (PUBLISH, f"{URL}0/0/republish/"):
        assert (await browser.get(path)).status == 403
        assert (await browser.post(path, value="x", request_id="r", target="logs")).status == 403
    assert sum(len(group.records) for group in site.twins.groups.values()) == 6


async def test_nobody_unknown_downloads_messages(site):
    await filled(site)
    answer = await site.send("GET", f"{URL}download/")
    assert answer.status == 302
    assert answer.headers["location"].startswith("/admin/login/")


async def test_the_newest_are_shown_first_and_a_link_goes_on(site, reader, monkeypatch):
    monkeypatch.setattr(messages, "LOOK_LIMITS", ScanLimits(found=4))
    await filled(site)
    page = await reader.get(URL)
    assert listed(page) == [(1, 2), (0, 2), (1, 1), (0, 1)]
    [further] = set(re.findall(r'href="(\?at=[^"]+)"', page.body.decode()))
    rest = await reader.get(URL + further.replace("&amp;", "&"))
    assert listed(rest) == [(1, 0), (0, 0)]
    assert b"These are the oldest." in rest.body


async def test_messages_are_found_by_text_key_header_path_offset_and_time(site, reader):
    await filled(site)
    for query, found in [
        ("text=%22N%22%3A+4", [(0, 2)]),
        ("key=k3", [(1, 1)]),
        ("header=trace%3Dt5", [(1, 2)]),
        ("path=%24.n+%3D+1", [(1, 0)]),
        ("start=oldest", [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]),
        ("start=offset&offset=2", [(0, 2), (1, 2)]),
        ("start=offset&offset=1&partition=1", [(1, 1), (1, 2)]),
        ("start=time&time=1970-01-01T00:00:00", [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]),
        ("partition=0", [(0, 2), (0, 1), (0, 0)]),
        ("text=nowhere", []),
    ]:
        assert listed(await reader.get(f"{URL}?{query}")) == found, query


async def test_a_wrong_question_is_answered_at_its_field(site, reader):
    await filled(site)
    for query, said in [
        ("path=nonsense", "is no JSON path"),
        ("start=offset", "Say which offset"),
        ("start=offset&offset=x", "whole number"),
        ("partition=7", "7 is not one of the available choices"),
        ("start=time&time=soon", "valid date"),
    ]:
        page = await reader.get(f"{URL}?{query}")
        assert listed(page) == []
        assert said in page.body.decode(), query
    assert (await reader.get(f"{URL}?at=1.x")).status == 400
    assert (await reader.get(f"{URL}?at=9.0")).status == 400
    assert (await reader.get("/admin/topics/nowhere/messages/")).status == 404


async def test_what_is_looked_for_goes_on_by_itself_until_it_was_found(site, reader, monkeypatch):
    monkeypatch.setattr(reading, "SIFTED_WINDOW", 1)
    monkeypatch.setattr(messages, "LOOK_LIMITS", ScanLimits(messages=2))
    await filled(site)
    page = (await reader.get(f"{URL}?key=k0")).body.decode()
    assert "load delay" in page
    assert "2 messages" in page
    assert "4 to go." in page


async def test_followed_messages_come_once_and_in_order(site, reader):
    await filled(site, 2)
    page = await reader.get(f"{URL}?follow=1")
    assert listed(page) == [(1, 0), (0, 0)]
    for number in range(3):
        site.twins.group("logs", 0).append([Record(f"new {number}", timestamp=2_000 + number)])
    [again] = re.findall(r'hx-get="(\?[^"]+)"', page.body.decode())
    more = await reader.get(URL + again.replace("&amp;", "&"))
    assert listed(more) == [(0, 3), (0, 2), (0, 1)]
    [again] = re.findall(r'hx-get="(\?[^"]+)"', more.body.decode())
    assert listed(await reader.get(URL + again.replace("&amp;", "&"))) == []


async def test_a_message_shows_all_that_it_has_and_leads_to_its_neighbours(site, reader):
    await filled(site)
    page = (await reader.get(f"{URL}1/1/")).body.decode()
    assert "{\n  &quot;n&quot;: 3\n}" in page
    for text in ("k3", "trace", "t3", f"{URL}1/0/", f"{URL}1/2/"):
        assert text in page
    assert "{&quot;n&quot;: 3}" in (await reader.get(f"{URL}1/1/?form=text")).body.decode()
    assert "7b 22 6e" in (await reader.get(f"{URL}1/1/?form=hex")).body.decode()
    assert (await reader.get(f"{URL}1/99/")).status == 404
    assert (await reader.get(f"{URL}9/0/")).status == 404


async def test_hostile_contents_are_text_wherever_they_are_shown(site, reader):
    await site.create_topic("logs", 1)
    record = Record(HOSTILE, HOSTILE, {HOSTILE: HOSTILE.encode()}, 1_000)
    site.twins.group("logs", 0).append([record])
    for path in (URL, f"{URL}?follow=1", f"{URL}0/0/", f"{URL}0/0/?form=text", f"{URL}?text=%3Csc"):
        page = (await reader.get(path)).body.decode()
        assert "&lt;script&gt;alert(1)" in page, path
        assert "<script>alert" not in page
        assert "<img src=x" not in page


@pytest.mark.parametrize(
    "value",
    ["x" * (1 << 20), b"\xff\x00" * (1 << 19), '{"a": "' + "y" * ((1 << 20) - 9) + '"}', ""],
    ids=["text", "binary", "json", "empty"],
)
async def test_large_and_binary_values_are_cut_and_downloaded_whole(site, reader, value):
    await site.create_topic("logs", 1)
    site.twins.group("logs", 0).append([Record(value, timestamp=1_000)])
    listing, page = await reader.get(URL), await reader.get(f"{URL}0/0/")
    assert len(listing.body) < 200_000
    assert len(page.body) < 400_000
    assert (b"The download has everything." in page.body) is bool(value)
    saved = await reader.get(f"{URL}0/0/?download=1")
    assert saved.body == (value.encode() if isinstance(value, str) else value)
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"] == 'attachment; filename="logs-0-0"'
    assert saved.headers["x-content-type-options"] == "nosniff"


async def test_what_nobody_can_decode_is_said_and_stepped_over(site, reader, monkeypatch):
    await filled(site, partitions=1, count=3)
    encode = "tests.manager_app.passing_twin.encode_batch"
    monkeypatch.setattr(encode, lambda _: placeholder_batch(1, 1_000))
    assert b"cannot be read and are stepped over" in (await reader.get(URL)).body
    page = (await reader.get(f"{URL}0/1/")).body.decode()
    assert "cannot be read" in page
    assert f"{URL}0/0/" in page
    assert f"{URL}0/2/" in page


async def test_a_silent_broker_is_named_and_the_rest_is_shown(site, reader, monkeypatch):
    monkeypatch.setattr(reading, "BROKER_LIMIT_S", 0.2)
    await filled(site)
    silent = site.twins.by_id(site.twins.group("logs", 1).leader)
    silent.offsets.silent.add("/fetch")
    page = await reader.get(URL)
    silent.offsets.silent.clear()
    assert b"Partition 1 is not shown" in page.body
    if b"Partition 0 is not shown" not in page.body:  # as so short a limit may have it
        assert listed(page) == [(0, 2), (0, 1), (0, 0)]


async def test_a_partition_that_was_silent_is_followed_from_when_it_answers(site, reader):
    await filled(site)
    leaders = {site.twins.group("logs", index).leader for index in range(2)}
    for broker_id in leaders:
        site.twins.by_id(broker_id).refuses["/fetch"] = Overloaded("busy", retry_after_ms=1)
    page = await reader.get(f"{URL}?follow=1")
    assert listed(page) == []
    for broker_id in leaders:
        site.twins.by_id(broker_id).refuses.clear()
    site.twins.group("logs", 1).append([Record("new", timestamp=2_000)])
    [again] = re.findall(r'hx-get="(\?[^"]+)"', page.body.decode())
    assert listed(await reader.get(URL + again.replace("&amp;", "&"))) == [(1, 3)]


async def test_partitions_that_say_nothing_begin_where_the_others_do(site, reader, monkeypatch):
    await filled(site)
    for twin in site.twins.brokers:
        twin.refuses["/partitions"] = Overloaded("busy", retry_after_ms=1)
    page = await reader.get(URL)
    assert b"Partition 0 is not shown" in page.body
    [further] = set(re.findall(r'href="(\?at=[^"]+)"', page.body.decode())) or {""}
    for twin in site.twins.brokers:
        twin.refuses.clear()
    assert len(listed(await reader.get(URL + further.replace("&amp;", "&")))) == 6


async def test_a_message_is_published_and_its_place_is_said(site, reader):
    await site.create_topic("logs", 2)
    form = (await reader.get(PUBLISH)).body.decode()
    [request_id] = re.findall(r'name="request_id" value="([0-9a-f]{32})"', form)
    fields = {
        "value": "one\r\ntwo",
        "key": "k",
        "headers": "trace: abc\r\nkind: test",
        "partition": "1",
        "request_id": request_id,
    }
    done = await reader.post(PUBLISH, **fields)
    assert (done.status, done.headers["location"]) == (302, f"{PUBLISH}?partition=1&offset=0")
    shown = (await reader.get(done.headers["location"])).body.decode()
    assert f'href="{URL}1/0/"' in shown
    [record] = site.twins.group("logs", 1).records
    assert record[:3] == ("one\ntwo", "k", {"trace": "abc", "kind": "test"})
    assert (await reader.post(PUBLISH, **fields)).headers["location"] == done.headers["location"]
    assert len(site.twins.group("logs", 1).records) == 1


async def test_what_was_published_is_in_no_log_of_actions(site, reader):
    await site.create_topic("logs", 1)
    secret = {"value": "body-s3cret", "key": "key-s3cret", "headers": "h: head-s3cret"}
    assert (await reader.post(PUBLISH, **secret, request_id="r")).status == 302
    event = await site.in_database(lambda: Event.objects.get(action="publish"))
    assert event.text == "Published to logs, partition 0, at offset 0."
    assert "s3cret" not in str(event.details)
    assert event.details["asked"].keys() == {"as_json", "partition", "request_id"}


async def test_what_cannot_be_published_is_said_at_its_field(site, reader):
    await site.create_topic("logs", 1)
    for wrong, said in [
        ({"value": "{", "as_json": "on"}, "It is no JSON"),
        ({"value": "v", "headers": "no colon"}, "is no header"),
        ({"value": "v", "partition": "7"}, "partitions 0 to 0 not 7"),
        ({"value": "v", "key": "k" * 9_000}, "key has"),
    ]:
        refused = await reader.post(PUBLISH, **wrong, request_id="r")
        assert refused.status in (400, 404, 413), wrong
        assert said in refused.body.decode().replace(",", ""), wrong
        assert b'name="value"' in refused.body
    assert not site.twins.group("logs", 0).records


async def test_a_message_is_published_again_as_it_is(site, reader):
    await site.create_topic("logs", 1)
    await site.create_topic("copies", 1)
    site.twins.group("logs", 0).append([Record(b"\xff", b"k", {"h": b"\x00"}, 1_000)])
    url = f"{URL}0/0/republish/"
    form = (await reader.get(url)).body.decode()
    assert 'name="target" value="logs"' in form
    nowhere = await reader.post(url, target="nowhere", request_id="r")
    assert nowhere.status == 400
    asked = await reader.post(url, target="copies", request_id="r")
    assert b"the same value (1 B)" in asked.body
    assert not site.twins.group("copies", 0).records
    done = await reader.post(url, target="copies", request_id="r", confirmed=1)
    assert (done.status, done.headers["location"]) == (302, f"{URL}0/0/")
    [record] = site.twins.group("copies", 0).records
    assert record[:3] == (b"\xff", b"k", {"h": b"\x00"})


def test_places_are_written_so_that_they_read_as_the_same():
    places = {0: 17, 12: 1 << 62}
    assert places_of(text_of_places(places)) == places
    assert places_of("") == {}
    for wrong in ("0", "0.", "a.1", "0.1_", "0.1,1.2", "0.-1"):
        with pytest.raises(InvalidRequest):
            places_of(wrong)

from __future__ import annotations

from manager_app.models import Event
from manager_app.services.events import about, event_store


async def test_events_are_listed_newest_first_in_pages(site):
    def make():
        Event.objects.all().delete()
        for number in range(3):
            event_store(
                Event(action=f"act {number}", about=about(topic="orders"), details={"n": number})
            )

    await site.in_database(make)
    first = await site.get("/events?limit=2")
    assert [event["details"]["n"] for event in first["events"]] == [2, 1]
    assert first["events"][0] | {"id": 0, "at": 0} == {
        "id": 0,
        "at": 0,
        "kind": "action",
        "action": "act 2",
        "text": "act 2",
        "about": ["topic:orders"],
        "person": "",
        "origin": "",
        "outcome": "",
        "details": {"n": 2},
    }
    rest = await site.get(f"/events?limit=2&after={first['next']}")
    assert ([event["details"]["n"] for event in rest["events"]], rest["next"]) == ([0], None)
    assert (await site.get("/events?about=topic:other"))["events"] == []


async def test_a_filter_that_cannot_be_is_refused_by_name(site):
    for query, field in (("kind=party", "kind"), ("about=x", "about"), ("since=-1", "since")):
        assert (await site.get(f"/events?{query}", status=400))["field"] == field

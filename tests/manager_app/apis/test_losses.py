"""Who may ask what a partition lost, and where there is nothing to ask."""

from __future__ import annotations

LOSS = "/topics/logs/partitions/0/loss"


async def test_only_the_cluster_may_and_only_where_something_is_lost(site):
    await site.create_topic(partitions=1)
    cluster = {"authorization": f"Bearer {site.cluster_token}"}
    assert (await site.ask("GET", LOSS, status=401))["code"] == "UNAUTHORIZED"
    refused = await site.ask("POST", LOSS, {"by": "ada"}, status=401)
    assert refused["code"] == "UNAUTHORIZED"
    for method, fields in (("GET", None), ("POST", {"by": "ada"})):
        answer = await site.ask(method, LOSS, fields, status=409, **cluster)
        assert "has a leader" in answer["message"]
    nowhere = "/topics/logs/partitions/7/loss"
    answer = await site.ask("GET", nowhere, status=404, **cluster)
    assert answer["code"] == "PARTITION_NOT_FOUND"
    answer = await site.ask("POST", LOSS, {"by": ""}, status=400, **cluster)
    assert answer["field"] == "by"

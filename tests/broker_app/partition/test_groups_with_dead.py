"""Which partitions have something to bury."""

from __future__ import annotations

from broker_app.partition.groups_with_dead import GroupsWithDead


async def test_it_holds_what_has_something_to_bury_and_tells_of_news() -> None:
    index = GroupsWithDead()
    index.note(7, may_have_dead=False)
    assert not index.news.is_set()
    for group_id in (9, 7, 9):
        index.note(group_id, may_have_dead=True)
    assert index.group_ids() == [9, 7]
    assert index.news.is_set()
    index.news.clear()
    index.note(9, may_have_dead=False)
    index.note(9, may_have_dead=False)
    assert index.group_ids() == [7]
    assert not index.news.is_set()

"""Guard over groups that sleep: signs of life, and engines whose peers come and go."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from myqueue.contract.errors import NoLeader, NotLeader
from raft_app.core.config import RaftConfig
from raft_app.core.types import AppendEntriesReply, Membership, Quiesce, RaftMember, Wake
from raft_app.engine import failover
from raft_app.engine.config import EngineConfig
from raft_app.engine.guard import PeerSigns, silence_ticks
from raft_app.storage.protocol import GroupSpec
from tests.raft_app.engine.engine_harness import EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RAFT = RaftConfig(quiesce_after_ticks=20)
CONFIG = EngineConfig(raft=RAFT, ticks_missed_max=1_000_000)
SILENCE = silence_ticks(RAFT)


# --- signs --------------------------------------------------------------------------------------


def test_a_peer_that_was_heard_falls_silent_once():
    signs = PeerSigns(3)
    assert signs.heard(7)
    assert [signs.tick() for _ in range(4)] == [[], [], [7], []]
    assert not signs.hears(7)


def test_each_sign_keeps_a_peer_heard_and_only_the_first_tells_that_it_is_back():
    signs = PeerSigns(3)
    assert [signs.heard(7) for _ in range(3) if signs.tick() == []] == [True, False, False]
    assert signs.tick() == signs.tick() == []
    assert signs.tick() == [7]
    assert signs.heard(7)


def test_a_peer_whose_connection_broke_does_not_fall_silent_as_well():
    signs = PeerSigns(3)
    signs.heard(7)
    signs.lost(7)
    signs.lost(8)
    assert [signs.tick() for _ in range(5)] == [[]] * 5


def test_a_peer_that_was_never_heard_does_not_fall_silent():
    signs = PeerSigns(1)
    assert signs.tick() == []


def test_silence_is_noticed_well_before_an_election_timeout():
    assert silence_ticks(RaftConfig()) == 14


# --- engines ------------------------------------------------------------------------------------


@asynccontextmanager
async def sleeping(groups: int = 1) -> AsyncIterator[EngineCluster]:
    """Make three brokers whose groups sleep, the first of them led by broker 1."""
    cluster = EngineCluster(config=CONFIG)
    try:
        await cluster.start_all()
        for group_id in range(1, groups + 1):
            await cluster.create_group(group_id)
        await cluster.until(lambda: all_sleep(cluster))
        yield cluster
    finally:
        await cluster.stop_all()


def all_sleep(cluster: EngineCluster) -> bool:
    return all(not engine.engine_loop.awake for engine in cluster.engines.values())


def awake(cluster: EngineCluster) -> dict[int, set[int]]:
    """Return broker -> the groups that are awake there."""
    return {number: set(one.engine_loop.awake) for number, one in cluster.engines.items()}


async def test_ticks_look_at_no_group_that_sleeps_and_signs_of_life_go_on():
    async with sleeping(groups=3) as cluster:
        before = {number: one.engine_loop.turns for number, one in cluster.engines.items()}
        frames = cluster.engines[1].transport_counters.frames_sent
        await cluster.ticks(100)
        assert awake(cluster) == {1: set(), 2: set(), 3: set()}
        assert {number: one.engine_loop.turns for number, one in cluster.engines.items()} == before
        sent = cluster.engines[1].transport_counters.frames_sent - frames
        assert 2 * 90 // RAFT.heartbeat_ticks <= sent <= 2 * 110 // RAFT.heartbeat_ticks


async def test_a_write_wakes_the_group_that_it_is_for_alone():
    async with sleeping(groups=2) as cluster:
        assert await cluster.append("a", 2) == 0
        assert awake(cluster) == {1: {2}, 2: {2}, 3: {2}}
        await cluster.until(lambda: cluster.values(2, 2) == cluster.values(3, 2) == ["a"])
        await cluster.until(lambda: all_sleep(cluster))


async def test_time_passes_for_a_leader_that_is_asked_for_a_change_it_has_to_refuse():
    async with sleeping() as cluster:
        await cluster.stop(3)
        await cluster.until(lambda: all_sleep(cluster))
        leader, target = cluster.engines[1], (RaftMember(11, 1), RaftMember(13, 3))
        leader.change_replicas(1, target, version=2)
        assert "no quorum" in leader.find_change(1).waiting_for
        before = leader.replicas[1].node.now
        await cluster.ticks(3)
        assert awake(cluster)[1] == {1}
        assert leader.replicas[1].node.now > before


async def test_a_read_wakes_a_group():
    async with sleeping() as cluster:
        await cluster.the_leader().read_barrier(1, timeout_ms=5_000)
        assert awake(cluster)[1] == {1}


async def test_followers_wake_when_the_connection_from_their_leader_breaks_and_elect_another():
    async with sleeping(groups=2) as cluster:
        engine = cluster.engines.pop(1)
        await engine.stop()
        await cluster.until(
            lambda: all(cluster.leader(group_id) is not None for group_id in (1, 2))
        )
        assert await cluster.append("a") == 0


async def test_followers_wake_when_their_leaders_broker_falls_silent():
    async with sleeping() as cluster:
        cluster.hub.isolate(1, silently=True)
        await cluster.ticks(SILENCE - 2)
        assert awake(cluster) == {1: set(), 2: set(), 3: set()}
        await cluster.until(
            lambda: any(cluster.engines[number].replicas[1].serves for number in (2, 3))
        )
        assert cluster.engines[2].guard.silences == 1


async def test_a_leader_that_hears_no_other_broker_any_more_steps_down():
    async with sleeping() as cluster:
        cluster.hub.isolate(1, silently=True)
        await cluster.until(lambda: not cluster.engines[1].replicas[1].is_leader)


async def test_the_loss_of_a_broker_wakes_only_the_groups_that_it_leads():
    async with sleeping() as cluster:
        await cluster.create_group(2, first=2)
        await cluster.until(lambda: all_sleep(cluster))
        cluster.hub.cut(2, 3, silently=True)
        await cluster.ticks(SILENCE + 2)
        assert 1 not in awake(cluster)[3]


async def test_a_group_sleeps_on_without_a_broker_that_is_gone_and_wakes_for_it_when_it_lags():
    async with sleeping() as cluster:
        await cluster.stop(3)
        await cluster.append("a")
        await cluster.until(lambda: all_sleep(cluster))
        await cluster.start(3)
        await cluster.until(lambda: cluster.values(3) == ["a"] and all_sleep(cluster))
        assert cluster.leader() is cluster.engines[1]


async def test_a_broker_that_comes_back_and_lags_nowhere_wakes_no_leader():
    async with sleeping(groups=3) as cluster:
        await cluster.append("a")
        await cluster.until(lambda: all_sleep(cluster))
        terms = {number: one.node.term for number, one in cluster.engines[1].replicas.items()}
        await cluster.stop(3)
        woken: list[int] = []
        mark = cluster.engines[1].engine_loop._note_awake

        def note(replica) -> None:
            mark(replica)
            woken.extend(cluster.engines[1].engine_loop.awake)

        cluster.engines[1].engine_loop._note_awake = note
        await cluster.start(3)
        await cluster.until(lambda: not cluster.engines[3].engine_loop.awake)
        assert woken == []
        assert {n: one.node.term for n, one in cluster.engines[3].replicas.items()} == terms


async def test_nobody_sleeps_on_a_leader_that_became_faulty():
    async with sleeping() as cluster:
        engine = cluster.engines[1]
        engine.engine_loop.make_faulty(engine.replicas[1], "a bad row")
        await cluster.until(
            lambda: any(cluster.engines[number].replicas[1].serves for number in (2, 3))
        )
        assert all(group_id == 1 for group_id in engine.guard._resigned)


async def test_a_follower_that_hears_the_broker_of_a_replica_that_its_leader_misses_stays_awake():
    async with sleeping() as cluster:
        node = cluster.engines[2].replicas[1].node
        await cluster.the_leader().read_barrier(1, timeout_ms=5_000)
        await cluster.ticks(2)
        quiesce = Quiesce(12, 11, node.term, node.commit_index, (13,))
        cluster.engines[2].incoming.rpcs_received(1, [(1, quiesce)])
        assert not node.is_asleep
        [wake] = node.ready().send_now
        assert wake == Wake(11, 12, node.term)


@pytest.mark.parametrize("leads", [True, False])
async def test_a_replica_that_is_dropped_is_ticked_no_more(leads: bool):
    async with sleeping() as cluster:
        await cluster.the_leader().read_barrier(1, timeout_ms=5_000)
        engine = cluster.engines[1 if leads else 2]
        await engine.delete_replica(1)
        await asyncio.sleep(0)
        assert not engine.engine_loop.awake


async def test_a_replica_that_an_acknowledgement_wakes_is_ticked():
    async with sleeping() as cluster:
        replica = cluster.engines[2].replicas[1]
        late = AppendEntriesReply(12, 13, replica.node.term, True, 0, last_index=0)
        cluster.engines[2].incoming.rpcs_received(3, [(1, late)])
        assert not replica.node.is_asleep
        await asyncio.sleep(0)
        assert cluster.engines[2].engine_loop.awake == {1: replica}


@pytest.mark.parametrize(
    ("heartbeat_ticks", "missed_max", "ticks"), [(1, 20, 1), (2, 20, 2), (8, 20, 5), (2, 3, 1)]
)
def test_ticks_at_rest_are_as_rare_as_signs_but_never_missed(heartbeat_ticks, missed_max, ticks):
    raft = RaftConfig(heartbeat_ticks=heartbeat_ticks, election_timeout_ticks=80)
    assert EngineConfig(raft=raft, ticks_missed_max=missed_max).ticks_at_rest == ticks


async def test_while_everything_sleeps_the_scheduler_calls_once_for_each_sign_of_life():
    async with sleeping() as cluster:
        engine, signs, ticks = cluster.engines[1], [], []
        send, tick = engine.guard._send, engine.slow_disk.tick
        engine.guard._send = lambda broker_id, rpcs: (
            signs.append(broker_id),
            send(broker_id, rpcs),
        )
        engine.slow_disk.tick = lambda: (ticks.append(1), tick())
        assert engine.post_due_ticks() == RAFT.heartbeat_ticks == 2
        await asyncio.sleep(0)
        signs.clear()
        ticks.clear()
        for count in (1, 2, 3):
            assert engine.post_due_ticks() == 2
            await asyncio.sleep(0)
            assert signs.count(2) == signs.count(3) == count
            assert len(ticks) == 2 * count


async def test_a_replica_that_woke_between_two_calls_of_the_scheduler_has_one_tick_at_a_time():
    async with sleeping() as cluster:
        engine = cluster.engines[1]
        replica = engine.replicas[1]
        assert engine.post_due_ticks() == 2
        await asyncio.sleep(0)
        replica.node.wake()
        engine.engine_loop.mark(replica)
        await asyncio.sleep(0)
        ticks, tick = [], replica.node.tick
        replica.node.tick = lambda: (ticks.append(1), tick())
        for count in (1, 2, 3):
            assert engine.post_due_ticks() == 1
            await asyncio.sleep(0)
            assert len(ticks) == count


# --- many groups --------------------------------------------------------------------------------

GROUPS = 30


def led_by_others(cluster: EngineCluster, group_ids=range(1, GROUPS + 1)) -> bool:
    """Tell whether brokers 2 and 3 lead these groups."""
    engines = [cluster.engines[number] for number in (2, 3)]
    return all(any(engine.replicas[one].serves for engine in engines) for one in group_ids)


async def test_the_groups_of_a_lost_broker_elect_so_many_at_a_time_and_then_sleep(monkeypatch):
    monkeypatch.setattr(failover, "AT_ONCE", 3)
    async with sleeping(groups=GROUPS) as cluster:
        most = [0]

        def all_led() -> bool:
            most.append(max(len(awake(cluster)[number]) for number in (2, 3)))
            return led_by_others(cluster)

        cluster.hub.isolate(1, silently=True)
        await cluster.until(all_led)
        assert 0 < max(most) <= 20
        ticks = await cluster.until(lambda: not (awake(cluster)[2] or awake(cluster)[3]))
        assert ticks < RAFT.quiesce_after_ticks


async def test_a_group_that_somebody_wants_has_its_turn_at_once(monkeypatch):
    monkeypatch.setattr(failover, "AT_ONCE", 0)
    async with sleeping(groups=GROUPS) as cluster:
        cluster.hub.isolate(1, silently=True)
        await cluster.ticks(3 * RAFT.election_timeout_ticks)
        assert not any(led_by_others(cluster, [one]) for one in range(1, GROUPS + 1))
        for number in (2, 3):
            with pytest.raises((NotLeader, NoLeader)):
                await cluster.engines[number].propose(7, ("append", "a"), timeout_ms=5_000)
        await cluster.until(lambda: led_by_others(cluster, [7]))
        assert sum(led_by_others(cluster, [one]) for one in range(1, GROUPS + 1)) == 1


async def test_a_broker_that_was_but_silent_keeps_what_it_leads(monkeypatch):
    monkeypatch.setattr(failover, "AT_ONCE", 0)
    async with sleeping(groups=GROUPS) as cluster:
        terms = {one: cluster.engines[2].replicas[one].node.term for one in range(1, GROUPS + 1)}
        cluster.hub.isolate(1, silently=True)
        await cluster.ticks(SILENCE + 4)
        assert not any(one.hears_leader for one in cluster.engines[2].replicas.values())
        cluster.hub.heal()
        await cluster.until(
            lambda: all(one.hears_leader for one in cluster.engines[2].replicas.values())
        )
        monkeypatch.setattr(failover, "AT_ONCE", 100)
        await cluster.ticks(3 * RAFT.election_timeout_ticks)
        assert terms == {
            one: cluster.engines[2].replicas[one].node.term for one in range(1, GROUPS + 1)
        }


async def test_who_is_left_alone_asks_nobody_and_goes_on_when_one_is_back():
    async with sleeping(groups=GROUPS) as cluster:
        await cluster.create_group(GROUPS + 1, first=3)
        await cluster.until(lambda: all_sleep(cluster))
        for number in (1, 2):
            await cluster.stop(number)
        alone = cluster.engines[3]
        await cluster.until(
            lambda: (
                not alone.engine_loop.awake
                and not any(one.hears_leader for one in alone.replicas.values())
            )
        )
        turns = alone.engine_loop.turns
        await cluster.ticks(5 * RAFT.election_timeout_ticks)
        assert alone.engine_loop.turns == turns
        await cluster.start(2)
        await cluster.until(lambda: led_by_others(cluster))
        await cluster.until(lambda: all_sleep(cluster))


async def test_who_asks_already_when_the_last_peer_is_lost_sleeps():
    async with sleeping() as cluster:
        cluster.hub.isolate(3, silently=True)
        engine = cluster.engines[3]
        replica = engine.replicas[1]
        replica.node.campaign()
        engine.engine_loop.mark(replica)
        await cluster.ticks(2)
        assert awake(cluster)[3] == {1}
        assert replica.leader_broker_id == 0
        await cluster.until(lambda: not awake(cluster)[3])
        cluster.hub.heal()
        await cluster.until(lambda: replica.hears_leader)


async def test_what_is_there_at_the_start_sleeps_until_a_leader_says_so_and_wakes_nobody():
    async with sleeping(groups=GROUPS) as cluster:
        await cluster.stop(3)
        await cluster.until(lambda: not (awake(cluster)[1] or awake(cluster)[2]))
        terms = [one.node.term for one in cluster.engines[1].replicas.values()]
        await cluster.start(3)
        assert all(one.is_asleep for one in cluster.engines[3].replicas.values())
        await cluster.until(
            lambda: all(one.hears_leader for one in cluster.engines[3].replicas.values())
        )
        assert terms == [one.node.term for one in cluster.engines[1].replicas.values()]


async def test_all_that_start_together_elect_in_turn(monkeypatch):
    monkeypatch.setattr(failover, "AT_ONCE", 3)
    async with sleeping(groups=GROUPS) as cluster:
        for number in (1, 2, 3):
            await cluster.stop(number)
        for number in (1, 2, 3):
            await cluster.start(number)
        await cluster.until(
            lambda: all(cluster.leader(group_id) is not None for group_id in range(1, GROUPS + 1))
        )
        await cluster.until(lambda: all_sleep(cluster))


async def test_a_lone_broker_leads_what_it_has_when_it_starts():
    cluster = EngineCluster(config=CONFIG)
    try:
        await cluster.start(1)
        spec, alone = GroupSpec(1, 11, "logs", 0), Membership((RaftMember(11, 1),), version=1)
        await cluster.engines[1].create_replica(spec, alone, campaign=True)
        await cluster.until(lambda: cluster.engines[1].replicas[1].serves)
        await cluster.stop(1)
        await cluster.start(1)
        await cluster.until(lambda: cluster.engines[1].replicas[1].serves)
    finally:
        await cluster.stop_all()


async def test_a_group_that_nobody_remembers_is_found():
    async with sleeping(groups=GROUPS) as cluster:
        cluster.hub.isolate(1, silently=True)
        for number in (2, 3):
            engine = cluster.engines[number]
            engine.replicas[5].node.report_connection_lost(11, wakes=False)
            assert engine.replicas[5].is_asleep
        await cluster.until(lambda: led_by_others(cluster, [5]))

"""Brokers that are killed when a vote is durable and has not left."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import RequestVote, RequestVoteReply
from raft_app.engine.loop import EngineLoop
from raft_app.failpoints import ACTIONS
from raft_app.storage.sqlite.storage import SqliteStorage
from tests.raft_app.failpoints.engine_lives import Group
from tests.raft_app.failpoints.lives import copied, forked, in_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from raft_app.core.types import Write
    from raft_app.engine.replica import Replica

ROUNDS = 3
"""Each goes on from what the one before left."""


def killed_before_votes_leave(directory: Path) -> dict[str, int]:
    """Kill a few times in a row, always with a vote on its way; return how often."""
    life, place = Group(), directory / "base"
    place.mkdir(parents=True)
    in_process(life.prepare, place)
    done, told, kills = 0, list[str](), 0
    for _ in range(ROUNDS):
        lines, killed = forked(lambda tell, done=done: _live(life, place, done, tell))
        votes = [line for line in lines if line.startswith("vote ")]
        told += [line for line in lines if line not in votes]
        kills += killed
        for vote in votes:
            broker_id, term, candidate = map(int, vote.split()[1:])
            in_process(_remembers, place / str(broker_id), term, candidate)
        copy = copied(place, directory / "checked")
        done = int(in_process(life.check, copy, done + len(lines) - len(votes), told))
        shutil.rmtree(copy)
    return {"engine.replying": kills}


def _live(life: Group, place: Path, done: int, tell: Callable[[str], None]) -> None:
    """Live until a vote is durable; tell broker, term and candidate before being killed."""
    persisted = EngineLoop._persisted

    def watched(engine_loop: EngineLoop, replica: Replica, write: Write) -> None:
        votes = [
            rpc
            for number, rpcs in replica._held
            for rpc in rpcs
            if number <= write.write_id and isinstance(rpc, RequestVoteReply) and rpc.granted
        ]
        if votes:
            broker_id = replica.broker_of(replica.spec.replica_id)
            tell(f"vote {broker_id} {votes[0].term} {votes[0].to}")
            ACTIONS["engine.replying"] = lambda: os.kill(os.getpid(), signal.SIGKILL)
        persisted(engine_loop, replica, write)

    EngineLoop._persisted = watched  # In a process that ends with it.
    life.live(place, done, tell)


def _remembers(directory: Path, term: int, candidate: int) -> None:
    """After a restart the vote is given again to that candidate, in that term to nobody else."""
    storage = SqliteStorage(directory)
    storage.open()
    [replica] = storage.load_groups()
    for other in replica.initial.membership.voter_ids - {replica.spec.replica_id}:
        node = RawNode(RaftConfig(), replica.initial, randomizer=lambda low, _: low)
        node.step(RequestVote(replica.spec.replica_id, other, term, 1 << 30, term, transfer=True))
        ready = node.ready()
        [reply] = ready.send_after_durable
        assert isinstance(reply, RequestVoteReply)
        assert reply.granted == (other == candidate), (reply, term, candidate)
    storage.close()

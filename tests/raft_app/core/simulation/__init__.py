"""Seeded in-memory simulation of the Raft core: whole groups in one process, in virtual time.

One `random.Random(seed)` decides everything, so that a seed and the commit reproduce a run.

What is done to a group: RPCs are dropped, delayed, duplicated and reordered; links are cut in both
directions or in one; single nodes, the leader or parts of the group are isolated; processes are
killed, alone or all at once, and lose everything that was not durable; disks become slow; clocks
run unevenly and stand still; processes freeze and wake up with everything that waited for them;
connections are reported lost, peers unreachable, elections hinted and leaderships transferred at
random; stored entries are read late, stale or not at all; limits are tiny or ordinary.

What is watched, each by an object of its own (`log_checkers`, `vote_checkers`, `client_checkers`):
at most one leader per term; one vote per term, also across restarts; nothing that depends on the
disk leaves before the disk has it; log matching; leader completeness; commits need a quorum of
disks and an entry of the leader's own term; committed entries never change; applied prefixes are
equal; offsets are contiguous; no acknowledged message is lost, none invented, none twice; reads are
linearizable; who hears a leader votes for nobody else; who is cut off neither raises its term nor
goes on leading. Then everything is healed, and the group must elect, serve and catch up in time,
keep its leader, and replace a killed one.

    python -m tests.raft_app.core.simulation --seeds 1000
    python -m tests.raft_app.core.simulation --seed 4711
"""

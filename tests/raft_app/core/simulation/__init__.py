"""Seeded in-memory simulation of the Raft core: whole groups in one process, in virtual time.

One `random.Random(seed)` decides everything, so that a seed and the commit reproduce a run.

What is done to a group: RPCs are dropped, delayed, duplicated and reordered; links are cut in both
directions or in one; single nodes, the leader or parts of the group are isolated; processes are
killed, alone or all at once, and lose everything that was not durable; disks become slow; clocks
run unevenly and stand still; processes freeze and wake up with everything that waited for them;
connections are reported lost, peers unreachable, elections hinted and leaderships transferred at
random; stored entries are read late, stale or not at all; limits are tiny or ordinary. Members
come, go and are replaced step by step, towards targets that change on the way, and somebody meddles
with it; disks are lost for good, or put back to an earlier state where that is asked for.
Logs are compacted, and snapshots travel row by row over
connections that break, to replicas that die in the middle of installing them.

What is watched, each by an object of its own (`log_checkers`, `vote_checkers`, `client_checkers`,
`membership_checkers`):
at most one leader per term; one vote per term, also across restarts; nothing that depends on the
disk leaves before the disk has it; log matching; leader completeness; commits need a quorum of
disks and an entry of the leader's own term; committed entries never change; applied prefixes are
equal; offsets are contiguous; no acknowledged message is lost, none invented, none twice; reads are
linearizable; who hears a leader votes for nobody else; who is cut off neither raises its term nor
goes on leading; one change of the membership at a time, under the corrected rule; the membership in
force is that of the log; leaders win and commit by quorums that overlap with the group's, and never
after they were removed; a snapshot is what was committed, takes nothing back and brings its
membership; in the middle of an installation nothing is acknowledged. Then everything is healed,
and the group must elect, serve, reach its target and catch up in time, keep its leader in spite of
those removed, and replace a killed one.

    python -m tests.raft_app.core.simulation --seeds 1000
    python -m tests.raft_app.core.simulation --seeds 1000 --changing
    python -m tests.raft_app.core.simulation --seed 4711
"""

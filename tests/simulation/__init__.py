"""Seeded simulation of whole brokers: many of them in one process, in virtual time.

Each broker is real from the engine upwards: storage stream, replicas, snapshots, compactor, state
machine of partitions and the services that views call. The clock, the network, the disk and the
threads are simulated. One `random.Random(seed)` decides everything, also the order of what happens
at the same time, so that a seed and the commit reproduce a run.

What is done: RPCs are dropped, delayed, doubled and reordered; links are cut in both directions or
in one, in the shapes halves, majorities ring, random broker and swizzle clog; processes are killed,
one or all at once, and lose what was not synced; they are paused and resumed, stopped in order and
started again; disks become slow, rot, run full, refuse transactions and fail in a write or a sync,
after which all replicas of the broker are faulty; clocks stand still or tick in bursts; replicas
are added, removed and replaced; logs are compacted, messages let go, snapshots sent and broken
off. Clients produce with sequences and with request ids, pop, ask for sizes and fetch, and repeat
whatever they got no answer to. Members of consumer groups commit while later generations take
over, and queue workers settle what they get, give it back, or forget about it.

What is watched is in `watch`, `history`, `promises` and `group_checkers`. Then everything is
healed, and the group must serve, catch up and reach the membership that is wanted; in the end every
replica holds the same messages.

`large` runs many brokers, groups and clients instead, which lose a broker, then a rack.

    python -m tests.simulation --seeds 100 --jobs 2
    python -m tests.simulation --large --seeds 5
    python -m tests.simulation --seed 4711
"""

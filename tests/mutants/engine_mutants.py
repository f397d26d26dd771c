"""Faults of the engine, the storage and the transport."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_TESTS = "tests/raft_app"

ENGINE_MUTANTS = (
    Mutant(
        name="replies-not-held",
        fault="The engine sends what must wait for the disk at once",
        path="raft_app/engine/replica.py",
        old="            if self._durable_write_id >= ready.after_write_id:\n",
        new="            if self._durable_write_id >= 0:\n",
        test=f"{_TESTS}/engine/test_replica.py::test_vote_leaves_only_once_it_is_durable",
    ),
    Mutant(
        name="success-for-another-entry",
        fault="A waiting request is answered with success although another entry took its place",
        path="raft_app/engine/waiters.py",
        old="            if term == entry.term:\n",
        new="            if term <= entry.term:\n",
        test=f"{_TESTS}/engine/test_replica.py::test_replaced_entry_answers_its_waiter_with_not_leader",
    ),
    Mutant(
        name="nobody-waits-for-a-successor",
        fault="What comes between two leaders is sent away with a pause to make",
        path="raft_app/engine/engine.py",
        old="        if is_between_leaders(replica):\n",
        new="        if replica.faulty:\n",
        test=f"{_TESTS}/engine/test_succession.py"
        "::test_a_request_during_a_hand_over_is_told_the_new_leader_which_takes_it",
    ),
    Mutant(
        name="faulty-replica-answers",
        fault="A replica that doubts what it stored still takes part",
        path="raft_app/engine/replica.py",
        old="        if self.faulty:\n            return False\n        is_member = (",
        new="        is_member = (",
        test=f"{_TESTS}/engine/test_replica.py::test_inconsistent_entry_ends_the_group_and_its_waiters",
    ),
    Mutant(
        name="storage-error-ignored",
        fault="A failed transaction is reported as durable",
        path="raft_app/storage/workers.py",
        old="                self._loop.call_soon_threadsafe(self._failed, error)\n"
        "                break\n",
        new="                pass\n",
        test=f"{_TESTS}/storage/test_stream.py"
        "::test_failure_is_told_once_and_nothing_is_stored_after_it",
    ),
    Mutant(
        name="write-after-failure",
        fault="After a failed sync the storage goes on writing",
        path="raft_app/storage/sqlite/storage.py",
        old="        self._failed = True  # Whatever",
        new="        self._failed = False  # Whatever",
        test=f"{_TESTS}/storage/sqlite/test_storage.py"
        "::test_failed_write_ends_all_writing_and_loses_nothing_acknowledged",
    ),
    Mutant(
        name="fsync-skipped",
        fault="SQLite syncs nothing",
        path="raft_app/storage/sqlite/database.py",
        old='"PRAGMA synchronous=FULL"',
        new='"PRAGMA synchronous=OFF"',
        test=f"{_TESTS}/storage/sqlite/test_storage.py"
        "::test_every_thread_writes_and_reads_with_full_durability",
    ),
    Mutant(
        name="weak-settings-accepted",
        fault="A file system on which SQLite syncs less than asked for is accepted",
        path="raft_app/storage/sqlite/database.py",
        old="                if found != expected:\n",
        new="                if found is None:\n",
        test=f"{_TESTS}/storage/sqlite/test_storage.py::test_weaker_durability_is_refused",
    ),
    Mutant(
        name="corrupt-taken-for-torn",
        fault="Damage in acknowledged transactions is taken for a write that was cut off",
        path="raft_app/storage/wal/scan.py",
        old="return WalVerdict(WalState.CORRUPT, salt, self.committed, self.reason)",
        new="return WalVerdict(WalState.TORN, salt, self.committed)",
        test=f"{_TESTS}/storage/wal/test_scan.py"
        "::test_any_flipped_bit_before_the_last_transaction_is_corruption",
    ),
    Mutant(
        name="receipt-of-old-files",
        fault="After the last connection was closed, the receipt tells of files that are gone",
        path="raft_app/storage/wal/receipt.py",
        old="        if connection is not self._connection:\n",
        new="        if self._connection is None:\n",
        test=f"{_TESTS}/storage/wal/test_receipt.py"
        "::test_receipt_follows_the_database_through_its_last_connection",
    ),
    Mutant(
        name="lone-entry-beside-its-state",
        fault="Of an entry that comes with a term and a vote, only the entry is stored",
        path="raft_app/storage/sqlite/group_writes.py",
        old="if len(self._rows) != 1 or self._hard_states:",
        new="if len(self._rows) != 1:",
        test=f"{_TESTS}/storage/sqlite/test_group_writes.py"
        "::test_a_lone_entry_with_a_hard_state_is_stored_with_it",
    ),
    Mutant(
        name="scrub-forgets-the-offset",
        fault="A step of a scrub does not know which message should come first",
        path="raft_app/storage/scrub.py",
        old="                self._end_offset = self._after.end_offset\n",
        new="                pass\n",
        test=f"{_TESTS}/storage/test_scrub.py"
        "::test_what_a_step_knew_counts_as_long_as_its_last_entry_is_there",
    ),
    Mutant(
        name="scrub-believes-what-was-replaced",
        fault="A step of a scrub goes on from an entry that was replaced since",
        path="raft_app/storage/scrub.py",
        old="            elif entry.term == self._after.term:  # nothing before it was replaced\n",
        new="            else:\n",
        test=f"{_TESTS}/storage/test_scrub.py"
        "::test_what_a_step_knew_counts_as_long_as_its_last_entry_is_there",
    ),
    Mutant(
        name="checksum-not-verified",
        fault="A row of the log is read without verifying its checksum",
        path="raft_app/storage/sqlite/entry_table.py",
        old="    if crc != row[7]:\n",
        new="    if crc == -1:\n",
        test=f"{_TESTS}/storage/sqlite/test_entry_table.py::test_any_changed_bit_of_any_column_is_noticed",
    ),
    Mutant(
        name="directory-not-locked",
        fault="A second process may open the directory",
        path="raft_app/storage/sqlite/directory.py",
        old="fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        new="fcntl.flock(descriptor, fcntl.LOCK_UN)",
        test=f"{_TESTS}/storage/sqlite/test_directory.py::test_second_holder_is_refused_until_the_first_releases",
    ),
    Mutant(
        name="peer-not-verified",
        fault="A peer is believed without the proof that it knows the cluster's secret",
        path="raft_app/transport/handshake.py",
        old="    if not hmac.compare_digest(proof, expected):\n",
        new="    if len(proof) != len(expected):\n",
        test=f"{_TESTS}/transport/test_handshake.py::test_another_secret_is_refused_by_the_acceptor",
    ),
    Mutant(
        name="proposals-without-budget",
        fault="A leader takes proposals whatever all its groups hold in memory already",
        path="raft_app/engine/replica.py",
        old="                self._require_room(proposal.size_bytes)\n",
        new="",
        test=f"{_TESTS}/engine/test_memory.py"
        "::test_a_partition_without_a_quorum_takes_half_at_most_and_the_others_go_on",
    ),
    Mutant(
        name="follower-takes-all",
        fault="A follower takes entries whatever waits for its disk already",
        path="raft_app/engine/engine.py",
        old="                if not self._unwritten.admits(size, held_bytes=taken_bytes):\n",
        new="                if taken_bytes < 0:\n",
        test=f"{_TESTS}/engine/test_memory.py"
        "::test_a_follower_lets_entries_pass_by_that_it_has_no_room_for",
    ),
    Mutant(
        name="room-without-a-turn",
        fault="An acknowledgement makes room at a peer, and none of those who wait has a turn",
        path="raft_app/engine/replica.py",
        old="        if is_limited or node.has_ready() or node.is_asleep",
        new="        if node.has_ready() or node.is_asleep",
        test=f"{_TESTS}/engine/test_replica.py"
        "::test_an_acknowledgement_needs_a_turn_while_groups_wait_for_room",
    ),
    Mutant(
        name="applied-after-the-snapshot",
        fault="What was left for the next turn is applied to the state that a snapshot brought",
        path="raft_app/engine/loop.py",
        old="        self._committed = [one for one in self._committed if one[0] is not replica]\n",
        new="",
        test=f"{_TESTS}/engine/test_loop.py"
        "::test_a_snapshot_takes_the_place_of_what_waits_to_be_applied",
    ),
    Mutant(
        name="socket-read-to-its-end",
        fault="A connection from a peer is read in one turn of the loop, however much there is",
        path="raft_app/transport/tcp/connection.py",
        old="            if self._unbroken >= TURN_BYTES:\n                self._rest()\n",
        new="",
        test=f"{_TESTS}/transport/tcp/test_connection.py"
        "::test_what_waits_in_a_socket_is_taken_in_several_turns",
    ),
    Mutant(
        name="applied-all-at-once",
        fault="A follower applies all that it is told of in one turn of the loop",
        path="raft_app/engine/loop.py",
        old="        room = APPLIED_MAX\n",
        new="        room = 1_000_000_000\n",
        test=f"{_TESTS}/engine/test_loop.py"
        "::test_no_turn_applies_more_than_others_in_the_loop_can_wait_for",
    ),
    Mutant(
        name="left-over-forgotten",
        fault="What a turn had no room to apply is forgotten",
        path="raft_app/engine/loop.py",
        old="            self._committed.append((replica, entries[room:]))\n",
        new="",
        test=f"{_TESTS}/engine/test_loop.py"
        "::test_no_turn_applies_more_than_others_in_the_loop_can_wait_for",
    ),
    Mutant(
        name="applied-before-the-acknowledgement",
        fault="A follower applies an entry before it says that it holds the next one",
        path="raft_app/engine/loop.py",
        old="            if is_alone and len(entries) == 1 and",
        new="            if is_alone and len(entries) == 0 and",
        test=f"{_TESTS}/engine/test_loop.py"
        "::test_a_follower_acknowledges_before_it_applies_what_came_before",
    ),
    Mutant(
        name="groups-overtake-the-row",
        fault="Each group sends as its own limits say, whatever others have on their way to a peer",
        path="raft_app/engine/replica.py",
        old="        if self._windows.is_tight or node.inflight_limits:\n",
        new="        if self.faulty:\n",
        test=f"{_TESTS}/engine/test_memory.py"
        "::test_two_hundred_partitions_with_a_follower_whose_disk_hangs",
    ),
    Mutant(
        name="memory-of-deleted-replica-kept",
        fault="A deleted replica holds its place in the budget for ever",
        path="raft_app/engine/replica_table.py",
        old="        replica.forget_memory()\n",
        new="",
        test=f"{_TESTS}/engine/test_memory.py::test_what_was_given_up_or_deleted_is_given_back",
    ),
    Mutant(
        name="silence-unnoticed",
        fault="A broker does not notice that nothing comes from a peer any more",
        path="raft_app/engine/guard.py",
        old="            self.silences += 1\n"
        "            self._failover.connection_lost(broker_id)\n",
        new="            self.silences += 1\n",
        test="tests/raft_app/engine/test_guard.py"
        "::test_followers_wake_when_their_leaders_broker_falls_silent",
    ),
    Mutant(
        name="faulty-leader-slept-on",
        fault="A leader that became faulty leaves its followers asleep",
        path="raft_app/engine/guard.py",
        old="            self._resigned[replica.group_id] = replica\n",
        new="            pass\n",
        test="tests/raft_app/engine/test_guard.py"
        "::test_nobody_sleeps_on_a_leader_that_became_faulty",
    ),
    Mutant(
        name="told-never-too-late",
        fault="Who is told at once waits for a quorum for ever",
        path="raft_app/engine/waiters.py",
        old="                told.set_exception(too_late(where, timeout_ms))\n",
        new="                pass\n",
        test="tests/raft_app/engine/test_engine_requests.py"
        "::test_what_begins_without_a_quorum_ends_in_time_and_unknown",
    ),
    Mutant(
        name="spares-forgotten",
        fault="Nobody sends to spare followers what waits for them",
        path="raft_app/engine/spares.py",
        old="            replica.node.send_to_spares()\n",
        new="",
        test=f"{_TESTS}/engine/test_spares.py"
        "::test_what_is_written_one_after_the_other_reaches_the_spare_follower_together",
    ),
    Mutant(
        name="spare-first-in-rank",
        fault="Whom the spare follower asks first waits for its own rank to campaign",
        path="raft_app/engine/engine.py",
        old="                    self._failover.asked(replica, rpc)\n",
        new="                    pass\n",
        test=f"{_TESTS}/engine/test_spares.py"
        "::test_who_was_spare_and_asks_first_is_overtaken_at_once_by_who_can_win",
    ),
    Mutant(
        name="asks-on-alone",
        fault="Who asks for votes already when the last peer is lost goes on asking for ever",
        path="raft_app/engine/failover.py",
        old="            if node.leader == NO_REPLICA and not node.is_asleep:\n",
        new="            if False:\n",
        test=f"{_TESTS}/engine/test_guard.py"
        "::test_who_asks_already_when_the_last_peer_is_lost_sleeps",
    ),
    Mutant(
        name="spares-wait-for-a-commit",
        fault="Spare followers wait for a commit however long it does not come",
        path="raft_app/engine/spares.py",
        old="        for replica in overdue.values():\n",
        new="        for replica in ():\n",
        test=f"{_TESTS}/engine/test_spares.py::test_a_commit_that_does_not_come_is_not_waited_for",
    ),
    Mutant(
        name="learners-at-once",
        fault="New replicas get older entries as fast as disks and network give",
        path="raft_app/engine/older_entries.py",
        old="        if wanted.peer in replica.node.memberships.voters:\n",
        new="        if True:\n",
        test=f"{_TESTS}/engine/test_older_entries.py"
        "::test_new_replica_gets_older_entries_at_the_rate_of_snapshots",
    ),
    Mutant(
        name="learners-take-the-room",
        fault="What a learner waits for counts as on its way to its broker",
        path="raft_app/engine/windows.py",
        old="        if progress.wanted and progress.peer in self._node.memberships.voters:\n",
        new="        if progress.wanted:\n",
        test=f"{_TESTS}/engine/test_older_entries.py"
        "::test_learners_that_wait_take_no_room_on_the_way_to_their_broker",
    ),
    Mutant(
        name="woken-and-hurried",
        fault="A node that woke while the scheduler slept gets several ticks at once",
        path="raft_app/engine/engine.py",
        old="            replica.node.tick()\n",
        new="            for _ in range(count):\n                replica.node.tick()\n",
        test=f"{_TESTS}/engine/test_guard.py"
        "::test_a_replica_that_woke_between_two_calls_of_the_scheduler_has_one_tick_at_a_time",
    ),
    Mutant(
        name="rests-too-long",
        fault="A broker at rest lets no tick pass for as long as its watchdog waits",
        path="raft_app/engine/config.py",
        old="min(self.raft.heartbeat_ticks, self.ticks_missed_max // RESTS_UNTIL_MISSED)",
        new="self.raft.heartbeat_ticks",
        test=f"{_TESTS}/engine/test_guard.py"
        "::test_ticks_at_rest_are_as_rare_as_signs_but_never_missed",
    ),
)
"""All of them, from the engine to the disk and the network."""

"""Faults of membership, snapshots, compaction, truncation and the fencing of managers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CORE = "tests/raft_app/core"
_ENGINE = "tests/raft_app/engine"
_STORAGE = "tests/raft_app/storage"

REPLICA_MUTANTS = (
    Mutant(
        name="older-copy-taken",
        fault="A broker keeps a replica that has less than a manager remembers of it",
        path="raft_app/engine/vouching.py",
        old="            if found.lacks(one.kept) and not replica.node.log.is_frozen:\n",
        new="            if False:\n",
        test=f"{_ENGINE}/test_vouching.py"
        "::test_an_older_copy_is_faulty_before_it_votes_and_stays_so",
    ),
    Mutant(
        name="older-copy-hidden",
        fault="What a replica hears after its start hides what its disk lacked",
        path="raft_app/engine/vouching.py",
        old="                replica.found_at_start = found_in(replica.node.log)\n",
        new="                pass\n",
        test=f"{_ENGINE}/test_vouching.py"
        "::test_what_it_hears_after_the_start_neither_hides_nor_adds_what_it_lacks",
    ),
    Mutant(
        name="overwritten-end-taken",
        fault="A log counts as whole although its end was overwritten where it is longer",
        path="http_base/kept.py",
        old="        return (self.last_term, self.last_index) < (kept.entry_term, kept.index)\n",
        new="        return self.last_index < kept.index\n",
        test="tests/http_base/test_kept.py"
        "::test_who_is_behind_by_term_or_as_in_an_election_lacks_something",
    ),
    Mutant(
        name="kept-before-durable",
        fault="A replica reports a term to be kept that is not on its disk yet",
        path="raft_app/engine/replica.py",
        old="        kept = kept_in(self.node.log)\n",
        new="        kept = kept_in(self.node.log).more(Kept(self.node.term, 0))\n",
        test=f"{_ENGINE}/test_vouching.py::test_only_what_is_durable_is_kept",
    ),
    Mutant(
        name="older-copy-not-told",
        fault="A manager forgets how far a replica was as soon as it reports less",
        path="manager_app/services/report.py",
        old="        kept_index=max(row.kept_index, said.kept_index),\n",
        new="        kept_index=said.kept_index,\n",
        test="tests/manager_app/services/test_report.py"
        "::test_a_replica_that_comes_back_with_less_than_it_reported_is_told_so",
    ),
    Mutant(
        name="report-after-a-gap",
        fault="A manager takes a report of changes although it lacks the one before",
        path="manager_app/services/report.py",
        old='    return row.values_list("report_number", flat=True).first() == report.follows\n',
        new="    return row.exists()\n",
        test="tests/manager_app/services/test_report.py"
        "::test_a_database_that_is_older_than_the_report_before_wants_a_full_one",
    ),
    Mutant(
        name="report-before-orders",
        fault="A broker reports changes alone although orders for all were not carried out",
        path="broker_app/links/report_memory.py",
        old="        may_follow = self._taken and self._carried_out == self._seen_version\n",
        new="        may_follow = self._taken\n",
        test="tests/broker_app/links/test_report_memory.py"
        "::test_reports_are_full_until_the_orders_for_these_metadata_are_carried_out",
    ),
    Mutant(
        name="loss-in-the-same-term",
        fault="A replica that goes on alone does so in a term that the others may have voted in",
        path="raft_app/engine/adoption.py",
        old="    term = max(above_term, initial.hard_state.term) + 1\n",
        new="    term = initial.hard_state.term\n",
        test=f"{_ENGINE}/test_adoption.py"
        "::test_it_leads_alone_in_a_later_term_with_all_that_it_had",
    ),
    Mutant(
        name="change-before-change-committed",
        fault="A leader changes the membership while the change before is not committed",
        path="raft_app/core/membership_change.py",
        old="    if log.commit_index < raft.memberships.index:\n",
        new="    if log.commit_index < 0:\n",
        test=f"{_CORE}/test_membership_change.py"
        "::test_no_change_while_one_of_an_earlier_term_is_not_committed",
    ),
    Mutant(
        name="change-before-no-op-committed",
        fault="A leader changes the membership before an entry of its own term is committed",
        path="raft_app/core/membership_change.py",
        old="    if log.commit_index < raft.term_start_index:\n",
        new="    if log.commit_index < 0:\n",
        test=f"{_CORE}/test_membership_change.py"
        "::test_no_change_before_the_no_op_of_the_term_is_committed",
    ),
    Mutant(
        name="learner-counted",
        fault="A learner counts in the quorum",
        path="raft_app/core/membership.py",
        old="        self.current = self._history[-1][1]\n"
        "        self.voters = self.current.voter_ids\n",
        new="        self.current = self._history[-1][1]\n"
        "        self.voters = frozenset(one.replica_id for one in self.current.members)\n",
        test=f"{_CORE}/test_membership_change.py"
        "::test_a_learner_does_not_count_and_does_not_vote_itself_in",
    ),
    Mutant(
        name="stale-snapshot-accepted",
        fault="A snapshot that does not reach the commit index is taken",
        path="raft_app/core/snapshots.py",
        old="    if meta.last_index > log.commit_index"
        " and log.term_at(meta.last_index) != meta.last_term:\n",
        new="    if log.term_at(meta.last_index) != meta.last_term:\n",
        test=f"{_CORE}/test_snapshots.py"
        "::test_an_offer_below_a_log_that_has_moved_up_is_not_wanted",
    ),
    Mutant(
        name="former-leader-snapshot-accepted",
        fault="A snapshot of a leader of an earlier term is taken",
        path="raft_app/core/snapshots.py",
        old="    if term < raft.term:\n",
        new="    if term < 0:\n",
        test=f"{_CORE}/test_snapshots.py"
        "::test_an_offer_of_a_later_term_is_followed_and_of_an_earlier_one_ignored",
    ),
    Mutant(
        name="partial-snapshot-campaigns",
        fault="A replica campaigns while a snapshot is partly in place",
        path="raft_app/core/raft.py",
        old=" self.replica_id in self.memberships.voters and not self.log.is_frozen\n",
        new=" self.replica_id in self.memberships.voters\n",
        test=f"{_CORE}/test_snapshots_install.py::test_nobody_campaigns_in_the_middle_of_it",
    ),
    Mutant(
        name="partial-snapshot-votes",
        fault="A replica that was restarted within a snapshot votes as if it had had nothing",
        path="raft_app/storage/sqlite/install_writer.py",
        old="            end = self._acknowledged_end(row)\n",
        new="            end = (row.first_index - 1, row.previous_term)\n",
        test=f"{_STORAGE}/test_protocol_install.py"
        "::test_log_end_before_an_install_is_kept_until_its_end",
    ),
    Mutant(
        name="truncation-without-checkpoint",
        fault="Messages are deleted before the checkpoint that allows it is durable",
        path="raft_app/engine/compactor.py",
        old="    durable = replica.applied.durable\n",
        new="    durable = replica.applied.handed_over\n",
        test=f"{_ENGINE}/test_compactor.py::test_a_checkpoint_that_is_not_durable_lets_nothing_go",
    ),
    Mutant(
        name="compaction-without-checkpoint",
        fault="Entries of the log are deleted that no checkpoint covers",
        path="raft_app/storage/rules.py",
        old="    if operation.first_index > facts.applied_index + 1:\n",
        new="    if operation.first_index > facts.last_index + 1:\n",
        test=f"{_STORAGE}/test_protocol_compact.py::test_log_above_the_checkpoint_never_goes",
    ),
    Mutant(
        name="pin-ignored",
        fault="What a snapshot on its way needs is deleted",
        path="raft_app/engine/compactor.py",
        old="    for pin in replica.pins.values():\n",
        new="    for pin in ():\n",
        test=f"{_ENGINE}/test_compactor.py::test_a_pin_keeps_rows_until_its_time_is_over",
    ),
    Mutant(
        name="wanted-snapshot-not-sent",
        fault="A snapshot that is wanted at the very end of a failed one is never sent",
        path="raft_app/engine/snapshots.py",
        old="            self._tasks.pop((replica, peer), None)\n",
        new="            pass\n",
        test="tests/raft_app/engine/test_snapshots_snapshot_sender.py"
        "::test_snapshot_wanted_at_the_very_end_of_a_failed_one_is_sent",
    ),
    Mutant(
        name="slow-leader-leads-on",
        fault="A leader whose disk hangs leads on, and everybody waits for it",
        path="raft_app/engine/disk.py",
        old="        if self._score >= self._patience:\n",
        new="        if self._score < 0:\n",
        test="tests/raft_app/engine/test_disk_slow_disk.py"
        "::test_leader_whose_disk_hangs_hands_over_and_writes_go_on",
    ),
    Mutant(
        name="lease-epoch-not-checked",
        fault="A manager whose lease another one has taken is obeyed",
        path="broker_app/runtime.py",
        old="        if epoch < self.epoch:\n",
        new="        if epoch < 0:\n",
        test="tests/broker_app/test_runtime.py"
        "::test_lease_epoch_is_stored_once_and_never_goes_back",
    ),
    Mutant(
        name="placement-version-not-checked",
        fault="A leader takes up an older placement than the one in force",
        path="raft_app/core/membership_change.py",
        old="    if version < raft.memberships.current.version:\n",
        new="    if version < 0:\n",
        test=f"{_CORE}/test_membership_change.py"
        "::test_a_lower_version_is_refused_and_the_same_is_another_step_of_one_placement",
    ),
    Mutant(
        name="split-votes",
        fault="A voter starts an election of its own while its candidate may still win",
        path="raft_app/core/election.py",
        old="    is_waiting = raft.is_own_vote_in_flight or raft.awaits_outcome\n",
        new="    is_waiting = raft.is_own_vote_in_flight\n",
        test=f"{_CORE}/test_election.py"
        "::test_a_voter_gives_its_candidate_time_before_a_hint_of_its_own",
    ),
)
"""All of them, from the membership to the managers."""

"""Faults of the Raft core: votes, durability, commit, reads."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CORE = "tests/raft_app/core"

CORE_MUTANTS = (
    Mutant(
        name="commit-without-quorum",
        fault="A leader commits, and so acknowledges, what its own disk alone holds",
        path="raft_app/core/replication.py",
        old="    if agreed >= raft.term_start_index:\n",
        new="    agreed = raft.log.durable_index\n    if agreed >= raft.term_start_index:\n",
        test=f"{_CORE}/test_paper_log.py::test_an_entry_is_committed_when_a_majority_stores_it_5_3",
    ),
    Mutant(
        name="own-log-counted-early",
        fault="A leader counts entries that are not on its own disk yet",
        path="raft_app/core/replication.py",
        old="durable_index, progress, own = raft.log.durable_index,",
        new="durable_index, progress, own = raft.log.last_index,",
        test=f"{_CORE}/simulation/test_simulation.py"
        "::test_group_keeps_all_promises_under_faults_and_recovers",
    ),
    Mutant(
        name="earlier-term-by-counting",
        fault="A leader commits an entry of an earlier term because a quorum has it (figure 8)",
        path="raft_app/core/replication.py",
        old="    if agreed >= raft.term_start_index:\n",
        new="    if agreed > 0:\n",
        test=f"{_CORE}/test_paper_log.py"
        "::test_entries_of_earlier_terms_are_not_committed_by_counting_5_4_2",
    ),
    Mutant(
        name="vote-not-stored",
        fault="The vote is not part of what is stored",
        path="raft_app/core/raft.py",
        old="        self._issued_hard_state = state\n        return state\n",
        new="        self._issued_hard_state = state\n"
        "        return HardState(state.term, NO_REPLICA, state.commit)\n",
        test=f"{_CORE}/test_paper.py::test_term_and_vote_survive_a_crash_5_1",
    ),
    Mutant(
        name="vote-sent-early",
        fault="A vote leaves before it is durable",
        path="raft_app/core/election.py",
        old="    raft.outbox.after_durable.append(\n"
        "        RequestVoteReply(rpc.sender, raft.replica_id, raft.term, granted=True)\n",
        new="    raft.outbox.now.append(\n"
        "        RequestVoteReply(rpc.sender, raft.replica_id, raft.term, granted=True)\n",
        test=f"{_CORE}/test_rawnode.py::test_a_vote_is_in_the_write_that_its_reply_waits_for",
    ),
    Mutant(
        name="append-acknowledged-early",
        fault="A follower acknowledges entries before they are durable",
        path="raft_app/core/following.py",
        old="    raft.outbox.acknowledge(\n",
        new="    raft.outbox.now.append(\n",
        test=f"{_CORE}/test_rawnode.py"
        "::test_a_reply_that_stores_nothing_still_waits_for_the_writes_under_way",
    ),
    Mutant(
        name="replaced-entry-durable",
        fault="The write of an overwritten entry vouches for the one that replaced it",
        path="raft_app/core/log.py",
        old="            promise.last_index = min(promise.last_index, index - 1)\n",
        new="            promise.last_index = min(promise.last_index, self.last_index + 1)\n",
        test=f"{_CORE}/test_log.py"
        "::test_an_earlier_completion_never_vouches_for_a_later_write_of_the_same_index",
    ),
    Mutant(
        name="vote-of-the-restored",
        fault="A replica votes though nobody has said yet that it is no older copy",
        path="raft_app/core/election.py",
        old="    if not (raft.may_vote and is_free",
        new="    if not (is_free",
        test=f"{_CORE}/test_election.py::test_who_may_not_vote_gives_no_vote_and_does_not_campaign",
    ),
    Mutant(
        name="loss-overlooked",
        fault="A follower that lacks what its leader heard it acknowledge goes on voting",
        path="raft_app/core/following.py",
        old="            raft.lost_index = rpc.commit\n            raft.may_vote = False\n",
        new="            pass\n",
        test=f"{_CORE}/test_following.py"
        "::test_who_lacks_what_its_leader_heard_it_acknowledge_votes_no_more",
    ),
    Mutant(
        name="any-log-elected",
        fault="A vote goes to a candidate whose log lacks committed entries",
        path="raft_app/core/election.py",
        old="    if not (raft.may_vote and is_free"
        " and raft.log.is_up_to_date(rpc.last_index, rpc.last_term)):\n",
        new="    if not (raft.may_vote and is_free):\n",
        test=f"{_CORE}/test_paper_log.py"
        "::test_a_voter_refuses_a_candidate_whose_log_is_behind_5_4_1",
    ),
    Mutant(
        name="healthy-leader-disturbed",
        fault="A node that hears its leader votes for another all the same",
        path="raft_app/core/rawnode.py",
        old="if isinstance(rpc, RequestVote) and not rpc.transfer and self.hears_leader:",
        new="if isinstance(rpc, RequestVote) and not rpc.transfer and self.is_leader:",
        test=f"{_CORE}/test_paper_log.py"
        "::test_a_node_that_hears_its_leader_disregards_vote_requests_6",
    ),
    Mutant(
        name="leader-without-quorum",
        fault="A leader that nobody answers leads on",
        path="raft_app/core/raft.py",
        old="        return is_quorum(self.memberships.voters, active)\n",
        new="        return bool(active)\n",
        test=f"{_CORE}/test_paper_thesis.py"
        "::test_a_leader_steps_down_without_a_quorum_of_answers_thesis_6_2",
    ),
    Mutant(
        name="any-predecessor",
        fault="A follower takes entries without comparing the one before them",
        path="raft_app/core/following.py",
        old="    elif log.term_at(rpc.prev_index) != rpc.prev_term:\n",
        new="    elif log.term_at(rpc.prev_index) is None:\n",
        test=f"{_CORE}/test_paper_log.py"
        "::test_a_follower_refuses_entries_whose_predecessor_it_lacks_5_3",
    ),
    Mutant(
        name="no-op-not-awaited",
        fault="A new leader serves reads before the no-op of its term is applied",
        path="raft_app/core/raft.py",
        old="        return self.role is Role.LEADER"
        " and self.log.applied_index >= self.term_start_index\n",
        new="        return self.role is Role.LEADER\n",
        test=f"{_CORE}/test_paper_thesis.py"
        "::test_a_read_needs_an_applied_entry_of_the_own_term_thesis_6_4",
    ),
    Mutant(
        name="read-without-round",
        fault="A leader confirms reads without an answer of a quorum",
        path="raft_app/core/replication.py",
        old="    raft.reads.confirm(agreed_value(rounds))\n",
        new="    raft.reads.confirm(max(rounds))\n",
        test=f"{_CORE}/test_paper_thesis.py"
        "::test_a_read_waits_for_a_quorum_of_heartbeat_answers_thesis_6_4",
    ),
    Mutant(
        name="sleeps-on-the-dead",
        fault="A follower sleeps on when the connection from its leader broke",
        path="raft_app/core/raft.py",
        old="        if wakes:\n            self.wake()\n",
        new="",
        test=f"{_CORE}/test_quiescence.py"
        "::test_the_loss_of_the_connection_from_the_leader_wakes_its_followers",
    ),
    Mutant(
        name="sleeps-with-entries-under-way",
        fault="A leader sleeps although a follower has not acknowledged all of its log",
        path="raft_app/core/quiescence.py",
        old="progress.state is ProgressState.REPLICATE and progress.match == raft.log.last_index",
        new="progress.state is ProgressState.REPLICATE",
        test=f"{_CORE}/test_quiescence.py"
        "::test_nobody_sleeps_while_an_entry_is_not_durable_on_a_follower_that_is_heard",
    ),
    Mutant(
        name="proposal-wakes-nobody",
        fault="A proposal does not wake a leader that sleeps",
        path="raft_app/core/rawnode.py",
        old="        self._wake_to_lead()\n        return replication.propose(self, proposals)\n",
        new="        return replication.propose(self, proposals)\n",
        test=f"{_CORE}/test_quiescence.py::test_a_proposal_wakes_the_leader_before_anybody_answers",
    ),
    Mutant(
        name="sleeps-without-a-quorum",
        fault="A leader sleeps on, and believes to lead, when it hears no other broker any more",
        path="raft_app/core/quiescence.py",
        old="        if wakes and not may_stay(raft):\n            raft.wake()\n",
        new="",
        test=f"{_CORE}/test_quiescence.py"
        "::test_a_leader_that_loses_its_quorum_wakes_and_steps_down",
    ),
    Mutant(
        name="sleeps-with-another-log",
        fault="A follower falls asleep without the whole log of its leader",
        path="raft_app/core/quiescence.py",
        old="log.is_frozen or not log.last_index == log.durable_index == rpc.commit:",
        new="log.is_frozen:",
        test=f"{_CORE}/test_quiescence.py"
        "::test_a_follower_that_lacks_an_entry_does_not_sleep_and_says_so",
    ),
    Mutant(
        name="turn-never-comes",
        fault="A follower that slept on when its leader was lost sleeps on when its turn comes",
        path="raft_app/core/rawnode.py",
        old="        if self.should_wake:\n            self.wake()\n",
        new="        if self.should_wake:\n            return False\n",
        test=f"{_CORE}/test_quiescence.py"
        "::test_a_follower_whose_turn_is_to_come_sleeps_on_and_misses_its_leader",
    ),
    Mutant(
        name="commits-in-doubt",
        fault="Who may lack what it acknowledged takes a heartbeat's word for what is committed",
        path="raft_app/core/following.py",
        old="        elif raft.may_vote:\n",
        new="        elif True:\n",
        test=f"{_CORE}/test_following.py"
        "::test_nobody_vouched_for_commits_by_a_heartbeat_what_may_be_another_entry",
    ),
    Mutant(
        name="acknowledges-in-doubt",
        fault="Who may have promised a later term acknowledges entries of an earlier one",
        path="raft_app/core/following.py",
        old="    if not raft.may_vote:  # It may have had a later term, whose leader relied on it.",
        new="    if False:",
        test=f"{_CORE}/test_following.py"
        "::test_nobody_vouched_for_acknowledges_entries_or_confirms_a_read",
    ),
    Mutant(
        name="reads-in-doubt",
        fault="Who may have promised a later term confirms that an earlier leader still leads",
        path="raft_app/core/following.py",
        old="context = rpc.context if raft.may_vote else 0",
        new="context = rpc.context",
        test=f"{_CORE}/test_following.py"
        "::test_nobody_vouched_for_acknowledges_entries_or_confirms_a_read",
    ),
    Mutant(
        name="spare-for-ever",
        fault="A spare follower whose acknowledgement commits stays spare",
        path="raft_app/core/replication.py",
        old="by_spare=progress.is_spare",
        new="by_spare=False",
        test=f"{_CORE}/test_spares.py"
        "::test_spare_follower_takes_the_place_of_one_that_does_not_acknowledge",
    ),
    Mutant(
        name="large-waits",
        fault="Whatever its size, what comes waits for the spare followers' turn",
        path="raft_app/core/spares.py",
        old="        and raft.log.uncommitted_bytes <= raft.config.spares_wait_bytes\n",
        new="",
        test=f"{_CORE}/test_spares.py::test_what_is_large_goes_to_all_at_once_with_what_waited",
    ),
    Mutant(
        name="successor-waits",
        fault="Whoever leadership is handed to waits for entries as a spare follower",
        path="raft_app/core/spares.py",
        old="        and raft.transferee == NO_REPLICA\n",
        new="",
        test=f"{_CORE}/test_spares.py::test_whoever_takes_over_gets_everything_at_once",
    ),
    Mutant(
        name="nobody-at-once",
        fault="A leader sends to fewer than a quorum at once",
        path="raft_app/core/spares.py",
        old="// 2 + 1 - raft.is_voter",
        new="// 2 - raft.is_voter",
        test=f"{_CORE}/test_spares.py"
        "::test_quorum_commits_without_the_spare_follower_which_gets_several_entries_in_one_rpc",
    ),
)
"""All of them, in the order of the paper."""

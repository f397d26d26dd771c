"""Faults of the client library and of the manager: what a retry may and may not do."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

CLIENT_MUTANTS = (
    Mutant(
        name="retry-under-new-sequence",
        fault="The client repeats a batch of unknown outcome under another epoch and sequence",
        path="myqueue/producer/core.py",
        old="        clean = not attempts.outcome_unknown\n",
        new="        clean = True\n",
        test="tests/myqueue/producer/test_producer.py"
        "::test_a_forgotten_producer_does_not_repeat_a_batch_of_unknown_outcome",
    ),
    Mutant(
        name="epoch-not-raised",
        fault="After an unknown outcome the client counts on in the same epoch",
        path="myqueue/producer/sequences.py",
        old="        self._epoch += 1\n",
        new="",
        test="tests/myqueue/producer/test_producer.py"
        "::test_an_unknown_outcome_is_reported_and_the_epoch_raised",
    ),
    Mutant(
        name="held-for-ever",
        fault="A batch that is held for callers waits for them without an end",
        path="myqueue/producer/sender.py",
        old="            pump.turn(until_s)\n",
        new="            pump.turn()\n",
        test="tests/myqueue/producer/test_sender.py"
        "::test_a_caller_is_not_held_for_longer_because_others_do_not_come_back",
    ),
    Mutant(
        name="unknown-told-as-known",
        fault="The client says that a message did not arrive though it may have",
        path="myqueue/transport/retry.py",
        old="self.outcome_unknown = self.outcome_unknown or not error.outcome_known",
        new="self.outcome_unknown = not error.outcome_known",
        test="tests/myqueue/transport/test_retry.py::test_an_unknown_outcome_stays_unknown",
    ),
    Mutant(
        name="manager-repeats-unknown",
        fault="The manager repeats a call of unknown outcome that no broker can recognise",
        path="manager_app/proxy/partition_calls.py",
        old="                if not call.repeatable:\n"
        "                    raise failure from error\n",
        new="",
        test="tests/manager_app/proxy/test_partition_calls.py"
        "::test_a_connection_that_breaks_after_sending_is_never_a_second_message",
    ),
    Mutant(
        name="manager-forgets-unknown",
        fault="The manager says that nothing happened when only its last try was refused",
        path="manager_app/proxy/partition_calls.py",
        old="if search.outcome_unknown and error.outcome_known:",
        new="if False:",
        test="tests/manager_app/proxy/test_partition_calls.py"
        "::test_after_a_try_of_unknown_outcome_no_refusal_says_that_nothing_happened",
    ),
    Mutant(
        name="commit-notes-what-came-since",
        fault="A member counts as committed what was finished while its commit was under way",
        path="myqueue/group/commits.py",
        old="            assigned.committed = offset\n",
        new="            assigned.committed = assigned.finished\n",
        test="tests/myqueue/group/test_commits.py"
        "::test_what_is_finished_while_a_commit_is_under_way_is_left_for_the_next",
    ),
    Mutant(
        name="lease-taken-in-spite-of-renewal",
        fault="A standby takes the lease though the primary renewed it after the standby looked",
        path="manager_app/services/cluster.py",
        old="        primary_renewals=seen.primary_renewals,\n",
        new="",
        test="tests/manager_app/test_lease.py"
        "::test_who_read_the_lease_before_a_renewal_does_not_take_it",
    ),
    Mutant(
        name="heartbeat-of-another",
        fault="A consumer's heartbeat is recorded for the producer with the same number",
        path="manager_app/clients/heartbeat_passing.py",
        old='HEALTH_CONSUMER: "consumer"',
        new='HEALTH_CONSUMER: "producer"',
        test="tests/manager_app/apis/test_status.py"
        "::test_producer_and_consumer_of_one_number_never_disturb_each_other",
    ),
)
"""All of them, the client's before the manager's."""

"""Faults of the partition's state machine and of what a broker answers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_TESTS = "tests/broker_app"

QUEUE_MUTANTS = (
    Mutant(
        name="duplicate-sequence-accepted",
        fault="A batch that was appended before is appended again",
        path="myqueue/contract/rules/producers.py",
        old="    return sequence == _expected_sequence(epoch, known)\n",
        new="    return sequence <= _expected_sequence(epoch, known)\n",
        test=f"{_TESTS}/partition/test_statemachine.py"
        "::test_retry_of_an_applied_batch_is_answered_with_its_offset",
    ),
    Mutant(
        name="sequence-gap-accepted",
        fault="A batch is appended although one before it is missing",
        path="myqueue/contract/rules/producers.py",
        old="    return sequence == _expected_sequence(epoch, known)\n",
        new="    return sequence >= _expected_sequence(epoch, known)\n",
        test=f"{_TESTS}/partition/test_admission.py::test_batch_cut_otherwise_or_after_a_gap_is_out_of_order",
    ),
    Mutant(
        name="lower-epoch-accepted",
        fault="A producer's earlier epoch is served after a later one",
        path="myqueue/contract/rules/producers.py",
        old="    if epoch < known.epoch:\n",
        new="    if epoch < 0:\n",
        test=f"{_TESTS}/partition/test_admission.py"
        "::test_higher_epoch_must_begin_at_zero_and_the_lower_is_fenced_from_then_on",
    ),
    Mutant(
        name="moved-without-fence",
        fault="A member that was thought gone commits over where its group was moved to",
        path="manager_app/groups/coordinator.py",
        old="generation=max(empty.generation, floor) + 1)",
        new="generation=max(empty.generation, floor))",
        test="tests/manager_app/groups/test_offset_moves.py"
        "::test_what_was_committed_late_is_fenced_off",
    ),
    Mutant(
        name="lost-generations-again",
        fault="A group that a restored database lacks gives its generations a second time",
        path="manager_app/services/restored.py",
        old="    return epoch // EPOCHS * VERSIONS\n",
        new="    return 0\n",
        test="tests/manager_app/groups/test_coordinator.py"
        "::test_a_group_that_a_restored_database_lacks_begins_above_all_that_were_given",
    ),
    Mutant(
        name="removed-client-returns",
        fault="A client whose id was never given out is stored for a token that looks right",
        path="manager_app/services/client.py",
        old="        if key.client_id > selectors.last_id(model):\n",
        new="        if key.client_id > ID_MAX:\n",
        test="tests/manager_app/services/test_client.py"
        "::test_one_that_a_restored_database_lacks_is_stored_again",
    ),
    Mutant(
        name="trusted-before-lease",
        fault="A new primary serves a client that the one before it deleted",
        path="manager_app/clients/registry.py",
        old="        return client.epoch != epoch\n",
        new="        return False\n",
        test="tests/manager_app/clients/test_registry.py"
        "::test_a_new_primary_looks_again_at_whom_it_knew_before_its_lease",
    ),
    Mutant(
        name="standby-refusal-passed",
        fault="The refusal of a manager that is the primary no more is given for an answer",
        path="manager_app/proxy/primary.py",
        old="    if is_refused:\n",
        new="    if is_refused and not primary:\n",
        test="tests/manager_app/proxy/test_primary.py"
        "::test_a_manager_that_has_become_a_standby_is_no_answer",
    ),
    Mutant(
        name="moved-under-members",
        fault="A group is moved while members read in it, who commit over it",
        path="manager_app/groups/coordinator.py",
        old="            if state.members and not force:\n",
        new="            if not state.members and not force:\n",
        test="tests/manager_app/groups/test_offset_moves.py"
        "::test_a_group_with_members_is_left_alone_unless_forced",
    ),
    Mutant(
        name="speculation-kept",
        fault="A leader elected again still counts on what it lost with its leadership",
        path="broker_app/partition/statemachine.py",
        old="        self._speculation.clear()\n        self._clock_started = None\n",
        new="        self._clock_started = None\n",
        test=f"{_TESTS}/partition/test_statemachine.py::test_lost_proposals_vanish_from_the_leaders_view",
    ),
    Mutant(
        name="wrong-offset-applied",
        fault="A batch is applied although its offset is not the next one",
        path="broker_app/partition/statemachine.py",
        old="        if entry.base_offset != self._data.next_offset:\n",
        new="        if entry.base_offset < 0:\n",
        test=f"{_TESTS}/partition/test_statemachine.py::test_entry_at_a_wrong_offset_is_inconsistent",
    ),
    Mutant(
        name="speculation-restored",
        fault="A state that is restored from a snapshot still counts on what was under way before",
        path="broker_app/partition/statemachine.py",
        old="        self._admission = Admission(self._data, self._speculation, self._limits)\n"
        "        self.abandon_speculation()\n",
        new="        self._admission = Admission(self._data, self._speculation, self._limits)\n",
        test=f"{_TESTS}/partition/test_statemachine.py"
        "::test_a_restored_state_counts_on_nothing_that_was_proposed_before",
    ),
    Mutant(
        name="popped-start-not-compared",
        fault="A repeated pop answers what it read, though its first try began elsewhere",
        path="broker_app/services/consume.py",
        old="        if (popped.from_offset, popped.to_offset) != (start, read.end):\n",
        new="        if popped.to_offset != read.end:\n",
        test=f"{_TESTS}/services/test_consume.py"
        "::test_repetition_that_read_from_elsewhere_gets_the_range_of_its_first_try",
    ),
    Mutant(
        name="turn-lost-on-cancel",
        fault="A pop that is given up in the moment of its turn keeps it for ever",
        path="broker_app/waiting/pop_lock.py",
        old="            elif future.exception() is None:"
        "  # else its time was over: the turn is another's\n"
        "                self.pass_on(key)\n",
        new="",
        test=f"{_TESTS}/waiting/test_pop_lock.py"
        "::test_one_that_leaves_in_the_moment_of_its_turn_passes_it_on",
    ),
    Mutant(
        name="held-as-long-as-answers-take",
        fault="Requests of many callers are held for each other as long as a slow answer took",
        path="broker_app/waiting/gathering.py",
        old="            held_s = min(self._round_s, HELD_S_MAX)\n",
        new="            held_s = self._round_s\n",
        test=f"{_TESTS}/waiting/test_gathering.py"
        "::test_nobody_is_held_longer_than_the_limit_however_slow_the_answers_are",
    ),
    Mutant(
        name="retention-by-own-clock-alone",
        fault="A leader deletes only what it saw itself for long enough, however old it is",
        path="broker_app/services/retention.py",
        old="    if oldest.append_timestamp > cutoff_ms:\n        return begin\n",
        new="    if oldest:\n        return begin\n",
        test=f"{_TESTS}/services/test_retention.py::test_batches_older_than_the_limit_go_whole",
    ),
    Mutant(
        name="retention-by-timestamp-alone",
        fault="Messages that a clock ahead of time stamped are kept until that time",
        path="broker_app/services/retention.py",
        old="max(state.log_start_offset, clock.seen_until(cutoff_ms)), state.next_offset\n",
        new="state.log_start_offset, state.next_offset\n",
        test=f"{_TESTS}/services/test_retention.py"
        "::test_timestamp_ahead_of_the_clock_counts_from_the_first_sight",
    ),
    Mutant(
        name="pop-from-elsewhere",
        fault="A pop moves the cursor although it is not where the pop begins",
        path="broker_app/partition/state.py",
        old="        if self.cursor(pop.consumer_id) != pop.from_offset:\n",
        new="        if pop.from_offset < 0:\n",
        test=f"{_TESTS}/partition/test_statemachine.py"
        "::test_pop_from_elsewhere_is_refused_and_if_applied_moves_nothing",
    ),
    Mutant(
        name="pop-request-forgotten",
        fault="The request id of a pop is not remembered, so that its retry pops the next messages",
        path="broker_app/partition/state.py",
        old="            self.pop_requests.remember(pop.consumer_id, pop.request_digest, span)\n",
        new="            del span\n",
        test=f"{_TESTS}/partition/test_statemachine.py::test_pop_moves_the_cursor_once_and_repeats_its_range",
    ),
    Mutant(
        name="empty-not-confirmed",
        fault="A leader says that nothing is left without asking a quorum",
        path="broker_app/services/consume.py",
        old="    await engine.read_barrier(replica.spec.group_id, timeout_ms=call.timeout_ms)\n",
        new="",
        test=f"{_TESTS}/services/test_consume.py::test_empty_answer_writes_nothing_and_is_confirmed",
    ),
    Mutant(
        name="early-pop-not-joined",
        fault="A repetition says that nothing is left while its first try, in the log, takes it",
        path="broker_app/services/consume.py",
        old="    if state.is_popping(consumer_id, call.request_digest):\n",
        new="    if not call.request_digest:\n",
        test=f"{_TESTS}/services/test_consume.py::test_repetition_of_a_waiting_pop_joins_it",
    ),
    Mutant(
        name="bodies-without-budget",
        fault="A body is read whatever the bodies of other requests take already",
        path="http_base/hotpaths.py",
        old="if not (self.is_urgent or share.admits(size_bytes, held_bytes=held_bytes)):\n",
        new="if not self.is_urgent and size_bytes < 0:\n",
        test="tests/broker_app/apis/test_body_budget.py"
        "::test_large_bodies_under_way_leave_room_for_the_small_of_others",
    ),
    Mutant(
        name="place-of-body-kept",
        fault="A request that ended keeps the place of its body",
        path="http_base/hotpaths.py",
        old="            body.give_back()\n",
        new="",
        test="tests/broker_app/apis/test_body_budget.py"
        "::test_the_place_of_a_body_is_given_back_however_its_request_ends",
    ),
    Mutant(
        name="body-before-token",
        fault="A long body is read before its sender's token is looked at",
        path="http_base/hotpaths.py",
        old="if self._door is not None and _is_long(headers) and not reading.is_urgent:\n",
        new="if self._door is not None and len(headers) > 99:\n",
        test=f"{_TESTS}/apis/test_door.py"
        "::test_who_may_not_send_a_long_body_is_told_before_it_comes",
    ),
    Mutant(
        name="bodies-of-one-client-unbounded",
        fault="Each body of a client is judged as if it had no other under way",
        path="http_base/hotpaths.py",
        old="self._held if self.owner is None else self._held_by[self.owner]\n",
        new="self._held\n",
        test=f"{_TESTS}/apis/test_door.py::test_all_bodies_of_one_client_take_half_at_most",
    ),
    Mutant(
        name="groups-by-registering-again",
        fault="Who registers again and again makes as many groups as there may be",
        path="broker_app/client_origins.py",
        old="        made.add(name)\n",
        new="",
        test=f"{_TESTS}/apis/test_work.py"
        "::test_one_address_does_not_fill_the_table_of_groups_by_registering_again",
    ),
    Mutant(
        name="cursors-by-registering-again",
        fault="Who registers again and again makes as many cursors as there may be",
        path="broker_app/apis/consume.py",
        old="    admit_entry(call, current(), Table.CURSORS, replica, name=asked.consumer_id)\n",
        new="",
        test=f"{_TESTS}/apis/test_client_origins.py"
        "::test_one_address_does_not_fill_the_table_of_cursors",
    ),
    Mutant(
        name="one-behind-a-manager-blocks-all",
        fault="All clients behind a manager count as one",
        path="http_base/calls.py",
        old="    return call.told_origin if is_cluster(call) else call.client_address\n",
        new="    return call.client_address\n",
        test=f"{_TESTS}/apis/test_client_origins.py"
        "::test_one_address_does_not_fill_the_table_of_cursors",
    ),
    Mutant(
        name="repeated-pop-taken-twice",
        fault="The earlier try of a repeated pop takes messages that nobody waits for any more",
        path="broker_app/waiting/pop_tries.py",
        old="            earlier.is_superseded = True\n",
        new="            earlier.is_superseded = False\n",
        test=f"{_TESTS}/apis/test_consume_several.py"
        "::test_a_repetition_ends_the_wait_of_the_earlier_try",
    ),
    Mutant(
        name="others-pops-forgotten",
        fault="What another broker popped when a manager's wait ended is lost",
        path="manager_app/proxy/several.py",
        old="    if ends_others:\n",
        new="    if ends_others and not parts:\n",
        test="tests/manager_app/proxy/test_several.py"
        "::test_what_another_broker_popped_when_the_wait_ended_is_answered_too",
    ),
    Mutant(
        name="slow-sender-kept",
        fault="A client may take as long as it likes to send a request",
        path="queuesite/connections.py",
        old="        if stage in _FLOWING and progress - seen.progress >= self._bytes_min:\n",
        new="        if stage in _FLOWING and progress >= seen.progress:\n",
        test="tests/queuesite/test_connections.py"
        "::test_a_sender_a_byte_at_a_time_is_cut_off_however_often_it_sends",
    ),
    Mutant(
        name="slow-reader-kept",
        fault="A client may take as long as it likes to read an answer",
        path="queuesite/connections.py",
        old="        if not is_over or stage is Stage.WORKING:\n",
        new="        if not is_over or stage in (Stage.WORKING, Stage.UNSENT):\n",
        test="tests/queuesite/test_connections.py"
        "::test_a_client_that_does_not_read_is_cut_off_and_its_bytes_are_counted",
    ),
    Mutant(
        name="unread-answers-unbounded",
        fault="Answers that nobody reads take whatever they want",
        path="queuesite/connections.py",
        old="        while self._answers.used_bytes > self._answers.limit_bytes:\n",
        new="        while self._answers.used_bytes < 0:\n",
        test="tests/queuesite/test_connections.py"
        "::test_answers_that_nobody_reads_take_what_they_may_and_the_first_makes_room",
    ),
    Mutant(
        name="idle-connection-kept",
        fault="A connection on which no request ever came stays open",
        path="queuesite/connections.py",
        old="        if not is_over or stage is Stage.WORKING:\n",
        new="        if not is_over or stage in (Stage.WORKING, Stage.IDLE):\n",
        test="tests/queuesite/test_connections.py::test_an_idle_connection_is_closed",
    ),
    Mutant(
        name="connections-unlimited",
        fault="A server takes any number of connections",
        path="queuesite/connections.py",
        old="len(self._seen) >= self.limits.connections_max and not self._close_idle():\n",
        new="len(self._seen) < 0:\n",
        test="tests/queuesite/test_connections.py"
        "::test_where_all_are_at_work_a_further_connection_is_refused",
    ),
    Mutant(
        name="fence-compares-nothing",
        fault="A superseded primary goes on to write metadata",
        path="manager_app/services/cluster.py",
        old="    if row is None or row[0] != epoch:\n",
        new="    if row is None:\n",
        test="tests/manager_app/services/test_cluster.py"
        "::test_a_write_under_the_lease_is_stored_and_one_after_a_take_over_is_not",
    ),
    Mutant(
        name="bump-under-any-epoch",
        fault="A superseded primary goes on to change topics and placement",
        path="manager_app/services/cluster.py",
        old="    own = rows if epoch is None else rows.filter(epoch=epoch)\n",
        new="    own = rows\n",
        test="tests/manager_app/services/test_cluster.py"
        "::test_a_write_under_the_lease_is_stored_and_one_after_a_take_over_is_not",
    ),
    Mutant(
        name="fence-not-held",
        fault="A write that passed its check commits after a take-over",
        path="manager_app/services/cluster.py",
        old='    lock = " FOR KEY SHARE" if connection.vendor == "postgresql" else ""\n',
        new='    lock = ""\n',
        test="tests/manager_app/test_fence_on_postgres.py"
        "::test_a_write_that_passed_its_check_is_stored_before_a_take_over",
    ),
    Mutant(
        name="unfenced-write-allowed",
        fault="Metadata can be written without the lease",
        path="manager_app/fence.py",
        old="        if not is_fenced and (written := _METADATA_WRITE.match(statement[0])):\n",
        new="        if is_fenced and (written := _METADATA_WRITE.match(statement[0])):\n",
        test="tests/manager_app/services/test_cluster.py"
        "::test_metadata_written_outside_a_fence_is_a_bug_that_shows",
    ),
    Mutant(
        name="lease-taken-at-start",
        fault="A manager that starts takes the lease from a healthy primary",
        path="manager_app/lease.py",
        old='(alone or seen.primary_address in ("", self._address)):\n',
        new="bool(seen.epoch):\n",
        test="tests/manager_app/test_lease.py::test_who_starts_first_is_the_primary_and_stays_it",
    ),
    Mutant(
        name="lease-taken-after-an-outage",
        fault="A standby takes the lease as soon as the database is back from an outage",
        path="manager_app/lease.py",
        old="asked_s - self._looked_s > LOOKS_APART_MAX_S:\n",
        new="asked_s < self._looked_s:\n",
        test="tests/manager_app/test_lease.py"
        "::test_a_healthy_primary_keeps_its_lease_when_the_database_was_away_for_all",
    ),
    Mutant(
        name="passed-on-twice",
        fault="Managers pass a call on to each other for ever",
        path="manager_app/proxy/primary.py",
        old="by_session or PASSED_HEADER in request.headers)\n",
        new="by_session)\n",
        test="tests/manager_app/proxy/test_primary.py"
        "::test_what_was_passed_on_once_is_not_passed_on_again",
    ),
    Mutant(
        name="repeated-work-ends",
        fault="One unexpected exception ends what a manager repeats for ever",
        path="http_base/tasks.py",
        old="        except Exception as error:  # the edge: the next call must come\n",
        new="        except LookupError as error:\n",
        test="tests/manager_app/test_process.py"
        "::test_what_a_manager_repeats_goes_on_after_an_unexpected_exception",
    ),
    Mutant(
        name="odd-answer-unread",
        fault="An odd answer to a heartbeat ends the heartbeats of a member",
        path="myqueue/transport/group_calls.py",
        old="    except msgspec.ValidationError as error:\n",
        new="    except ZeroDivisionError as error:\n",
        test="tests/myqueue/group/test_membership.py"
        "::test_an_answer_of_another_version_is_a_heartbeat_that_failed",
    ),
    Mutant(
        name="retention-ends-with-one",
        fault="A partition that cannot be read keeps those behind it from letting go",
        path="broker_app/services/retention.py",
        old="        except Exception:  # the edge of a partition: those behind it must not keep"
        " everything\n",
        new="        except ZeroDivisionError:\n",
        test=f"{_TESTS}/services/test_retention.py"
        "::test_a_partition_that_cannot_be_read_keeps_no_other_from_letting_go",
    ),
)
"""All of them, producing before consuming."""

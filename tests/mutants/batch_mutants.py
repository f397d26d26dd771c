"""Faults of the one rule for record batches: at the door, and where readers step over."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_RECORDS = "tests/myqueue/contract/test_records.py"
_POISON = "tests/broker_app/apis/test_poison.py"
_CORRUPT = "tests/myqueue/test_corrupt.py"

BATCH_MUTANTS = (
    Mutant(
        name="door-reads-header-alone",
        fault="A leader takes a batch of which it looked at header and checksum alone",
        path="broker_app/decoding.py",
        old="    decode_rows(batch, header, is_new=True)\n    return header\n",
        new="    return header\n",
        test=f"{_POISON}::test_it_is_refused_at_the_door",
    ),
    Mutant(
        name="door-without-limits",
        fault="A leader takes a message in a batch that it would refuse alone",
        path="broker_app/decoding.py",
        old="    decode_rows(batch, header, is_new=True)\n",
        new="    decode_rows(batch, header)\n",
        test=f"{_POISON}::test_a_message_beyond_its_limits_is_refused_and_was_read_when_it_was_stored",
    ),
    Mutant(
        name="door-in-memory-open",
        fault="The queue in memory takes batches that a broker refuses",
        path="myqueue/testing/partition.py",
        old="        records = to_records(decode_rows(batch, header, is_new=True), header)\n",
        new="        records = _records_of(batch, header)\n",
        test=f"{_CORRUPT}::test_what_a_broker_refuses_is_refused_in_memory_too",
    ),
    Mutant(
        name="frame-size-unread",
        fault="A compressed batch is inflated before the size in its frame is looked at",
        path="myqueue/contract/records.py",
        old="        if said not in (inflated_length, -1):\n",
        new="        if False:\n",
        test=f"{_RECORDS}::test_a_bomb_is_small_and_never_inflated",
    ),
    Mutant(
        name="count-unread",
        fault="A payload is decoded before the number of its messages is looked at",
        path="myqueue/contract/records.py",
        old="    if _array_length(payload) != header.record_count:\n",
        new="    if not payload:\n",
        test=f"{_RECORDS}::test_what_no_reader_can_read_is_refused_in_little_memory",
    ),
    Mutant(
        name="nesting-unexpected",
        fault="A payload that is nested thousands deep is a bug of the reader",
        path="myqueue/contract/records.py",
        old="    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):\n",
        new="    except (msgspec.MsgspecError, UnicodeDecodeError):\n",
        test=f"{_POISON}::test_every_reader_steps_over_it_when_it_is_stored",
    ),
    Mutant(
        name="double-header-unseen",
        fault="A header that comes twice hides a first value that is neither text nor bytes",
        path="myqueue/contract/records.py",
        old="                if len(headers) != _map_length(memoryview(encoded)):\n",
        new="                if not headers:\n",
        test=f"{_RECORDS}::test_a_header_that_comes_twice_hides_nothing",
    ),
    Mutant(
        name="corrupt-stops-readers",
        fault="A broker refuses to read what it stored and nobody can decode",
        path="broker_app/decoding.py",
        old="        return Contents(header, None, error.message)\n",
        new="        raise error\n",
        test=f"{_POISON}::test_every_reader_steps_over_it_when_it_is_stored",
    ),
    Mutant(
        name="corrupt-untold",
        fault="A pop does not tell what it stepped over",
        path="broker_app/log_reading.py",
        old="                corrupt += min(end, stored.end) - position\n",
        new="",
        test="tests/broker_app/apis/test_every_reader.py"
        "::test_every_way_of_reading_finds_the_same_and_leaves_out_the_same",
    ),
    Mutant(
        name="corrupt-told-again-and-again",
        fault="The log is told of what nobody can decode each time that it is read",
        path="broker_app/log_reading.py",
        old="        if runtime.is_new_corruption(replica.spec.group_id, batch.base_offset):\n",
        new="        if batch.record_count:\n",
        test="tests/broker_app/test_log_reading.py"
        "::test_what_nobody_can_decode_is_stepped_over_counted_and_told_once",
    ),
    Mutant(
        name="damage-stepped-over",
        fault="A batch that is damaged on one replica counts as one that nobody can decode",
        path="broker_app/log_reading.py",
        old="    except CorruptBatch as error:\n        raise CorruptBatch(\n",
        new="    except CorruptBatch as error:\n        return None\n        raise CorruptBatch(\n",
        test="tests/broker_app/services/test_consume.py"
        "::test_damaged_batch_is_refused_and_never_stepped_over",
    ),
    Mutant(
        name="library-stepped-over-untold",
        fault="The library does not tell what it stepped over in what it fetched",
        path="myqueue/transport/fetching.py",
        old="            corrupt += max(0, end - start)\n            continue\n",
        new="            continue\n",
        test=f"{_CORRUPT}::test_each_way_of_reading_passes_it_and_tells",
    ),
    Mutant(
        name="decoding-without-pause",
        fault="One answer of many small batches keeps the event loop until it is done",
        path="broker_app/decoding.py",
        old="            await asyncio.sleep(0)\n",
        new="            pass\n",
        test="tests/broker_app/test_decoding.py"
        "::test_others_get_their_turn_while_many_small_batches_are_read",
    ),
    Mutant(
        name="garbage-sought-in-a-body",
        fault="Python looks for garbage again and again in what a large body has become so far",
        path="http_base/negotiation.py",
        old="        if len(body) <= LARGE_BODY_BYTES:\n",
        new="        if len(body) <= 1 << 30:\n",
        test="tests/http_base/test_negotiation.py"
        "::test_a_large_body_is_decoded_without_a_search_for_garbage",
    ),
    Mutant(
        name="messages-encoded-in-the-loop",
        fault="All messages of a call are checked and encoded in the event loop, however many",
        path="broker_app/services/produce.py",
        old="len(produce.messages) <= AT_ONCE_MAX):\n",
        new="len(produce.messages) <= 1 << 30):\n",
        test="tests/broker_app/services/test_produce.py"
        "::test_many_messages_of_a_call_are_encoded_beside_the_loop",
    ),
    Mutant(
        name="several-inflated-each",
        fault="Each of several partitions may fill an answer once it is decoded",
        path="broker_app/apis/fetch.py",
        old="        decoded_bytes += size_bytes\n",
        new="",
        test="tests/broker_app/apis/test_fetch_several.py"
        "::test_what_was_well_compressed_is_not_all_inflated_for_one_answer",
    ),
)
"""The door before the readers."""

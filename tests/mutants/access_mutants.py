"""Faults of who may do what."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_EVERY_CALL = "tests/queuesite/test_access_of_every_call.py"
_TABLE = f"{_EVERY_CALL}::test_each_caller_may_make_the_calls_that_the_table_says"
_CLIENTS = "tests/broker_app/apis/test_access_of_clients.py"

ACCESS_MUTANTS = (
    Mutant(
        name="direct-calls-not-judged",
        fault="A call that no view has to answer is made by anybody",
        path="http_base/hotpaths.py",
        old="        guard.judge(call, doc, {})\n",
        new="        del doc\n",
        test=_TABLE,
    ),
    Mutant(
        name="views-not-judged",
        fault="A call that a view answers is made by anybody",
        path="http_base/views.py",
        old="        request.caller = guard.judge(\n",
        new="        guard.is_on() or guard.judge(\n",
        test=_TABLE,
    ),
    Mutant(
        name="body-read-before-its-sender",
        fault="A long body is read before its sender is known",
        path="http_base/hotpaths.py",
        old="        if self._is_guarded:\n            _check",
        new="        if not self._is_guarded:\n            _check",
        test=f"{_EVERY_CALL}::test_a_long_body_is_not_read_for_who_may_not_send_it",
    ),
    Mutant(
        name="right-to-one-topic-for-all",
        fault="A right to one topic lets a call pass that names none, and so is about all",
        path="http_base/guard.py",
        old="    if topics is None or need.is_anywhere:\n",
        new="    if not topics or need.is_anywhere:\n",
        test=f"{_EVERY_CALL}::test_a_right_to_a_topic_shows_no_others",
    ),
    Mutant(
        name="first-topic-judged-alone",
        fault="Of several topics the first one's right counts for all",
        path="http_base/guard.py",
        old="    for topic in topics:\n        if not caller.may(need.right, topic):\n",
        new="    for topic in topics[:1]:\n        if not caller.may(need.right, topic):\n",
        test="tests/http_base/test_guard.py::test_a_right_is_needed_to_each_topic",
    ),
    Mutant(
        name="expired-token-taken",
        fault="An API token is taken after its time",
        path="http_base/access.py",
        old="        return 0 < self.expires_ms <= now_ms\n",
        new="        return 0 < now_ms <= self.expires_ms\n",
        test="tests/http_base/test_access.py::test_a_token_ends_at_its_time",
    ),
    Mutant(
        name="origin-not-asked",
        fault="A broker takes the token of a client whose API token was revoked",
        path="broker_app/access.py",
        old="        guard.current().check_origin(claims)\n",
        new="        guard.current()\n",
        test=f"{_CLIENTS}::test_who_registered_must_still_have_the_right",
    ),
    Mutant(
        name="token-in-the-clear",
        fault="A process with a certificate sends the cluster's token to an address without TLS",
        path="http_base/cluster_http.py",
        old="        if self._encrypts and not",
        new="        if not self._encrypts and not",
        test="tests/http_base/test_cluster_http.py"
        "::test_with_a_certificate_no_token_is_sent_in_the_clear",
    ),
    Mutant(
        name="dead-letters-anywhere",
        fault="Whoever reads a topic has its messages copied into any other",
        path="broker_app/access.py",
        old="        guard.current().require_of_origin(claims, right, topic)\n",
        new="        guard.current().check_origin(claims)\n",
        test=f"{_CLIENTS}::test_dead_letters_go_only_where_the_worker_may_produce",
    ),
    Mutant(
        name="producer-reads",
        fault="A right to produce lets read as well",
        path="broker_app/access.py",
        old="        kind = CONSUMER  # where",
        new="        kind = None  # where",
        test=f"{_CLIENTS}::test_who_registered_must_still_have_the_right",
    ),
    Mutant(
        name="session-without-csrf",
        fault="A page elsewhere has a person's browser change something",
        path="manager_app/people.py",
        old="    if request.method not in _SAFE:\n",
        new="    if request.method in _SAFE:\n",
        test="tests/manager_app/test_people.py"
        "::test_a_session_changes_nothing_without_its_csrf_token",
    ),
    Mutant(
        name="dead-owner",
        fault="The API tokens of a person who is gone are taken",
        path="manager_app/access_rows.py",
        old="filter(revoked_at=None, owner__is_active=True)",
        new="filter(revoked_at=None)",
        test="tests/manager_app/test_access_rows.py::test_dead_tokens_are_not_in_the_table",
    ),
    Mutant(
        name="role-above-the-owner",
        fault="A person who is no administrator any more goes on as one by an API token",
        path="manager_app/access_rows.py",
        old="role=min(Role(token.role), of_owner)",
        new="role=max(Role(token.role), of_owner)",
        test="tests/manager_app/test_access_rows.py"
        "::test_the_role_of_a_token_is_never_above_that_of_its_owner",
    ),
    Mutant(
        name="revocation-untold",
        fault="Nobody learns that an API token was revoked",
        path="manager_app/services/access.py",
        old="        access_changed()\n        token = ApiToken",
        new="        metadata_bump()\n        token = ApiToken",
        test="tests/manager_app/test_known_tokens.py::test_what_is_revoked_counts_no_more_at_once",
    ),
)

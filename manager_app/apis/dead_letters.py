"""Dead letters: where they are, and a look at the oldest; redrive and purge are of the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from http_base import guard
from http_base.access import CONSUMING, VIEW
from http_base.apidoc import describe
from http_base.messages import as_asked, message_answer
from manager_app.answers import DeadLetter, DeadLettersList, DeadLettersShown, LettersOf
from manager_app.apis.base import ManagerView
from manager_app.groups.dead_letters import LOOK_LIMIT_S, look_at, places_of_letters
from manager_app.groups.descriptions import TOLD_LIMIT_S
from manager_app.inputs import DeadLettersQuery, LettersQuery
from myqueue.contract.group_inputs import DEAD_LETTER_SUFFIX
from myqueue.contract.rules.dead_letters import death_of

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest
    from manager_app.browsing.lanes import FoundMessage

_LETTER = DeadLetter(
    topic="logs.dead",
    partition=0,
    offset=7,
    timestamp=1_700_000_000_000,
    message="user 17 logged in",
    key=None,
    headers=None,
    died_topic="logs",
    died_partition=0,
    died_offset=41,
    died_group="mailers",
    deliveries=5,
)


class DeadLettersApi(ManagerView):
    """Where dead letters are."""

    @describe(
        summary="List the topics in which messages of workers died",
        access=VIEW,
        input=DeadLettersQuery,
        answer=DeadLettersList(
            dead_letters=[
                LettersOf(group="mailers", topic="logs", dead_letter_topic="logs.dead", left=3)
            ],
            silent_brokers=[],
            next=None,
        ),
        tags=["groups"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """List groups of workers and topics that have a topic with dead letters.

        Two groups may share such a topic: then both have its letters.
        """
        asked = self.read(request, DeadLettersQuery)
        runtime = self.runtime
        told = runtime.run(runtime.standings.ask(), timeout_s=TOLD_LIMIT_S)
        page = runtime.run(places_of_letters(runtime, told, asked), timeout_s=LOOK_LIMIT_S)
        return self.respond(
            DeadLettersList(
                dead_letters=page.rows, silent_brokers=sorted(told.silent), next=page.next
            )
        )


class LettersApi(ManagerView):
    """The dead letters of one topic."""

    @describe(
        summary="Look at the oldest dead letters of a topic",
        access=CONSUMING,
        input=LettersQuery,
        answer=DeadLettersShown(
            topic="logs",
            dead_letter_topic="logs.dead",
            left=1,
            letters=[_LETTER],
            silent_partitions=[],
        ),
        tags=["topics"],
        query=True,
    )
    def get(self, request: ApiRequest, topic: str) -> Response:
        """Return those that were not sent back, the oldest first; nothing moves by it.

        Whoever looks needs the right to consume the topic with the letters, too.
        """
        asked = self.read(request, LettersQuery)
        name = asked.dead_letter_topic or topic + DEAD_LETTER_SUFFIX
        guard.require(request.caller, CONSUMING, [name])
        runtime = self.runtime
        runtime.run(runtime.find_topic(topic), timeout_s=TOLD_LIMIT_S)
        letters = runtime.run(runtime.find_topic(name), timeout_s=TOLD_LIMIT_S)
        look = look_at(runtime, letters, most=asked.max_messages)
        left, found = runtime.run(look, timeout_s=LOOK_LIMIT_S)
        return self.respond(
            DeadLettersShown(
                topic=topic,
                dead_letter_topic=name,
                left=left,
                letters=[
                    as_asked(_letter(name, one), binary=request.takes_msgpack)
                    for one in found.found
                ],
                silent_partitions=sorted(found.silent),
            )
        )


def _letter(topic: str, found: FoundMessage) -> DeadLetter:
    message = message_answer(
        found.record, topic=topic, partition=found.partition, offset=found.offset, binary=True
    )
    died = death_of(found.record.headers)
    return DeadLetter(
        **asdict(message),
        died_topic=died.topic or None,
        died_partition=None if died.partition < 0 else died.partition,
        died_offset=None if died.offset < 0 else died.offset,
        died_group=died.group or None,
        deliveries=died.deliveries or None,
    )

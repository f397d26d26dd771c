"""Topics: /topics and /topics/{topic}."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec import UNSET, to_builtins
from msgspec.structs import asdict, replace

from http_base.access import CHANGE_TOPIC, OPERATE, VIEW, VIEW_TOPIC
from http_base.apidoc import describe
from manager_app import selectors
from manager_app.answers import (
    PartitionDetail,
    PartitionPlace,
    PartitionPurged,
    ReplicaDetail,
    TopicCreated,
    TopicDeleted,
    TopicDetail,
    TopicList,
    TopicPurged,
    TopicRedriven,
    TopicSettings,
    TopicSummary,
)
from manager_app.apis import remembered
from manager_app.apis.acts import configures, operates
from manager_app.apis.base import ManagerView
from manager_app.apis.rendering import (
    partition_detail,
    partitions_in_memory,
    topic_settings,
    topic_summary,
)
from manager_app.groups.dead_letters import redrive
from manager_app.inputs import Nothing, TopicPurge, TopicRedrive, TopicsQuery
from manager_app.models import Event, EventKind, EventOutcome
from manager_app.placement.topic_changes import create_topic, delete_topic, update_topic
from manager_app.proxy.primary import speaker_of
from manager_app.proxy.purge import purge
from manager_app.services.events import about, event_store, person_named
from myqueue.contract import retry_after
from myqueue.contract.answers import BrokerAddress
from myqueue.contract.errors import DatabaseUnavailable
from myqueue.contract.inputs import TopicCreate, TopicUpdate

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.cluster import ReplicaReport
    from http_base.paging import Page
    from http_base.views import ApiRequest
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.inputs import Input

DETAIL_LIMIT_S = 10.0
"""How long all brokers together may take; each has a shorter limit of its own."""

PURGE_ACTION = "purge"
REDRIVE_ACTION = "redrive"
"""Among the events."""
PURGE_MARGIN_S = 5.0
"""How much longer than its own limit a purge is waited for."""
_BROKER = BrokerAddress(broker_id=1, address="http://127.0.0.1:8001")
PARTITION = PartitionPlace(partition=0, group_id=1, leader=_BROKER, term=1, replicas=[_BROKER])
"""A partition, for examples of answers."""
_PARTITION_DETAIL = PartitionDetail(
    partition=0,
    group_id=1,
    condition="healthy",
    placement_version=1,
    leader=_BROKER,
    term=1,
    replicas=[
        ReplicaDetail(
            replica_id=1,
            broker_id=1,
            address="http://127.0.0.1:8001",
            broker_state="alive",
            role="leader",
            state="voter",
            fault="",
            installing=False,
            log_start_offset=0,
            high_watermark=42,
            last_index=43,
            live=True,
        )
    ],
    log_start_offset=0,
    high_watermark=42,
)
_DETAIL = TopicDetail(
    topic="logs",
    number_of_partitions=3,
    settings=TopicSettings(
        replication_factor=3,
        retention_ms=None,
        retention_bytes=None,
        created_at=1_700_000_000_000,
    ),
    metadata_version=7,
    partitions=[_PARTITION_DETAIL],
)


class TopicsApi(ManagerView):
    """All topics."""

    acts: ClassVar = {"POST": configures("topic created")}

    @describe(
        summary="List topics in the order of their creation",
        access=VIEW,
        input=TopicsQuery,
        answer=TopicList(topics=["logs"], next=None),
        tags=["topics"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """Return the names, or with `detail=1` objects.

        While the database does not answer, from the metadata in memory.
        """
        metadata = self.runtime.metadata
        asked = self.read(request, TopicsQuery)
        if not asked.detail:
            return self.read_or_remember(
                lambda: _topic_list(selectors.topic_names(asked)),
                lambda: _topic_list(
                    remembered.topics(metadata, asked).map(lambda topic: topic.name)
                ),
            )
        return self.read_or_remember(
            lambda: _topic_list(
                selectors.topics_with_counts(asked).map(
                    lambda topic: topic_summary(
                        topic.name,
                        getattr(topic, "number_of_partitions", 0),
                        topic_settings(topic),
                    )
                )
            ),
            lambda: _topic_list(
                remembered.topics(metadata, asked).map(
                    lambda topic: topic_summary(
                        topic.name, len(topic.partitions), topic_settings(topic.settings)
                    )
                )
            ),
        )

    @describe(
        summary="Create a topic",
        access=CHANGE_TOPIC,
        input=TopicCreate,
        answer=TopicCreated(
            message="Topic 'logs' created successfully",
            topic="logs",
            number_of_partitions=3,
            partitions=[PARTITION],
            leaders_pending=[],
        ),
        tags=["topics"],
        status=201,
    )
    def post(self, request: ApiRequest) -> Response:
        """Create the topic; answer when every partition has a leader, after 5 s at the latest."""
        self.runtime.require_database()
        call = self.read(request, TopicCreate)
        pending = create_topic(self.runtime, call)
        partitions = partitions_in_memory(self.runtime.metadata, call.topic)
        return self.respond(
            TopicCreated(
                message=f"Topic '{call.topic}' created successfully",
                topic=call.topic,
                number_of_partitions=len(partitions),
                partitions=partitions,
                leaders_pending=pending,
            ),
            status=201,
        )


class TopicApi(ManagerView):
    """One topic."""

    acts: ClassVar = {"PATCH": configures("topic changed"), "DELETE": configures("topic deleted")}

    @describe(summary="Describe a topic", access=VIEW_TOPIC, answer=_DETAIL, tags=["topics"])
    def get(self, request: ApiRequest, topic: str) -> Response:
        """Return partitions, leaders, replicas and offsets, as the brokers report them now.

        While the database does not answer, settings and placement come from the metadata in memory.
        """
        self.read(request, Nothing)
        return self.read_or_remember(lambda: self._detail(topic), lambda: self._remembered(topic))

    @describe(
        summary="Change a topic",
        access=CHANGE_TOPIC,
        input=TopicUpdate,
        answer=_DETAIL,
        tags=["topics"],
        sample={"retention_ms": 604_800_000},
    )
    def patch(self, request: ApiRequest, topic: str) -> Response:
        """Change the retention, or add partitions; nothing else of a topic changes."""
        self.runtime.require_database()
        call = self.read(request, TopicUpdate)
        pending = update_topic(self.runtime, topic, call)
        return self.respond(replace(self._detail(topic), leaders_pending=pending))

    @describe(
        summary="Delete a topic and its messages",
        access=CHANGE_TOPIC,
        answer=TopicDeleted(message="Topic 'logs' deleted", topic="logs", replicas_pending=0),
        tags=["topics"],
    )
    def delete(self, request: ApiRequest, topic: str) -> Response:
        """Delete the topic for good; a broker that is away drops its replicas when it is back."""
        self.runtime.require_database()
        self.read(request, Nothing)
        pending = delete_topic(self.runtime, topic)
        return self.respond(
            TopicDeleted(message=f"Topic '{topic}' deleted", topic=topic, replicas_pending=pending)
        )

    def _detail(self, name: str) -> TopicDetail:
        runtime = self.runtime
        # The brokers are asked while the database is read.
        with runtime.begin(_ask_replicas(runtime, name), timeout_s=DETAIL_LIMIT_S) as reported:
            version = selectors.metadata_version()
            topic = selectors.topic_get(name)
            partitions = selectors.topic_partitions(topic)
            reports = reported()
        suspects = runtime.suspects()
        return TopicDetail(
            topic=topic.name,
            number_of_partitions=len(partitions),
            settings=topic_settings(topic),
            metadata_version=version,
            partitions=[
                partition_detail(partition, reports, suspects=suspects) for partition in partitions
            ],
        )

    def _remembered(self, name: str) -> TopicDetail:
        """Return a topic from the metadata in memory.

        Raises:
            DatabaseUnavailable: the metadata has no such topic; the database may have it.
        """
        runtime = self.runtime
        view = runtime.metadata.current.topics.get(name)
        if view is None:
            raise DatabaseUnavailable(
                f"topic {name[:260]!r} is not known here, and the database does not answer",
                retry_after_ms=retry_after.DATABASE_MS,
            )
        reports = runtime.run(runtime.orders.ask_replicas(view), timeout_s=DETAIL_LIMIT_S)
        return TopicDetail(
            topic=view.name,
            number_of_partitions=len(view.partitions),
            settings=topic_settings(view.settings),
            metadata_version=runtime.metadata.current.version,
            partitions=[
                remembered.partition_detail(partition, reports, runtime.metadata)
                for partition in view.partitions
            ],
        )


class PurgeApi(ManagerView):
    """The messages of one topic."""

    @describe(
        summary="Delete messages of a topic",
        access=CHANGE_TOPIC,
        input=TopicPurge,
        answer=TopicPurged(
            topic="logs",
            removed=42,
            partitions=[PartitionPurged(partition=0, log_start_offset=42, removed=42)],
        ),
        tags=["topics"],
        sample={"partitions": [0]},
    )
    def post(self, request: ApiRequest, topic: str) -> Response:
        """Delete all messages that are there now, those before a time, or those below an offset.

        They go in each partition through its log, so that its replicas agree. A record batch goes
        whole or stays. Who has not read them yet is told how many were missed. A partition that
        refuses says so, and the others are purged all the same. Each purge is an event.
        """
        runtime = self.runtime
        runtime.require_database()
        asked = self.read(request, TopicPurge)
        found = runtime.run(runtime.find_topic(topic), timeout_s=DETAIL_LIMIT_S)
        found.chosen(asked.partitions)
        event = _begun(
            runtime,
            request,
            action=PURGE_ACTION,
            text=f"Deleting messages of topic {topic}",
            asked=asked,
        )
        event.about = about(topic=topic)
        event_store(event)
        limit_s = asked.timeout_ms / 1000 + PURGE_MARGIN_S
        purged = runtime.run(purge(runtime, found, asked), timeout_s=limit_s)
        removed = sum(one.removed or 0 for one in purged)
        whole = all(one.removed is not None for one in purged)
        event.text = f"Deleted {removed:,} messages of topic {topic}"
        event.outcome = EventOutcome.DONE if whole else EventOutcome.FAILED
        event_store(event, partitions=to_builtins(purged))
        return self.respond(TopicPurged(topic=topic, removed=removed, partitions=purged))


class RedriveApi(ManagerView):
    """The dead letters of one topic."""

    acts: ClassVar = {"POST": operates("dead letters sent back")}

    @describe(
        summary="Send dead letters back to their topic",
        access=OPERATE,
        input=TopicRedrive,
        answer=TopicRedriven(
            topic="logs", dead_letter_topic="logs.dead", redriven=3, others=0, left=0
        ),
        tags=["topics"],
    )
    def post(self, request: ApiRequest, topic: str) -> Response:
        """Send back what is in the dead-letter topic now, each once, also after a broken-off call.

        A letter goes to the partition where it died; one that died in another topic stays. `left`
        tells whether to call again. Each call is in the audit log.
        """
        runtime = self.runtime
        runtime.require_database()
        asked = self.read(request, TopicRedrive)
        found = runtime.run(runtime.find_topic(topic), timeout_s=DETAIL_LIMIT_S)
        limit_s = asked.timeout_ms / 1000 + PURGE_MARGIN_S
        event = _begun(
            runtime,
            request,
            action=REDRIVE_ACTION,
            text=f"Sending dead letters of topic {topic} back",
            asked=asked,
        )
        event.about = about(topic=topic)
        event_store(event)
        redriven = runtime.run(redrive(runtime, found, asked), timeout_s=limit_s)
        event.text = f"Sent {redriven.redriven:,} dead letters of topic {topic} back"
        event.outcome = EventOutcome.DONE if redriven.reason is UNSET else EventOutcome.FAILED
        event_store(event, redriven=redriven.redriven, left=redriven.left)
        return self.respond(redriven)


def _begun(
    runtime: ManagerRuntime, request: ApiRequest, *, action: str, text: str, asked: Input
) -> Event:
    """Return the event of something that begins; what becomes of it is not known yet."""
    return Event(
        at=runtime.now(),
        kind=EventKind.ACTION,
        action=action,
        text=text,
        person=person_named(request.caller),
        origin=speaker_of(request),
        outcome=EventOutcome.UNKNOWN,
        details={"asked": {k: v for k, v in asdict(asked).items() if v is not None}},
    )


def _topic_list(page: Page[str] | Page[TopicSummary]) -> TopicList:
    return TopicList(topics=[*page.rows], next=page.next)


async def _ask_replicas(
    runtime: ManagerRuntime, topic: str
) -> dict[tuple[int, int], ReplicaReport]:
    """Return what the brokers of a topic say of its replicas, by (group id, broker id)."""
    return await runtime.orders.ask_replicas(await runtime.find_topic(topic))

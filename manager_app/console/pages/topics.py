"""Topics, and one of them: where it lives, who writes and reads it, what can be done with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.urls import reverse

from http_base.access import ADMINISTER
from manager_app import runtime, selectors
from manager_app.answers import PartitionPurged
from manager_app.apis.rendering import partition_detail
from manager_app.console.actions import Action, Asked
from manager_app.console.charts import chart_of
from manager_app.console.formats import number, plural, size
from manager_app.console.page import asks_for_day, may, page
from manager_app.console.quantities import (
    read_bytes,
    read_duration_ms,
    write_bytes,
    write_duration_ms,
)
from manager_app.console.topic_figures import (
    PartitionFigures,
    kept,
    partition_figures,
    topics_listed,
)
from manager_app.groups.standings import Overview
from manager_app.health.histories import thinned
from manager_app.inputs import ClientsQuery, TopicPurge
from manager_app.models import ClientState, ConsumerGroup, EventKind, GroupMember, Topic
from manager_app.placement import eligible_brokers
from manager_app.placement.repair_rules import PartitionCondition
from manager_app.placement.topic_changes import create_topic, delete_topic, update_topic
from manager_app.proxy.purge import purge
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import (
    MAX_PARTITIONS,
    MAX_REPLICATION_FACTOR,
    TopicCreate,
    TopicUpdate,
    check_topic_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from django.http import HttpRequest

    from http_base.cluster import GroupStanding, ReplicaReport
    from manager_app.answers import PartitionDetail
    from manager_app.console.charts import Chart

T = TypeVar("T")
TOPICS_PER_PAGE = 50
PARTITIONS_PER_PAGE = 100
CLIENTS_SHOWN = 10
"""Producers, and consumers, on the page of a topic; the rest is on that of clients."""
GROUPS_SHOWN = 50
SPARK_POINTS = 120
"""Of the history that a line in the list shows: ten minutes."""
SPARK_DRAWN = 40
SPARK_MINUTES = 10
"""Of the rates of a partition, the fewest that its line shows."""
REPORT_LIMIT_S = 0.5
"""For what one broker says of its replicas; what is stored is shown of one that does not."""
REPORTS_LIMIT_S = 3.0
"""For the brokers' answers; each has a shorter limit of its own."""
PURGE_LIMIT_S = 15.0
"""For a purge; each partition has a shorter limit of its own."""


@dataclass(frozen=True, slots=True)
class ShownPartition:
    """A partition in the table of its topic."""

    group_id: int
    detail: PartitionDetail
    figures: PartitionFigures

    @property
    def messages(self) -> int:
        """How many it has."""
        return max(0, (self.detail.high_watermark or 0) - (self.detail.log_start_offset or 0))

    @property
    def is_well(self) -> bool:
        """True when there is nothing to do."""
        return self.detail.condition == PartitionCondition.HEALTHY

    @property
    def tone(self) -> str:
        """The colour of its condition."""
        if self.is_well:
            return "good"
        lost = (PartitionCondition.NO_LEADER, PartitionCondition.NO_HEALTHY_REPLICA)
        return "bad" if self.detail.condition in lost else "warn"


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group that reads a topic."""

    name: str
    members: int | None
    """None of queue workers, whom nobody counts."""
    standing: GroupStanding | None
    """How far it is in the topic; None where no broker said so."""

    @property
    def lag(self) -> int:
        """Messages left, as far as that is known."""
        return self.standing.lag if self.standing else 0

    @property
    def age_s(self) -> float | None:
        """Age of the oldest message left, in seconds; None where it is not known."""
        if self.standing is None or self.standing.age_ms is None:
            return None
        return self.standing.age_ms / 1000


@page("console/topics.html", title="Topics")
def topics(request: HttpRequest) -> dict[str, Any]:
    """List the topics by name."""
    named = request.GET.get("name", "").strip()[:249]
    found = topics_listed(after=request.GET.get("after", ""), named=named, limit=TOPICS_PER_PAGE)
    return {
        "rows": [(one, traffic_of(one.topic.name)) for one in found.rows],
        "next": found.next,
        "name": named,
    }


@dataclass(frozen=True, slots=True)
class Traffic:
    """What goes through a topic, in messages a second."""

    rate_in: float | None = None
    """None where nobody counts it."""
    rate_out: float | None = None
    line: Sequence[float | None] = ()
    """Of what came in during the last minutes, oldest first."""


def traffic_of(topic: str) -> Traffic:
    """Return what this manager saw go through a topic."""
    present = runtime.installed()
    if present is None:
        return Traffic()
    histories, now_s = present.watch.histories, present.monotonic_s()
    into = ("topic", topic, "messages_in")
    return Traffic(
        histories.latest(into, now_s),
        histories.latest(("topic", topic, "messages_out"), now_s),
        thinned(histories.hour(into, now_s, points=SPARK_POINTS), SPARK_DRAWN),
    )


def _charts(topic: str, *, day: bool) -> list[Chart]:
    present = runtime.installed()
    if present is None:
        return []
    histories, now_s = present.watch.histories, present.monotonic_s()
    return [
        chart_of(
            histories,
            name,
            name.capitalize(),
            unit,
            lines=[
                ("In", ("topic", topic, f"{name}_in")),
                ("Out", ("topic", topic, f"{name}_out")),
            ],
            now_s=now_s,
            day=day,
        )
        for name, unit in (("messages", "rate"), ("bytes", "bytes"))
    ]


@page("console/topic.html")
def topic(request: HttpRequest, topic: str) -> dict[str, Any]:
    """Show one topic: its partitions, who writes and who reads."""
    row = selectors.topic_get(topic)
    reports, told = _told(topic)
    figures = partition_figures([row.pk]).get(row.pk, {})
    after = _number_of(request.GET.get("after", ""), -1)
    shown = [
        ShownPartition(
            one.group_id,
            partition_detail(one, reports, suspects=runtime.suspects()),
            figures.get(one.group_id, PartitionFigures()),
        )
        for one in selectors.topic_partitions(row)
    ]
    listed = [one for one in shown if one.detail.partition > after][:PARTITIONS_PER_PAGE]
    rates = _rates_of(listed)
    last = listed[-1].detail.partition if listed else -1
    return {
        **of_topic(request, row, "overview"),
        "partitions": list(zip(listed, rates, strict=True)),
        "next": last if shown and last < shown[-1].detail.partition else None,
        "count": len(shown),
        "ill": [one for one in shown if not one.is_well],
        "message_count": sum(one.messages for one in shown),
        "size_bytes": sum(one.figures.size_bytes for one in shown),
        "producers": _clients("producer", row),
        "consumers": _clients("consumer", row),
        "groups": _groups(topic, told),
        "charts": _charts(topic, day=asks_for_day(request)),
    }


def _rates_of(partitions: Sequence[ShownPartition]) -> list[list[float | None]]:
    """Return how many messages a second came to each in the last hour, one value in a minute."""
    present = runtime.installed()
    if present is None:
        return [[] for _ in partitions]
    rates, now_s = present.watch.partition_rates, present.monotonic_s()
    return [_since_known(rates.hour(one.group_id, now_s)) for one in partitions]


def _since_known(values: list[float | None]) -> list[float | None]:
    """Leave out the beginning of which nothing is known, but for the last minutes."""
    known = next((place for place, value in enumerate(values) if value is not None), len(values))
    return values[min(known, len(values) - SPARK_MINUTES) :]


@page("console/topic_settings.html", needs=ADMINISTER)
def settings(request: HttpRequest, topic: str) -> dict[str, Any]:
    """Show what a topic keeps, and what can be changed."""
    row = selectors.topic_get(topic)
    return {**of_topic(request, row, "settings"), "count": row.partitions.count()}


def of_topic(request: HttpRequest, row: Topic, tab: str) -> dict[str, Any]:
    """Return what all tabs of a topic show around them."""
    person = may(request)
    tabs = [
        ("Overview", "topic", "overview", person.view),
        ("Messages", "topic_messages", "messages", person.read_messages),
        ("Publish", "topic_publish", "publish", person.publish),
        ("Settings", "topic_settings", "settings", person.have(ADMINISTER)),
    ]
    return {
        "title": row.name,
        "topic": row,
        "tabs": [
            (name, reverse(f"console:{url}", kwargs={"topic": row.name}), here == tab)
            for name, url, here, is_shown in tabs
            if is_shown
        ],
        "keeps_time": write_duration_ms(row.retention_ms),
        "keeps_bytes": size(row.retention_bytes) if row.retention_bytes else "",
        "kept": kept(row),
    }


def _told(topic: str) -> tuple[Mapping[tuple[int, int], ReplicaReport], Overview]:
    """Ask the brokers what they have now, and how far groups are."""
    present = runtime.installed()
    if present is None:  # a process without a manager shows what is stored
        return {}, Overview()

    async def ask() -> tuple[Mapping[tuple[int, int], ReplicaReport], Overview]:
        known = await present.find_topic(topic)
        return await asyncio.gather(
            present.orders.ask_replicas(known, timeout_s=REPORT_LIMIT_S),
            present.standings.recent(),
        )

    return present.run(ask(), timeout_s=REPORTS_LIMIT_S)


def _clients(kind: selectors.ClientKind, row: Topic) -> dict[str, Any]:
    """Return some clients of a topic, and how many there are in all."""
    model = selectors.CLIENT_MODELS[kind]
    rows = model.objects.filter(topic=row).exclude(state=ClientState.REVOKED)
    page = selectors.clients_list(kind, ClientsQuery(topic=row.name, limit=CLIENTS_SHOWN))
    return {
        "shown": page.rows,
        "count": rows.count() if page.next else len(page.rows),
        "is_cut": page.next is not None,
    }


def _groups(topic: str, told: Overview) -> dict[str, Any]:
    """Return the groups that read a topic, those first that have most left."""
    rows = ConsumerGroup.objects.filter(topics__has_key=topic)
    members = dict(
        rows.annotate(member_count=selectors.row_count_of(GroupMember, "group")).values_list(
            "name", "member_count"
        )
    )
    names = {*members, *(name for name, of in told.by_group.items() if topic in of)}
    found = [
        ShownGroup(name, members.get(name), told.by_group.get(name, {}).get(topic))
        for name in names
    ]
    found.sort(key=lambda one: (-one.lag, one.name))
    return {"shown": found[:GROUPS_SHOWN], "is_cut": len(found) > GROUPS_SHOWN}


def _number_of(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


class RetentionFields(forms.Form):
    """How long and how much a topic keeps."""

    keep_for = forms.CharField(
        label="Keep messages for",
        required=False,
        max_length=40,
        help_text="As 7 days, 36 h or 90 min; empty: for good.",
    )
    keep_size = forms.CharField(
        label="Keep at most, in each partition",
        required=False,
        max_length=40,
        help_text="As 500 MiB or 10 GiB; empty: no limit.",
    )

    def clean_keep_for(self) -> int | None:
        """Return milliseconds."""
        return _said(read_duration_ms, self.cleaned_data["keep_for"])

    def clean_keep_size(self) -> int | None:
        """Return bytes."""
        return _said(read_bytes, self.cleaned_data["keep_size"])


def _said(read: Callable[[str], T], text: str) -> T:
    """Return what a reader makes of a field; its refusal is the field's."""
    try:
        return read(text)
    except InvalidRequest as error:
        raise forms.ValidationError(error.message) from error


class NewTopic(RetentionFields):
    """A topic that is to be made."""

    field_order = ("topic", "number_of_partitions", "replication_factor")

    topic = forms.CharField(
        label="Name",
        max_length=249,
        help_text="Letters, digits, dots, dashes and underlines.",
    )
    number_of_partitions = forms.IntegerField(
        label="Partitions",
        min_value=1,
        max_value=MAX_PARTITIONS,
        initial=3,
        help_text="Each is an ordered sequence that one broker leads. More can be added, none taken"
        " away.",
    )
    replication_factor = forms.IntegerField(
        label="Replicas of each",
        min_value=1,
        max_value=MAX_REPLICATION_FACTOR,
        help_text="On as many brokers. With three, one may be lost and messages go on.",
    )

    def clean_topic(self) -> str:
        """Refuse what no topic can be called, and a name that is taken."""
        name: str = self.cleaned_data["topic"]
        _said(check_topic_name, name)
        if Topic.objects.filter(name=name).exists():
            raise forms.ValidationError(f"There is a topic {name} already.")
        return name


class CreateTopic(Action):
    """Makes a topic."""

    needs = ADMINISTER
    title = "Create a topic"
    button = "Create topic"
    icon = "add"
    subject = "topics"
    kind = EventKind.CONFIGURATION
    back = "console:topics"
    form = NewTopic
    previews = False

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return as many replicas as there are brokers, three at most."""
        brokers = eligible_brokers.brokers_for_replicas().count()
        return {"replication_factor": min(3, max(1, brokers))}

    def do(self, asked: Asked) -> str:
        """Make it, and wait a moment for leaders."""
        name = asked.data["topic"]
        waiting = create_topic(
            asked.manager,
            TopicCreate(
                topic=name,
                number_of_partitions=asked.data["number_of_partitions"],
                replication_factor=asked.data["replication_factor"],
                retention_ms=asked.data["keep_for"],
                retention_bytes=asked.data["keep_size"],
            ),
        )
        if waiting:
            return f"Topic {name} is there; {plural(len(waiting), 'partition')} elect a leader."
        return f"Topic {name} is there."


class TopicAction(Action):
    """What all actions on one topic have in common."""

    needs = ADMINISTER
    subject = "topic {topic}"
    kind = EventKind.CONFIGURATION
    back = "console:topic_settings"

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the topic."""
        return {"topic": asked.parts["topic"]}


class ChangeRetention(TopicAction):
    """Changes how long and how much a topic keeps."""

    title = "Retention of {topic}"
    button = "Change retention"
    icon = "schedule"
    form = RetentionFields

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return what it keeps now."""
        row = selectors.topic_get(asked.parts["topic"])
        return {
            "keep_for": write_duration_ms(row.retention_ms),
            "keep_size": write_bytes(row.retention_bytes),
        }

    def says(self, asked: Asked) -> list[str]:
        """Return what will be deleted."""
        keep_ms, keep_bytes = asked.data["keep_for"], asked.data["keep_size"]
        said = [
            f"Messages are kept for {write_duration_ms(keep_ms)}."
            if keep_ms
            else "Messages are kept for good, as far as their age goes.",
            f"Each partition keeps about {size(keep_bytes)}."
            if keep_bytes
            else "Partitions may grow without a limit.",
        ]
        if keep_ms or keep_bytes:
            said.append("What is beyond that now is deleted within a minute, read or not.")
        return said

    def do(self, asked: Asked) -> str:
        """Change it."""
        name = asked.parts["topic"]
        update_topic(
            asked.manager,
            name,
            TopicUpdate(
                retention_ms=asked.data["keep_for"], retention_bytes=asked.data["keep_size"]
            ),
        )
        return f"The retention of {name} is changed."


class MorePartitions(forms.Form):
    """How many partitions a topic is to have."""

    number_of_partitions = forms.IntegerField(
        label="Partitions", min_value=1, max_value=MAX_PARTITIONS
    )


class GrowTopic(TopicAction):
    """Adds partitions to a topic."""

    title = "More partitions for {topic}"
    button = "Add partitions"
    icon = "add_box"
    form = MorePartitions

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return how many it has."""
        count = selectors.topic_get(asked.parts["topic"]).partitions.count()
        return {"number_of_partitions": count}

    def says(self, asked: Asked) -> list[str]:
        """Return what that means for keys."""
        present = self.initial(asked)["number_of_partitions"]
        wanted = asked.data["number_of_partitions"]
        if wanted <= present:
            return [
                (
                    f"The topic has {plural(present, 'partition')}: it can only grow, and nothing"
                    " changes."
                )
            ]
        return [
            f"{plural(wanted - present, 'partition')} are added to {number(present)}.",
            (
                "From then on keys go to other partitions than before: new messages of a key may be"
                " read before old ones of it."
            ),
            "Partitions cannot be taken away again.",
        ]

    def do(self, asked: Asked) -> str:
        """Add them, and wait a moment for leaders."""
        name, wanted = asked.parts["topic"], asked.data["number_of_partitions"]
        update_topic(asked.manager, name, TopicUpdate(number_of_partitions=wanted))
        return f"Topic {name} has {plural(wanted, 'partition')}."


def _figures(row: Topic) -> Collection[PartitionFigures]:
    """Return what the partitions of a topic have."""
    return partition_figures([row.pk]).get(row.pk, {}).values()


class PurgeTopic(TopicAction):
    """Deletes the messages of a topic."""

    kind = EventKind.ACTION
    title = "Purge {topic}"
    button = "Purge"
    icon = "delete_sweep"
    is_danger = True
    typed = "{topic}"

    def says(self, asked: Asked) -> list[str]:
        """Return how much goes."""
        figures = _figures(selectors.topic_get(asked.parts["topic"]))
        messages = plural(sum(one.messages for one in figures), "message")
        size_bytes = size(sum(one.size_bytes for one in figures))
        return [
            (
                f"All messages that are in it now are deleted for good: about {messages},"
                f" {size_bytes}."
            ),
            (
                "The topic stays, with its settings; offsets go on where they are. Who has not read"
                " these messages is told how many were missed."
            ),
        ]

    def do(self, asked: Asked) -> str:
        """Delete them, in every partition."""
        name = asked.parts["topic"]

        async def purge_all() -> list[PartitionPurged]:
            manager = asked.manager
            return await purge(manager, await manager.find_topic(name), TopicPurge())

        purged = asked.manager.run(purge_all(), timeout_s=PURGE_LIMIT_S)
        removed = plural(sum(one.removed or 0 for one in purged), "message")
        left = [one for one in purged if one.log_start_offset is None]
        if left:
            which = ", ".join(str(one.partition) for one in left[:10])
            return f"{removed} deleted; not all is known to be gone from partition {which}."
        return f"{removed} deleted from {name}."


class DeleteTopic(TopicAction):
    """Deletes a topic with its messages."""

    title = "Delete {topic}"
    button = "Delete topic"
    icon = "delete"
    back = "console:topics"
    is_danger = True
    typed = "{topic}"

    def says(self, asked: Asked) -> list[str]:
        """Return what goes with it."""
        row = selectors.topic_get(asked.parts["topic"])
        messages = plural(sum(one.messages for one in _figures(row)), "message")
        said = [f"The topic is deleted for good with about {messages}, on every broker."]
        clients = sum(
            model.objects.filter(topic=row).exclude(state=ClientState.REVOKED).count()
            for model in selectors.CLIENT_MODELS.values()
        )
        if clients:
            said.append(f"{plural(clients, 'registered client')} of it cannot go on.")
        present = runtime.installed()
        told = Overview() if present is None else present.standings.latest
        groups = _groups(row.name, told)["shown"]
        if groups:
            named = ", ".join(group.name for group in groups[:5])
            said.append(f"{plural(len(groups), 'consumer group')} read it: {named}.")
        return said

    def do(self, asked: Asked) -> str:
        """Delete it."""
        pending = delete_topic(asked.manager, asked.parts["topic"])
        if pending:
            return (
                f"Topic {asked.parts['topic']} is deleted; {plural(pending, 'replica')} go when"
                " their brokers are back."
            )
        return f"Topic {asked.parts['topic']} is deleted."

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return nothing: the topic is gone."""
        return {}

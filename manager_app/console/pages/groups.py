"""The groups of consumers and of workers, and one of them: who falls behind?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms

from http_base.access import ADMINISTER, MOVE_OFFSETS
from manager_app import runtime
from manager_app.console.actions import Action, Asked
from manager_app.console.charts import Chart, chart_of
from manager_app.console.formats import number, plural
from manager_app.console.page import asks_for_day, page
from manager_app.groups.descriptions import (
    TOLD_LIMIT_S,
    forget_group,
    groups_behind,
    list_groups,
    move_group,
    view_group,
)
from manager_app.groups.offset_moves import Asker
from manager_app.groups.standings import dead_letter_topic
from manager_app.inputs import GroupsQuery, MembersQuery
from myqueue.contract.errors import QueueError, UnmovedOffsets, with_unknown_outcome
from myqueue.contract.group_inputs import GroupOffsetsReset, check_group_name
from myqueue.contract.inputs import MAX_PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest

    from http_base.cluster import GroupStanding
    from manager_app.answers import GroupSummary, MemberFacts
    from manager_app.groups.descriptions import GroupView
    from myqueue.contract.answers import GroupOffsetsMoved, OffsetMove

PAGE_SIZE = 100
"""Groups of one page of the list, and members and partitions of one page of a group."""
MOVES_SHOWN_MAX = 200
"""Partitions of a preview; the others are counted."""
RUNS_SHOWN_MAX = 12
"""Runs of partitions that a member's line names."""
MOVE_TIMEOUT_MS = 5_000
"""For the partitions to be moved."""
NAME_PART = re.compile(r"[A-Za-z0-9._-]{0,249}", re.ASCII)


@page("console/groups.html", title="Groups")
def groups(request: HttpRequest) -> dict[str, Any]:
    """List the groups, those that are furthest behind first, or by name."""
    asked = _query(request)
    manager = runtime.current()
    told = manager.run(manager.standings.recent(), timeout_s=TOLD_LIMIT_S)
    by_name = request.GET.get("order") == "name"
    if by_name:
        found = list_groups(asked, told)
        rows, following, count = found.rows, found.next, None
    else:
        rows, count = groups_behind(told, asked)
        following = None
    return {
        "rows": [
            (row, state_of(row), row.topics or sorted(told.by_group.get(row.group, ())))
            for row in rows
        ],
        "next": following,
        "by_name": by_name,
        "count": count,
        "is_cut": count is not None and count > len(rows),
        "asked": asked,
        "is_filtered": bool(asked.prefix or asked.topic or asked.kind),
        "silent": sorted(told.silent),
    }


@page("console/group.html")
def one_group(request: HttpRequest, group: str) -> dict[str, Any]:
    """Show one group: where it is in each partition, and who reads."""
    check_group_name(group)
    shown = view_group(
        runtime.current(),
        group,
        _members(request),
        after=request.GET.get("partition", ""),
        limit=PAGE_SIZE,
    )
    detail = shown.detail
    is_workers = detail.kind == "workers"
    return {
        "title": f"Group {group}",
        "group": detail,
        "total": shown.total,
        "is_workers": is_workers,
        "state": _state(is_workers=is_workers, members=detail.member_count, figures=shown.total),
        "topics": shown.topics,
        "charts": _charts(group, day=asks_for_day(request)),
        "dead_letters": [(one.topic, dead_letter_topic(one)) for one in _of_workers(shown)],
        "members": [
            (one, _assigned(one), _heard_s(one), one.session_timeout_ms / 1000)
            for one in detail.members
        ],
        "next_member": detail.next,
        "next_partition": shown.next_partition,
        "first_page": not request.GET.get("partition"),
        "most_behind": max((one.lag or 0 for one in detail.partitions), default=0),
        "silent": sorted(shown.silent),
    }


def _charts(name: str, *, day: bool) -> list[Chart]:
    manager = runtime.current()
    histories, now_s = manager.watch.histories, manager.monotonic_s()
    return [
        chart_of(
            histories,
            key,
            title,
            unit,
            lines=[(line, ("group", name, key))],
            now_s=now_s,
            day=day,
        )
        for key, title, unit, line in (
            ("lag", "Lag", "count", "Messages left"),
            ("age", "How long the oldest has waited", "duration", "Oldest left"),
        )
    ]


def _of_workers(shown: GroupView) -> list[GroupStanding]:
    return [one for _, one in sorted(shown.standings.items()) if one.is_workers]


def state_of(row: GroupSummary) -> tuple[str, str]:
    """Return in a word how a group is, and the tone of its badge."""
    return _state(is_workers=row.kind == "workers", members=row.members, figures=row)


def _state(
    *, is_workers: bool, members: int, figures: GroupSummary | GroupStanding | None
) -> tuple[str, str]:
    if figures is None or figures.lag is None:
        return "unknown", "plain"
    if is_workers:
        if figures.in_flight:
            return "working", "good"
        if figures.visible:
            return "nobody works", "warn"
        return ("delayed", "plain") if figures.delayed else ("idle", "plain")
    if members:
        return "reading", "good"
    return ("nobody reads", "warn") if figures.lag else ("empty", "plain")


def _query(request: HttpRequest) -> GroupsQuery:
    kind = request.GET.get("kind", "")
    return GroupsQuery(
        limit=PAGE_SIZE,
        after=_name_part(request, "after"),
        prefix=_name_part(request, "prefix"),
        topic=_name_part(request, "topic"),
        kind=kind if kind in ("consumers", "workers") else None,  # type: ignore[arg-type]
    )


def _members(request: HttpRequest) -> MembersQuery:
    after = request.GET.get("member", "")
    return MembersQuery(limit=PAGE_SIZE, after=after if after.isalnum() else "")


def _name_part(request: HttpRequest, field: str) -> str:
    text = request.GET.get(field, "").strip()
    return text if NAME_PART.fullmatch(text) else ""


def _assigned(member: MemberFacts) -> str:
    """Return what a member reads, as `logs 0-3, 7`; `-` for nothing."""
    of_topics = [f"{topic} {runs_of(of)}" for topic, of in sorted(member.assignment.items()) if of]
    return "; ".join(of_topics) or "-"


def _heard_s(member: MemberFacts) -> float | None:
    """Return how long ago a member was heard, in seconds."""
    if member.last_heartbeat is None:
        return None
    return max(0.0, (runtime.current().now_ms - member.last_heartbeat) / 1000)


def runs_of(numbers: Iterable[int]) -> str:
    """Return numbers with those that follow each other as one: `0-3, 7`."""
    runs: list[list[int]] = []
    for one in sorted(numbers):
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in runs]
    left = len(texts) - RUNS_SHOWN_MAX
    return ", ".join(texts[:RUNS_SHOWN_MAX]) + (f" and {left} more" if left > 0 else "")


def numbers_of(text: str) -> list[int] | None:
    """Read what `runs_of` writes; None for an empty text.

    Raises:
        ValueError: it is none of that.
    """
    if not text.strip():
        return None
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        first, last = int(low), int(high) if dash else int(low)
        if not 0 <= first <= last < MAX_PARTITIONS:
            raise ValueError(part)
        found.update(range(first, last + 1))
    return sorted(found)


WAYS = (
    ("earliest", "The oldest message"),
    ("latest", "The end: skip what is there"),
    ("time", "A time"),
    ("offset", "An offset"),
    ("shift", "So many messages on, or back"),
)


class MoveForm(forms.Form):
    """Where a group goes on."""

    to = forms.ChoiceField(label="Go on at", choices=WAYS)
    time = forms.DateTimeField(
        required=False,
        label="Time (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}),
        help_text="For a time: the first message stored at or after it.",
    )
    amount = forms.IntegerField(
        required=False,
        label="Number",
        min_value=-(1 << 53),
        max_value=1 << 53,
        help_text="For an offset, or how many messages on. Negative means back.",
    )
    partitions = forms.CharField(
        required=False,
        max_length=1_000,
        help_text="As 0, 2-5. Empty means all of them.",
    )
    force = forms.BooleanField(
        required=False,
        label="Send members away",
        help_text="They join again and go on at the new offsets.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the topics that `initial` names."""
        super().__init__(*args, **kwargs)
        self.fields["topic"] = forms.ChoiceField(
            choices=[(one, one) for one in self.initial.get("topics", ())]
        )
        self.order_fields(["topic"])

    def clean_partitions(self) -> list[int] | None:
        """Return the numbers.

        Raises:
            ValidationError: it is no list of numbers.
        """
        try:
            return numbers_of(self.cleaned_data["partitions"])
        except ValueError as error:
            raise forms.ValidationError("Write numbers and ranges, as 0, 2-5.") from error

    def clean(self) -> dict[str, Any]:
        """Check that the way has what it needs.

        Raises:
            ValidationError: it has not.
        """
        data: dict[str, Any] = super().clean() or {}
        way = data.get("to")
        if way == "time" and data.get("time") is None and "time" not in self.errors:
            self.add_error("time", "Say which time.")
        if way in ("offset", "shift") and data.get("amount") is None and not self.errors:
            self.add_error("amount", "Say which number.")
        if way == "offset" and (data.get("amount") or 0) < 0:
            self.add_error("amount", "An offset is not negative; to go back, choose so many back.")
        members = self.initial.get("members", 0)
        if members and not data.get("force"):
            self.add_error(
                "force",
                f"The group has {plural(members, 'member')}, and is not moved while they read: stop"
                " them first, or send them away.",
            )
        return data


class MoveGroup(Action):
    """Moves where a group goes on."""

    needs = MOVE_OFFSETS
    stores_event = False
    title = "Move group {group}"
    button = "Move offsets"
    icon = "move_location"
    subject = "group {group}"
    back = "console:group"
    form = MoveForm
    preview_template = "console/parts/moves.html"

    _plan: GroupOffsetsMoved | None = None
    """What the brokers said for this request."""

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return the topics that there are to choose from, and how many members read."""
        shown = _look(asked.parts["group"])
        return {"topics": shown.topics, "members": shown.detail.member_count}

    def says(self, asked: Asked) -> list[str]:
        """Return what moving means for who reads."""
        members = self._planned(asked).members
        says = [f"The group goes on in topic {asked.data['topic']} as the table says."]
        if members:
            says.append(
                f"{plural(members, 'member')} will be sent away and join again; what was read and"
                " not committed yet is read again."
            )
        return says

    def preview(self, asked: Asked) -> dict[str, Any]:
        """Return what changes in each partition."""
        planned = self._planned(asked)
        moving = [one for one in planned.partitions if one.before != one.after]
        return {
            "moves": [(one, _change(one)) for one in planned.partitions[:MOVES_SHOWN_MAX]],
            "moving": len(moving),
            "staying": len(planned.partitions) - len(moving),
            "left_out": max(0, len(planned.partitions) - MOVES_SHOWN_MAX),
        }

    def do(self, asked: Asked) -> str:
        """Move it."""
        moved = self._move(asked, dry_run=False)
        failed = [one for one in moved.partitions if one.moved is not True]
        if failed:
            raise _unmoved(asked.parts["group"], failed, len(moved.partitions))
        count = plural(len(moved.partitions), "partition")
        return f"Group {moved.group} goes on elsewhere in {count} of topic {moved.topic}."

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the group."""
        return asked.parts

    def _planned(self, asked: Asked) -> GroupOffsetsMoved:
        """Ask once what would change."""
        if self._plan is None:
            self._plan = self._move(asked, dry_run=True)
        return self._plan

    def _move(self, asked: Asked, *, dry_run: bool) -> GroupOffsetsMoved:
        data = asked.data
        way, time = data["to"], data["time"]
        reset = GroupOffsetsReset(
            topic=data["topic"],
            to=way if way in ("earliest", "latest") else None,
            timestamp=int(time.timestamp() * 1000) if way == "time" else None,
            offset=data["amount"] if way == "offset" else None,
            shift=data["amount"] if way == "shift" else None,
            partitions=data["partitions"],
            force=data["force"],
            dry_run=dry_run,
            timeout_ms=MOVE_TIMEOUT_MS,
        )
        by = Asker(
            address=str(asked.request.META.get("REMOTE_ADDR", "")),
            name=f"the user {asked.request.user.get_username()!r}",
        )
        return move_group(asked.manager, asked.parts["group"], reset, by=by)


def _look(name: str) -> GroupView:
    """Return a group without most of its members and partitions."""
    check_group_name(name)
    return view_group(runtime.current(), name, MembersQuery(limit=1), after="", limit=1)


def _change(one: OffsetMove) -> str:
    """Return how far a partition is moved, with a sign."""
    if one.before is None:
        return "begins there"
    change = one.after - one.before
    return f"{'+' if change > 0 else ''}{number(change)}" if change else "stays"


def _unmoved(name: str, failed: list[OffsetMove], count: int) -> QueueError:
    reasons = "; ".join(f"partition {one.partition}: {one.reason}" for one in failed[:3])
    error = UnmovedOffsets(
        f"Group {name} was not moved in {len(failed)} of {plural(count, 'partition')}: {reasons}"
    )
    is_known = all(one.moved is False for one in failed)
    return error if is_known else with_unknown_outcome(error)


class ForgetGroup(Action):
    """Deletes a group that nobody reads in."""

    needs = ADMINISTER
    title = "Delete group {group}"
    button = "Delete"
    icon = "delete"
    subject = "group {group}"
    back = "console:groups"
    is_danger = True
    typed = "{group}"

    def says(self, asked: Asked) -> list[str]:
        """Return what is lost."""
        shown = _look(asked.parts["group"])
        members, total = shown.detail.member_count, shown.total
        forgotten = (
            "Where the group is in each partition is forgotten. Whoever reads under its name again"
            " begins anew. No message is deleted."
        )
        says = [forgotten]
        if members:
            return [f"It has {plural(members, 'member')}: they have to leave first.", *says]
        if total is not None and total.in_flight:
            says.append(
                f"Workers have {plural(total.in_flight, 'message')} out now: what they acknowledge"
                " afterwards counts for nothing."
            )
        return says

    def do(self, asked: Asked) -> str:
        """Delete it."""
        name = asked.parts["group"]
        pending = forget_group(asked.manager, name)
        if pending:
            return (
                f"Group {name} is deleted; {plural(len(pending), 'partition')} were not reached and"
                " still know where it was."
            )
        return f"Group {name} is deleted."

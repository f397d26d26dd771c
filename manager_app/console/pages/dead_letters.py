"""The dead letters of workers in a topic: looked at, sent back, purged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from http_base.access import ADMINISTER, CONSUMING, OPERATE
from manager_app import runtime
from manager_app.browsing.display import summary
from manager_app.console.actions import Action, Asked
from manager_app.console.formats import plural
from manager_app.console.page import may, page
from manager_app.groups.dead_letters import LOOK_LIMIT_S, letters_left, look_at, redrive
from manager_app.groups.descriptions import TOLD_LIMIT_S
from manager_app.groups.standings import dead_letter_topic
from manager_app.inputs import (
    LETTERS_MAX,
    REDRIVE_MAX,
    REDRIVE_TIMEOUT_MS,
    TopicPurge,
    TopicRedrive,
)
from manager_app.proxy.purge import purge
from myqueue.contract.errors import GroupNotFound, TopicDoesNotExist
from myqueue.contract.rules.dead_letters import death_of

if TYPE_CHECKING:
    from django.http import HttpRequest

    from manager_app.browsing.lanes import FoundMessage
    from manager_app.runtime import ManagerRuntime

VALUE_CHARACTERS_MAX = 200
CHANGE_LIMIT_S = 60.0
"""For a redrive or a purge; their own limits are shorter."""


@page("console/dead_letters.html")
def dead_letters(request: HttpRequest, group: str, topic: str) -> dict[str, Any]:
    """Show what died in a topic and was not sent back yet, the oldest first."""
    manager = runtime.current()
    name = letters_of(manager, group, topic)
    reads = may(request).have(CONSUMING)
    shown: dict[str, Any] = {
        "title": f"Dead letters of {topic}",
        "group": group,
        "topic": topic,
        "letters": name,
        "reads": reads,
        "rows": [],
        "left": None,
        "is_there": True,
    }
    try:
        found = manager.run(manager.find_topic(name), timeout_s=TOLD_LIMIT_S)
    except TopicDoesNotExist:
        return {**shown, "is_there": False}
    if reads:
        look = look_at(manager, found, most=LETTERS_MAX)
        shown["left"], seen = manager.run(look, timeout_s=LOOK_LIMIT_S)
        shown["rows"], shown["silent"] = [_row(one) for one in seen.found], sorted(seen.silent)
    else:
        shown["left"] = manager.run(letters_left(manager, found), timeout_s=LOOK_LIMIT_S)
    return shown


def letters_of(manager: ManagerRuntime, group: str, topic: str) -> str:
    """Return the topic with the dead letters of a group of workers in a topic.

    Raises:
        GroupNotFound: no workers of this group are known there.
    """
    told = manager.run(manager.standings.recent(), timeout_s=TOLD_LIMIT_S)
    standing = told.by_group.get(group, {}).get(topic)
    if standing is None or not standing.is_workers:
        raise GroupNotFound(f"no workers of a group {group!r} read topic {topic!r}", field="group")
    return dead_letter_topic(standing)


def _row(found: FoundMessage) -> dict[str, Any]:
    record = found.record
    died = death_of(record.headers)
    return {
        "partition": found.partition,
        "offset": found.offset,
        "died": died,
        "key": summary(record.key, 60),
        "value": summary(record.value, VALUE_CHARACTERS_MAX),
        "sent_ms": record.timestamp,
    }


class _LettersAction(Action):
    """Something with all dead letters of a topic."""

    subject = "topic {topic}"
    back = "console:dead_letters"

    def left(self, asked: Asked) -> tuple[str, int | None]:
        """Return the topic with the letters, and how many are left."""
        manager = asked.manager
        name = letters_of(manager, asked.parts["group"], asked.parts["topic"])

        async def count() -> int | None:
            return await letters_left(manager, await manager.find_topic(name))

        return name, manager.run(count(), timeout_s=LOOK_LIMIT_S)

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the topic."""
        return asked.parts


class RedriveLetters(_LettersAction):
    """Sends dead letters back to where they came from."""

    needs = OPERATE
    title = "Send the dead letters of {topic} back"
    button = "Redrive"
    icon = "redo"

    def says(self, asked: Asked) -> list[str]:
        """Return where they go."""
        name, left = self.left(asked)
        count = "The dead letters" if left is None else plural(left, "dead letter")
        says = [
            (
                f"{count} in {name} will go back to topic {asked.parts['topic']}, each to the"
                " partition where it died, the oldest first."
            ),
            "Workers get them like new messages, with as many deliveries as any.",
        ]
        if left is not None and left > REDRIVE_MAX:
            says.append(f"At most {REDRIVE_MAX:,} go back at a time.")
        return says

    def do(self, asked: Asked) -> str:
        """Send them back."""
        name = letters_of(asked.manager, asked.parts["group"], asked.parts["topic"])
        wanted = TopicRedrive(dead_letter_topic=name, timeout_ms=REDRIVE_TIMEOUT_MS)

        async def send() -> str:
            topic = await asked.manager.find_topic(asked.parts["topic"])
            told = await redrive(asked.manager, topic, wanted)
            said = f"{plural(told.redriven, 'dead letter')} sent back to {topic.name}"
            others = f"; {told.others:,} died in other topics and stay" if told.others else ""
            left = f"; {told.left:,} left" if told.left else ""
            reason = f"; then it ended: {told.reason}" if told.reason else ""
            return f"{said}{others}{left}{reason}."

        try:
            return asked.manager.run(send(), timeout_s=CHANGE_LIMIT_S)
        finally:
            asked.manager.standings.outdate()


class PurgeLetters(_LettersAction):
    """Deletes dead letters."""

    needs = ADMINISTER
    title = "Purge the dead letters of {topic}"
    button = "Purge"
    icon = "delete_sweep"
    is_danger = True
    typed = "{topic}"

    def says(self, asked: Asked) -> list[str]:
        """Return what is lost."""
        name, left = self.left(asked)
        count = "All messages" if left is None else plural(left, "dead letter")
        return [
            f"{count} in {name} will be deleted for good. What is in {asked.parts['topic']} stays."
        ]

    def do(self, asked: Asked) -> str:
        """Delete them."""
        name = letters_of(asked.manager, asked.parts["group"], asked.parts["topic"])

        async def delete() -> str:
            letters = await asked.manager.find_topic(name)
            purged = await purge(asked.manager, letters, TopicPurge())
            removed = sum(one.removed or 0 for one in purged)
            kept = [one.partition for one in purged if one.log_start_offset is None]
            left = f" Partition {kept[0]} did not answer." if kept else ""
            return f"{plural(removed, 'message')} deleted from {name}.{left}"

        try:
            return asked.manager.run(delete(), timeout_s=CHANGE_LIMIT_S)
        finally:
            asked.manager.standings.outdate()

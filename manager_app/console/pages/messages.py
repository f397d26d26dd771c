"""The messages of a topic: looked for, followed, one of them, downloaded, published."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

import msgspec
from django import forms
from django.http import HttpResponse

from http_base import guard
from http_base.access import CONSUMING, PRODUCING
from manager_app import runtime, selectors
from manager_app.browsing.display import FORMS, Shown, show, size_of, summary
from manager_app.browsing.filters import MessageFilter
from manager_app.browsing.lanes import FoundMessage, Gap
from manager_app.browsing.publishing import NewMessage, headers_of, publish, read_one
from manager_app.browsing.reading import (
    BEHIND_ALL,
    Scan,
    ScanLimits,
    offset_ranges,
    positions_of,
    scan,
)
from manager_app.console.actions import Action, Asked
from manager_app.console.formats import size
from manager_app.console.page import is_refresh, may, page
from manager_app.console.pages.topics import of_topic
from myqueue.contract.errors import InvalidRequest, NotFound
from myqueue.contract.records import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from manager_app.metadata import TopicMetadata
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.answers import Appended
    from myqueue.contract.records import Record

LOOK_LIMIT_S = 30.0
"""For a look into a topic; its own limits are shorter."""
LOOK_LIMITS = ScanLimits()
"""Of one look of the browser."""
GOES_ON_MAX = 40
"""Times that a search goes on by itself, before somebody says so again."""
FOLLOWED_LIMITS = ScanLimits(found=100, seconds=1.5)
"""Of one look while following."""
HEADER_CHARACTERS_MAX = 2_000
"""Of one header that are shown."""
_PLACES = re.compile(r"[0-9]{1,4}\.[0-9]{1,19}(_[0-9]{1,4}\.[0-9]{1,19})*", re.ASCII)


class BrowseForm(forms.Form):
    """Where to begin, and what to look for."""

    start = forms.ChoiceField(
        label="From",
        choices=[
            ("newest", "Newest"),
            ("oldest", "Oldest"),
            ("offset", "Offset"),
            ("time", "Time"),
        ],
        required=False,
    )
    offset = forms.IntegerField(label="Offset", min_value=0, max_value=(1 << 62), required=False)
    time = forms.DateTimeField(
        label="Time (UTC)",
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}),
    )
    partition = forms.TypedChoiceField(
        label="Partition", required=False, coerce=int, empty_value=None
    )
    text = forms.CharField(label="Text in the value", required=False, strip=False)
    key = forms.CharField(label="Key", required=False, strip=False)
    header = forms.CharField(label="Header", required=False)
    path = forms.CharField(label="JSON path", required=False)

    _HINTS: ClassVar[dict[str, str]] = {
        "key": "user-17 or user-*",
        "header": "name or name=value",
        "path": "$.user.id = 17",
    }

    def __init__(self, data: Mapping[str, str], *, partitions: int) -> None:
        """Make one for a topic of so many partitions."""
        super().__init__(data)
        self.fields["partition"].choices = [  # type: ignore[attr-defined]  # a choice field
            ("", "All"),
            *((str(index), str(index)) for index in range(partitions)),
        ]
        for name, hint in self._HINTS.items():
            self.fields[name].widget.attrs["placeholder"] = hint
        for name in ("text", "key", "header", "path"):
            self.fields[name].widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}

    def clean(self) -> dict[str, Any]:
        """Make the filter; what it refuses is its field's."""
        given: dict[str, Any] = super().clean() or {}
        given["start"] = given.get("start") or "newest"
        sought = {name: given.get(name) or "" for name in ("text", "key", "header", "path")}
        try:
            given["wanted"] = MessageFilter.read(**sought)
        except InvalidRequest as error:
            self.add_error(error.details["field"], error.message)
        for name in ("offset", "time"):
            if given["start"] == name and given.get(name) is None and name not in self.errors:
                self.add_error(name, f"Say which {name} to begin at.")
        return given


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message in the list."""

    partition: int
    offset: int
    at: datetime | None
    key: Shown
    value: Shown
    headers: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A look, as its page shows it."""

    look: Scan
    messages: list[ShownMessage]
    share: int
    """How much of the partitions is behind it, in per cent."""
    next_query: str
    """Of the look that goes on; empty at the end."""
    goes_on: bool = False
    """True when it goes on by itself: it was ended by a limit, not by what it found."""


@page("console/messages.html", needs=CONSUMING)
def messages(request: HttpRequest, topic: str) -> dict[str, Any]:
    """Look into a topic."""
    row = selectors.topic_get(topic)
    manager = runtime.current()
    known = _topic(manager, topic)
    form = BrowseForm(request.GET, partitions=len(known.partitions))
    context = {**of_topic(request, row, "messages"), "form": form, "steps": _steps(request)}
    context["is_more"] = is_refresh(request)
    if not form.is_valid():
        return context
    if request.GET.get("follow"):
        return {**context, **_followed(request, manager, known, form)}
    looked = _look(request, manager, known, form)
    return {**context, "looked": looked, "is_sought": not form.cleaned_data["wanted"].is_empty}


def _look(
    request: HttpRequest, manager: ManagerRuntime, topic: TopicMetadata, form: BrowseForm
) -> Looked:
    asked = form.cleaned_data
    backwards = asked["start"] == "newest"
    wanted = asked["wanted"]
    at = places_of(request.GET.get("at", ""))

    async def look() -> Scan:
        positions = at or await begin(manager, topic, asked)
        return await scan(
            manager, topic, positions, wanted=wanted, backwards=backwards, limits=LOOK_LIMITS
        )

    found = manager.run(look(), timeout_s=LOOK_LIMIT_S)
    query = request.GET.copy()
    query["at"] = text_of_places(found.positions)
    query["steps"] = str(_steps(request) + 1)
    return Looked(
        found,
        [_listed(one) for one in found.found],
        round(100 * (1 - found.left / found.total)) if found.total else 100,
        "" if found.is_at_end else query.urlencode(),
        goes_on=not wanted.is_empty
        and not found.silent
        and len(found.found) < LOOK_LIMITS.found
        and _steps(request) < GOES_ON_MAX,
    )


def _followed(
    request: HttpRequest, manager: ManagerRuntime, topic: TopicMetadata, form: BrowseForm
) -> dict[str, Any]:
    """Return what came since the last look; the first look sees the newest that are there."""
    asked = form.cleaned_data
    at = places_of(request.GET.get("at", ""))

    async def look() -> Scan:
        if at:
            return await scan(manager, topic, at, wanted=asked["wanted"], limits=FOLLOWED_LIMITS)
        ends = await begin(manager, topic, {**asked, "start": "newest"})
        return await scan(manager, topic, ends, wanted=asked["wanted"], backwards=True)

    found = manager.run(look(), timeout_s=LOOK_LIMIT_S)
    if at:
        found.found.reverse()
        places = found.positions
    else:
        ends = {index: span.end for index, span in found.ranges.items()}
        places = dict.fromkeys(found.silent, BEHIND_ALL) | ends
    query = request.GET.copy()
    query["at"] = text_of_places(places)
    query.pop("steps", None)
    shown = Looked(found, [_listed(one) for one in found.found], 100, "")
    return {"followed": shown, "follow_query": query.urlencode()}


async def begin(
    manager: ManagerRuntime, topic: TopicMetadata, asked: Mapping[str, Any]
) -> dict[int, int]:
    """Return where a look begins, by partition."""
    chosen = asked.get("partition")
    partitions = range(len(topic.partitions)) if chosen is None else [chosen]
    ranges, _ = await offset_ranges(manager, topic, partitions)
    start = asked["start"]
    number = asked.get("offset") or 0
    if start == "time":
        number = int(asked["time"].replace(tzinfo=UTC).timestamp() * 1000)
    positions, _ = await positions_of(manager, topic, ranges, start=start, number=number)
    # Of a partition that does not answer the look says why; it is shown as soon as it does.
    otherwise = {"oldest": 0, "offset": number}.get(start, BEHIND_ALL)
    return dict.fromkeys(set(partitions) - set(positions), otherwise) | positions


@page("console/message.html", needs=CONSUMING)
def message(request: HttpRequest, topic: str, partition: int, offset: int) -> Any:
    """Show one message with all that it has."""
    row = selectors.topic_get(topic)
    manager = runtime.current()
    known = _topic(manager, topic)
    found = _read(manager, known, partition, offset)
    context = {
        **of_topic(request, row, "messages"),
        "title": f"Message {offset:,}",
        "partition": partition,
        "offset": offset,
        "previous": offset - 1 if offset else None,
        "next": offset + 1,
    }
    if isinstance(found, Gap):
        return {**context, "gap": found, "previous": found.begin - 1, "next": found.end}
    if request.GET.get("download"):
        return _download(topic, found)
    record = found.record
    form = request.GET.get("form", "auto")
    form = form if form in FORMS else "auto"
    return {
        **context,
        "at": _time(record),
        "thousandths": f"{record.timestamp % 1000:03}",
        "key": None if record.key is None else show(record.key, "auto"),
        "value": show(record.value, form),
        "form": form,
        "forms": [("auto", "Auto"), ("text", "Text"), ("json", "JSON"), ("hex", "Hex")],
        "headers": [
            (name, show(content, "auto", characters_max=HEADER_CHARACTERS_MAX))
            for name, content in sorted((record.headers or {}).items())
        ],
    }


def _download(topic: str, found: FoundMessage) -> HttpResponse:
    """Return the value as it is, to be stored and not to be shown."""
    value = found.record.value
    body = value.encode() if isinstance(value, str) else value
    name = f"{topic}-{found.partition}-{found.offset}"
    return HttpResponse(
        body,
        content_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


def _read(
    manager: ManagerRuntime, topic: TopicMetadata, partition: int, offset: int
) -> FoundMessage | Gap:
    """Return a message.

    Raises:
        NotFound: there is none.
        QueueError: its partition does not answer.
    """
    topic.partition(partition)
    reading = read_one(manager, topic, partition=partition, offset=offset)
    found = manager.run(reading, timeout_s=LOOK_LIMIT_S)
    if found is None:
        raise NotFound(
            f"partition {partition} of topic {topic.name!r} has no message at offset {offset}: it"
            " is deleted, or not there yet",
            field="offset",
        )
    return found


def _topic(manager: ManagerRuntime, name: str) -> TopicMetadata:
    return manager.run(manager.find_topic(name), timeout_s=LOOK_LIMIT_S)


def _listed(found: FoundMessage) -> ShownMessage:
    record = found.record
    return ShownMessage(
        found.partition,
        found.offset,
        _time(record),
        summary(record.key, 80),
        summary(record.value),
        len(record.headers or ()),
    )


def _time(record: Record) -> datetime | None:
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # a producer may say any time


def _steps(request: HttpRequest) -> int:
    text = request.GET.get("steps", "")
    return int(text) if text.isdigit() and text.isascii() and len(text) < 6 else 0


class PublishFields(forms.Form):
    """A message that is to be published."""

    value = forms.CharField(
        label="Value",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        help_text="A text, or JSON. The form takes 1 MiB in all.",
    )
    as_json = forms.BooleanField(
        label="It is JSON", required=False, help_text="Then it is refused where it is none."
    )
    file = forms.FileField(
        label="Or a file", required=False, allow_empty_file=True, help_text="Its bytes as they are."
    )
    key = forms.CharField(
        label="Key",
        required=False,
        strip=False,
        help_text="Messages of a key are in one partition. Empty: none.",
    )
    headers = forms.CharField(
        label="Headers",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One in a line: name: value.",
    )
    partition = forms.IntegerField(
        label="Partition", min_value=0, required=False, help_text="Empty: by the key, or any."
    )
    request_id = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def clean_value(self) -> str:
        """Return the text with the line ends that were typed: forms send others."""
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")

    def clean_headers(self) -> dict[str, str]:
        """Return them by name."""
        try:
            return headers_of(self.cleaned_data["headers"])
        except InvalidRequest as error:
            raise forms.ValidationError(error.message) from error

    def clean(self) -> dict[str, Any]:
        """Take the file for the value; look whether it is JSON."""
        given: dict[str, Any] = super().clean() or {}
        file, value = given.get("file"), given.get("value", "")
        if file is not None:
            if value:
                self.add_error("file", "Give a value or a file, not both.")
            elif file.size > MAX_MESSAGE_BYTES:
                self.add_error("file", "A message has at most 1 MiB.")
            else:
                value = given["value"] = file.read()
        if given.get("as_json") and "value" not in self.errors:
            try:
                msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self.add_error("value", f"It is no JSON: {error}")
        return given


class PublishMessage(Action):
    """Publishes a message that somebody wrote."""

    needs = PRODUCING
    title = "{topic}"
    button = "Publish"
    subject = "topic {topic}"
    back = "console:topic_publish"
    template = "console/publish.html"
    form = PublishFields
    previews = False
    writes_metadata = False
    unlogged = frozenset({"value", "file", "key", "headers"})

    def around(self, asked: Asked) -> dict[str, Any]:
        """Return the tabs of the topic."""
        row = selectors.topic_get(asked.parts["topic"])
        place = asked.request.GET
        published = {
            name: int(place[name])
            for name in ("partition", "offset")
            if place.get(name, "").isdigit()
        }
        return {
            **of_topic(asked.request, row, "publish"),
            "published": published if len(published) == 2 else None,
        }

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return an id, under which the form is taken once, however often it is sent."""
        return {"request_id": uuid.uuid4().hex}

    def do(self, asked: Asked) -> str:
        """Publish it."""
        given = asked.data
        self._place = _publish(
            asked.manager,
            asked.parts["topic"],
            NewMessage(
                value=given["value"],
                key=given["key"] or None,
                headers=given["headers"],
                partition=given["partition"],
                request_id=given["request_id"],
            ),
        )
        return _said_of(asked.parts["topic"], self._place)

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the topic."""
        return {"topic": asked.parts["topic"]}

    def next_url(self, asked: Asked) -> str:
        """Return the page again, with where the message is."""
        place = {"partition": self._place.partition, "offset": self._place.base_offset}
        return f"{super().next_url(asked)}?{urlencode(place)}"


class RepublishFields(forms.Form):
    """Where a message goes again."""

    target = forms.CharField(label="To topic", max_length=249)
    request_id = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def clean_target(self) -> str:
        """Refuse a topic that is not there."""
        name = str(self.cleaned_data["target"]).strip()
        try:
            return selectors.topic_get(name).name
        except NotFound as error:
            raise forms.ValidationError(error.message) from error


class RepublishMessage(Action):
    """Publishes a stored message once more."""

    needs = PRODUCING
    title = "Publish message {offset} again"
    button = "Publish again"
    icon = "replay"
    subject = "message {offset} of partition {partition} of topic {topic}"
    back = "console:message"
    form = RepublishFields
    writes_metadata = False

    @classmethod
    def is_shown(cls, request: HttpRequest) -> bool:
        """Tell whether the person may read it too: who publishes it again learns what it says."""
        return super().is_shown(request) and may(request).have(CONSUMING)

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return the same topic."""
        guard.require(may(asked.request).caller, CONSUMING, None)
        return {"target": asked.parts["topic"], "request_id": uuid.uuid4().hex}

    def says(self, asked: Asked) -> list[str]:
        """Return what will be there twice."""
        found = self._found(asked)
        length = size(size_of(found.record.value))
        return [
            (
                f"A message with the same value ({length}), key and headers is published to"
                f" {asked.data['target']}, with the time of now."
            ),
            "The stored one stays as it is. Who reads both reads it twice.",
        ]

    def do(self, asked: Asked) -> str:
        """Publish it."""
        record, target = self._found(asked).record, asked.data["target"]
        message = NewMessage(
            value=record.value,
            key=record.key,
            headers=record.headers or {},
            request_id=asked.data["request_id"],
        )
        return _said_of(target, _publish(asked.manager, target, message))

    def _found(self, asked: Asked) -> FoundMessage:
        guard.require(may(asked.request).caller, CONSUMING, None)
        place = asked.parts
        known = _topic(asked.manager, place["topic"])
        found = _read(asked.manager, known, place["partition"], place["offset"])
        if isinstance(found, Gap):
            raise InvalidRequest(f"that message cannot be read: {found.why}")
        return found

    def back_parts(self, asked: Asked) -> dict[str, Any]:
        """Return the message."""
        return asked.parts


def _publish(manager: ManagerRuntime, topic: str, message: NewMessage) -> Appended:
    known = _topic(manager, topic)
    return manager.run(publish(manager, known, message), timeout_s=LOOK_LIMIT_S)


def _said_of(topic: str, place: Appended) -> str:
    return f"Published to {topic}, partition {place.partition}, at offset {place.base_offset:,}."


def places_of(text: str) -> dict[int, int]:
    """Read where a look goes on: partition and offset of each, `0.17_1.42`.

    Raises:
        InvalidRequest: it is none.
    """
    if not text:
        return {}
    if _PLACES.fullmatch(text) is None:
        raise InvalidRequest(f"{text[:60]!r} says no place to go on", field="at")
    pairs = (one.split(".") for one in text.split("_"))
    return {int(partition): int(offset) for partition, offset in pairs}


def text_of_places(positions: Mapping[int, int]) -> str:
    """Return what `places_of` reads."""
    return "_".join(f"{partition}.{offset}" for partition, offset in sorted(positions.items()))

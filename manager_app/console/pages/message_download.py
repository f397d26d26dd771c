"""Messages of a topic as JSON lines, written while they are read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.template.response import TemplateResponse

from http_base import guard
from http_base.access import CONSUMING
from http_base.messages import message_answer
from http_base.writes import DATABASE_FAILURES
from manager_app import runtime
from manager_app.browsing.reading import ScanLimits, scan
from manager_app.console.page import may, refuse, turn_away
from manager_app.console.pages.messages import BrowseForm, begin, places_of
from myqueue.contract.errors import InvalidRequest, QueueError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from manager_app.browsing.lanes import FoundMessage
    from manager_app.metadata import TopicMetadata

NEEDS = CONSUMING
MESSAGES_MAX = 100_000
"""Of one download."""
BYTES_MAX = 64 << 20
"""Of one download, about."""
SECONDS_MAX = 60.0
"""For one download."""
PIECE = ScanLimits(found=500, size_bytes=8 << 20, seconds=2.0)
"""Of one look."""


async def download(request: HttpRequest, topic: str) -> HttpResponseBase:
    """Answer the messages that the browser would show, a JSON object in each line."""
    refusal = await sync_to_async(_refusal)(request)
    if refusal is not None:
        return refusal
    try:
        known = await runtime.current().find_topic(topic)
        asked, at = _asked(request, known)
        positions = at or await begin(runtime.current(), known, asked)
    except (QueueError, *DATABASE_FAILURES) as error:
        return await sync_to_async(_refused)(request, error)
    lines = _lines(known, positions, asked)
    return StreamingHttpResponse(
        lines,
        content_type="application/jsonl",
        headers={
            "Content-Disposition": f'attachment; filename="{topic}.jsonl"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


download.needs = NEEDS  # type: ignore[attr-defined]  # as `page` does


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    """Return what is answered to those that may not read messages."""
    if (turned_away := turn_away(request)) is not None:
        return turned_away
    try:
        guard.require(may(request).caller, NEEDS, None)
    except (QueueError, *DATABASE_FAILURES) as error:
        return _refused(request, error)
    return None


def _refused(request: HttpRequest, error: BaseException) -> HttpResponseBase:
    page = refuse(request, error)
    assert isinstance(page, TemplateResponse), page
    return page.render()


def _asked(request: HttpRequest, topic: TopicMetadata) -> tuple[Mapping[str, Any], dict[int, int]]:
    form = BrowseForm(request.GET, partitions=len(topic.partitions))
    if not form.is_valid():
        [(field, said), *_] = form.errors.items()
        raise InvalidRequest(f"{field}: {said[0]}", field=field)
    return form.cleaned_data, places_of(request.GET.get("at", ""))


async def _lines(
    topic: TopicMetadata, positions: Mapping[int, int], asked: Mapping[str, Any]
) -> AsyncIterator[bytes]:
    """Yield lines until a limit comes, or nothing is left."""
    manager = runtime.current()
    ends_s = asyncio.get_running_loop().time() + SECONDS_MAX
    messages = sent_bytes = 0
    while messages < MESSAGES_MAX and sent_bytes < BYTES_MAX:
        look = await scan(
            manager,
            topic,
            positions,
            wanted=asked["wanted"],
            backwards=asked["start"] == "newest",
            limits=PIECE,
        )
        piece = await asyncio.to_thread(_encoded, topic.name, look.found)
        messages += len(look.found)
        sent_bytes += len(piece)
        if piece:
            yield piece
        if look.is_at_end or asyncio.get_running_loop().time() >= ends_s:
            return
        positions = look.positions


def _encoded(topic: str, found: Sequence[FoundMessage]) -> bytes:
    """Return lines as the API has messages: bytes that are no text in base64."""
    encode = msgspec.json.encode
    return b"".join(
        encode(
            message_answer(
                one.record, topic=topic, partition=one.partition, offset=one.offset, binary=False
            )
        )
        + b"\n"
        for one in found
    )

"""What the console's templates use: figures, badges, buttons of actions, sparklines, the pager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from django import template
from django.urls import resolve, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from manager_app.console import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Protocol

    from django.template.context import RequestContext

    from manager_app.models import Replica

    class HasLag(Protocol):
        """A group in a list, in a topic, or in a partition."""

        @property
        def lag(self) -> int | None:
            """Messages left; None when it is not known."""

        @property
        def age_ms(self) -> int | None:
            """Of the oldest of them; None when it is not known."""


register = template.Library()


def _unless_missing(
    write: Callable[[float | None], str],
) -> Callable[[float | Literal[""] | None], str]:
    """Have a filter say that nobody has told, where Django gives "" for what is not there."""
    return lambda value: write(None if value == "" else value)


for _name in ("number", "size", "duration", "milliseconds", "age"):
    register.filter(_name, _unless_missing(getattr(formats, _name)))

TONES = {
    **dict.fromkeys(("healthy", "alive", "running", "active", "on", "done", "leader"), "good"),
    **dict.fromkeys(
        ("suspect", "degraded", "stopping", "draining", "paused", "starting", "rebalancing"),
        "warn",
    ),
    **dict.fromkeys(
        ("dead", "leaderless", "offline", "lost", "faulty", "unknown outcome", "expired"), "bad"
    ),
}
"""State -> colour of its badge; others are plain. The word is always shown beside the colour."""
SPARK_WIDTH, SPARK_HEIGHT = 96, 24


@register.filter
def since(moment: datetime | None) -> str:
    """Return how long ago a moment was, as `3 min ago`."""
    if moment is None:
        return formats.age(None)
    return formats.age(max(0.0, (timezone.now() - moment).total_seconds()))


@register.filter
def behind(one: HasLag | None) -> str:
    """Return how long the oldest message that a group has left has waited, `-` without one."""
    if one is None or one.lag is None:
        return formats.UNKNOWN
    if not one.lag:
        return "-"
    told = formats.duration(None if one.age_ms is None else one.age_ms / 1000)
    is_least = one.age_ms is not None and bool(getattr(one, "ages_unknown", False))
    return f"at least {told}" if is_least else told


@register.filter
def rate(value: float | None) -> str:
    """Return how many in a second, a dash where nobody has counted."""
    return "-" if value is None else f"{formats.number(value)}/s"


@register.filter
def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{share:.1%}"


@register.filter
def messages_of(replica: Replica) -> int:
    """Return how many messages a replica had when it was reported last."""
    return max(0, replica.high_watermark - replica.log_start_offset)


@register.simple_tag
def badge(state: object, tone: str = "") -> SafeString:
    """Show a state in a word, with a colour: `{% badge broker.state %}`.

    Args:
        state: the word.
        tone: `good`, `warn`, `bad` or `plain`; empty: by the word.
    """
    word = str(state)
    return format_html(
        '<span class="q-badge q-{}">{}</span>', tone or TONES.get(word.lower(), "plain"), word
    )


@register.simple_tag(takes_context=True)
def action(
    context: RequestContext, name: str, kind: str = "", *, label: str = "", **parts: Any
) -> str:
    """Show the button of an action to those that may: `{% action "console:drain" broker_id=3 %}`.

    Args:
        context: of the template.
        name: of the action's URL.
        kind: `primary` for the one that a page is about; empty: plain, or red for a danger.
        label: of the button, where it is not the action's verb.
        parts: of the URL.
    """
    url = reverse(name, kwargs=parts)
    of = resolve(url).func.action()  # type: ignore[attr-defined]  # set by `act`
    if not of.is_shown(context.request):
        return ""
    look = kind or ("danger" if of.is_danger else "plain")
    icon = (
        format_html('<span class="material-symbols-outlined" aria-hidden="true">{}</span>', of.icon)
        if of.icon
        else ""
    )
    return format_html(
        '<a class="q-button q-{}" href="{}">{}{}</a>', look, url, icon, label or of.button
    )


@register.simple_tag
def events_of(kind: str, name: object) -> SafeString:
    """Show the link to what happened to something: `{% events_of "topic" "orders" %}`.

    Args:
        kind: `topic`, `broker` or `group`.
        name: of it; of a broker the id.
    """
    url = f"{reverse('console:events')}?{urlencode({'about': f'{kind}:{name}'})}"
    icon = mark_safe('<span class="material-symbols-outlined" aria-hidden="true">history</span>')
    return format_html('<a class="q-button q-plain" href="{}">{}Events</a>', url, icon)


@register.simple_tag
def sparkline(values: Sequence[float | None], label: str = "") -> SafeString:
    """Draw the last values of something, oldest first, without a scale; gaps for unknown ones."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return mark_safe('<span class="q-spark-none" aria-hidden="true"></span>')
    top = max(max(known), 1e-9)
    step = SPARK_WIDTH / max(1, len(values) - 1)
    runs: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
            continue
        y = SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 3) * max(value, 0.0) / top
        runs[-1].append(f"{place * step:.1f},{y:.1f}")
    path = " ".join(f"M{' L'.join(run)}" for run in runs if run)
    return format_html(
        '<svg class="q-spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><path d="{}"/></svg>',
        SPARK_WIDTH,
        SPARK_HEIGHT,
        label or f"last {formats.number(known[-1])}, most {formats.number(max(known))}",
        path,
    )


@register.simple_tag(takes_context=True)
def query(context: RequestContext, **changes: Any) -> str:
    """Return the page's query string with some parameters changed; None takes one out."""
    kept = context.request.GET.copy()
    for name, value in changes.items():
        if value is None or value == "":
            kept.pop(name, None)
        else:
            kept[name] = str(value)
    return f"?{kept.urlencode()}" if kept else context.request.path


@register.inclusion_tag("console/parts/pager.html", takes_context=True)
def pager(context: RequestContext, after: object, parameter: str = "after") -> dict[str, Any]:
    """Show the links of a list that is paged by key: `{% pager next %}`.

    Args:
        context: of the template.
        after: the key after which the next page begins; None on the last one.
        parameter: of the query string that takes it.
    """
    asked = context.request.GET
    others = [(key, value) for key, value in asked.items() if key != parameter]
    return {
        "first_url": f"?{urlencode(others)}" if asked.get(parameter) else "",
        "next_url": "" if after is None else f"?{urlencode([*others, (parameter, str(after))])}",
    }

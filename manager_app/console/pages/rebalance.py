"""Rebalance: what is being moved, how long will it take?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

from manager_app import runtime
from manager_app.console.actions import Action, Asked
from manager_app.console.formats import duration, plural, size
from manager_app.console.page import page
from manager_app.inputs import REBALANCE_BYTES_MIN
from manager_app.models import RebalanceState
from manager_app.placement import rebalancing

if TYPE_CHECKING:
    from django.http import HttpRequest

    from manager_app.answers import RebalanceDetail

_WORDS = {
    RebalanceState.ON: ("on", "good"),
    RebalanceState.PAUSED: ("paused", "warn"),
    RebalanceState.OFF: ("off", "plain"),
}
MIB = 1 << 20


@page("console/rebalance.html", title="Rebalance")
def rebalance(_: HttpRequest) -> dict[str, Any]:
    """Show the moves under way and the plan."""
    manager = runtime.installed()
    plan = None if manager is None else rebalancing.recent_plan(manager)
    detail = rebalancing.rebalance_detail(plan)
    word, tone = _WORDS[RebalanceState(detail.state)]
    return {
        "detail": detail,
        "word": word,
        "tone": tone,
        "sentence": sentence(detail),
        "plan_left": detail.moves_left - len(detail.plan),
    }


def sentence(detail: RebalanceDetail) -> str:
    """Return what is going on, in a sentence."""
    if not detail.moves_left and not detail.running:
        return "Every broker holds its share of the replicas; there is nothing to move."
    left = f"{plural(detail.moves_left + len(detail.running), 'replica')} to move"
    amount = f"{left}, {size(detail.bytes_left)}"
    if detail.state != RebalanceState.ON:
        return f"{amount}. No further move begins until it is started."
    if detail.repairs:
        waits = plural(detail.repairs, "partition")
        return f"{amount}. Moves wait for {waits} that need a repair first."
    return f"{amount}: about {duration(max(1.0, detail.seconds_left))} at this speed."


class SpeedForm(forms.Form):
    """How fast replicas are moved."""

    mib_per_second = forms.FloatField(
        label="MiB per second, of all moves together",
        min_value=REBALANCE_BYTES_MIN / MIB,
        max_value=float(1 << 20),
        help_text="A tenth of what a disk writes leaves clients nearly alone.",
    )


class _OfRebalance(Action):
    """What the actions here have in common."""

    subject = "rebalance"
    back = "console:rebalance"


class StartRebalance(_OfRebalance):
    """Begins moves from now on, at a speed."""

    title = "Start moving for balance"
    button = "Start"
    icon = "play_arrow"
    form = SpeedForm

    def initial(self, asked: Asked) -> dict[str, Any]:
        """Return the speed as it is."""
        return {"mib_per_second": rebalancing.rebalance_detail().bytes_per_second / MIB}

    def says(self, asked: Asked) -> list[str]:
        """Return what will move, and for how long."""
        detail = rebalancing.rebalance_detail()
        speed = asked.data["mib_per_second"] * MIB
        count = detail.moves_left + len(detail.running)
        return [
            (
                f"{plural(count, 'replica')} move, {size(detail.bytes_left)} in all, at"
                f" {size(speed)} a second: about {duration(max(1.0, detail.bytes_left / speed))}."
            ),
            "Messages can be written and read all the while.",
        ]

    def do(self, asked: Asked) -> str:
        """Start."""
        speed = int(asked.data["mib_per_second"] * MIB)
        rebalancing.set_pace(asked.manager, paused=False, bytes_per_second=speed)
        return f"Replicas are moved for balance, at {size(speed)} a second."


class PauseRebalance(_OfRebalance):
    """Begins no further move."""

    title = "Pause moving for balance"
    button = "Pause"
    icon = "pause"

    def says(self, asked: Asked) -> list[str]:
        """Return what goes on."""
        running = len(rebalancing.rebalance_detail().running)
        return [f"No further move begins. {plural(running, 'move')} under way will be finished."]

    def do(self, asked: Asked) -> str:
        """Pause."""
        rebalancing.set_pace(asked.manager, paused=True, bytes_per_second=None)
        return "No further move begins."


class CancelRebalance(_OfRebalance):
    """Takes back what is under way."""

    title = "Cancel moving for balance"
    button = "Cancel moves"
    icon = "close"

    def says(self, asked: Asked) -> list[str]:
        """Return what is taken back."""
        return [
            (
                "No further move begins, and those whose new replica has not caught up yet are"
                " taken back. Nothing is lost by it."
            )
        ]

    def do(self, asked: Asked) -> str:
        """Cancel."""
        taken_back = rebalancing.cancel(asked.manager)
        return f"No further move begins; {plural(taken_back, 'move')} taken back."

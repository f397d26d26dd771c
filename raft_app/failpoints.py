"""Named points between two steps of which a process may do the first and never come to the second.

At a point nothing happens, unless the test that runs the process has put something into `ACTIONS`:
it kills the process there and looks at what is left. No setting, argument or environment variable
does that, so nobody can arm a point in a broker by mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIONS: dict[str, Callable[[], None]] = {}
"""What happens at points, by name. Only tests fill it."""


def reach(name: str) -> None:
    """Note that everything before the point is done and nothing after it."""
    if ACTIONS and name in ACTIONS:
        ACTIONS[name]()

"""The figures of the memory budget of a process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from http_base.memory_budget import MemoryBudget
from http_base.memory_metrics import show_memory


def test_the_shares_that_a_process_uses_are_shown() -> None:
    memory, registry = MemoryBudget(), CollectorRegistry()
    show_memory("queue_manager", (memory.bodies, memory.answers), registry)
    memory.bodies.move(7)
    memory.answers.move(5)
    assert not memory.bodies.admits(1 << 40)

    def shown(name: str, share: str) -> float | None:
        return registry.get_sample_value(f"queue_manager_memory_{name}", {"share": share})

    assert (shown("bytes", "bodies"), shown("bytes", "answers")) == (7, 5)
    assert shown("limit_bytes", "bodies") == memory.bodies.limit_bytes
    assert (shown("refusals_total", "bodies"), shown("refusals_total", "answers")) == (1, 0)
    assert shown("bytes", "tails") is None, "it is not used"

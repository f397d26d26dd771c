"""Changes of metadata of every kind, made through any manager all the time, and what became of it.

A change that was answered with success happened; one that was refused without `outcome: unknown`
did not; of all others nothing is known.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from tests.cluster.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.cluster.fault_cluster import ServerUnderTest
    from tests.cluster.several_managers import SeveralManagers

TOPIC = "logs"
ANSWER_SECONDS = 10.0
PAUSE_SECONDS = 0.1
"""Between two changes of a kind: each takes processors that all processes share."""
LIVING_TOPICS = 4
GROUPS = 3
IDS = {
    "producer": "SELECT id FROM manager_app_producer",
    "consumer": "SELECT id FROM manager_app_consumer",
}


@dataclass
class Answer:
    """What became of one call."""

    status: int
    """0 when no answer came."""
    fields: dict[str, Any]

    @property
    def happened(self) -> bool | None:
        """True, False, or None where it is not known."""
        if 200 <= self.status < 300:
            return True
        is_unknown = not self.status or self.fields.get("outcome") == "unknown"
        return None if is_unknown else False


def ask(
    address: str,
    method: str,
    path: str,
    fields: object = None,
    *,
    seconds: float = ANSWER_SECONDS,
) -> Answer:
    """Make one call, once."""
    try:
        said = requests.request(method, address + path, json=fields, timeout=seconds)
        return Answer(said.status_code, said.json())
    except requests.RequestException as error:
        return Answer(0, {"code": type(error).__name__})


@dataclass
class Known:
    """A topic as it must be: None where it is not known."""

    exists: bool | None
    partitions: int | None = 1


@dataclass
class MetadataWork:
    """One thread for each kind of change; `with` runs them."""

    cluster: SeveralManagers
    name: str
    """No other one's on this cluster: names are its own."""
    topics: dict[str, Known] = field(default_factory=dict)
    clients: dict[str, list[int]] = field(default_factory=lambda: {"producer": [], "consumer": []})
    announced: dict[int, str] = field(default_factory=dict)
    """Address by broker id."""
    generations: dict[str, int] = field(default_factory=dict)
    """The last that was heard of each group."""
    accepted_s: list[float] = field(default_factory=list)
    """Monotonic times at which a change was accepted."""
    refusals: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ends = threading.Event()
        self._lock = threading.Lock()
        kinds = (self._change_topics, self._register, self._join, self._announce)
        self._threads = [threading.Thread(target=self._repeat, args=(kind,)) for kind in kinds]

    def __enter__(self) -> MetadataWork:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        """How many changes were accepted."""
        return len(self.accepted_s)

    def accepted_again(self, managers: Sequence[ServerUnderTest], *, seconds: float) -> float:
        """Return the monotonic time at which one of these managers has a change accepted."""
        chance = random.Random(len(self.accepted_s))

        def is_accepted() -> bool:
            return self._register_at(chance.choice(managers).address, "producer")

        wait_until(is_accepted, what="a change is accepted", seconds=seconds, pause_s=0.1)
        return time.monotonic()

    def _repeat(self, change: Callable[[random.Random, int], None]) -> None:
        chance, number = random.Random(change.__name__), 0
        try:
            while not self._ends.wait(PAUSE_SECONDS):
                change(chance, number)
                number += 1
        except BaseException as error:  # noqa: BLE001 - told at the end
            self.wrong.append(f"{change.__name__}: {error!r}")

    def _any(self, chance: random.Random) -> str:
        """Return the address of any manager, whether it lives or not."""
        return chance.choice(self.cluster.managers).address

    def _ask(self, address: str, method: str, path: str, fields: object = None) -> Answer:
        answer = ask(address, method, path, fields)
        with self._lock:
            if answer.happened:
                self.accepted_s.append(time.monotonic())
            else:
                self.refusals[f"{answer.status} {answer.fields['code']}"] += 1
        if answer.happened is False and "retry_after_ms" not in answer.fields:
            self.wrong.append(f"{method} {path} {fields}: {answer}")
        return answer

    def _change_topics(self, chance: random.Random, number: int) -> None:
        name = f"{self.name}-{number}"
        fields = {"topic": name, "number_of_partitions": 1}
        made = self._ask(self._any(chance), "POST", "/topics", fields)
        known = self.topics[name] = Known(made.happened)
        if made.happened:
            more = {"number_of_partitions": 2}
            grown = self._ask(self._any(chance), "PATCH", f"/topics/{name}", more)
            known.partitions = {True: 2, False: 1, None: None}[grown.happened]
        living = [one for one, of in self.topics.items() if of.exists]
        if len(living) > LIVING_TOPICS:
            gone = self._ask(self._any(chance), "DELETE", f"/topics/{living[0]}")
            self.topics[living[0]].exists = {True: False, False: True, None: None}[gone.happened]

    def _register(self, chance: random.Random, number: int) -> None:
        self._register_at(self._any(chance), ("producer", "consumer")[number % 2])

    def _register_at(self, address: str, kind: str) -> bool:
        taken = self._ask(address, "POST", f"/{kind}/register", {"topic": TOPIC})
        if taken.happened:
            self.clients[kind].append(taken.fields[f"{kind}_id"])
        return bool(taken.happened)

    def _join(self, chance: random.Random, number: int) -> None:
        group = f"{self.name}-{number % GROUPS}"
        fields = {"topics": [TOPIC]}
        joined = self._ask(self._any(chance), "POST", f"/groups/{group}/join", fields)
        if joined.happened:
            generation, before = joined.fields["generation"], self.generations.get(group, 0)
            if generation <= before:
                self.wrong.append(f"{group}: generation {generation} after {before}")
            self.generations[group] = generation
            member = {"member_id": joined.fields["member_id"]}
            self._ask(self._any(chance), "POST", f"/groups/{group}/leave", member)

    def _announce(self, chance: random.Random, number: int) -> None:
        address = f"http://{self.name}.test:{1 + number}"
        taken = self._ask(self._any(chance), "POST", "/brokers", {"broker_address": address})
        if taken.happened:
            self.announced[taken.fields["broker_id"]] = address

    def check(self) -> None:
        """See in the database that all of it is as it was answered."""
        stored = self.cluster.stored
        assert self.wrong == []
        partitions = dict(
            stored(
                "SELECT t.name, count(*) FROM manager_app_topic t"
                " JOIN manager_app_partition p ON p.topic_id = t.id GROUP BY t.name"
            )
        )
        for name, known in self.topics.items():
            if known.exists is not None:
                assert (name in partitions) == known.exists, (name, known)
                if known.exists and known.partitions is not None:
                    assert partitions[name] == known.partitions, (name, known)
        for kind, ids in self.clients.items():
            assert len(set(ids)) == len(ids), f"a {kind}'s id was given out twice"
            rows = {one for (one,) in stored(IDS[kind])}
            assert set(ids) <= rows
        brokers = dict(stored("SELECT broker_id, address FROM manager_app_broker"))
        assert self.announced.items() <= brokers.items()
        generations = dict(stored("SELECT name, generation FROM manager_app_consumergroup"))
        for group, generation in self.generations.items():
            assert generations[group] >= generation, group

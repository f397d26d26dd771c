from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from myqueue import Client
from myqueue.cli import demo
from myqueue.cli.main import main
from myqueue.testing.queue import InMemoryQueue


def test_messages_are_spread_as_promised_and_can_be_read() -> None:
    chance = random.Random(7)
    made = [demo.message(chance, number) for number in range(4_000)]
    topics = Counter(topic for topic, _, _ in made)
    for topic, share in demo.SHARES.items():
        assert topics[topic] / len(made) == pytest.approx(share, abs=0.05)
    keys = Counter(key for topic, key, _ in made if topic == demo.CLICKS)
    assert keys["home"] / topics[demo.CLICKS] == pytest.approx(demo.HOT_SHARE, abs=0.05)
    bounces = sum("bounce" in value for topic, _, value in made if topic == demo.EMAILS)
    assert bounces / topics[demo.EMAILS] == pytest.approx(demo.BOUNCE_SHARE, abs=0.05)
    assert all(isinstance(json.loads(value), dict) for _, _, value in made)


def test_it_runs_for_its_time_and_takes_away_what_it_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with InMemoryQueue({"others": 1}) as queue:
        run = ["demo", "--address", queue.address]
        assert main([*run, "--rate", "200", "--seconds", "2"]) == 0
        said = capsys.readouterr().out
        assert "Ctrl-C stops that" in said
        counts = dict(
            reversed(one.split()) for one in said.splitlines()[-1].split(": ")[1].split(", ")
        )
        stored = sum(len(queue.values(topic)) for topic in demo.TOPICS)
        assert (int(counts["published"]), int(counts["failed"])) == (stored, 0)
        assert main([*run, "--remove"]) == 0
        assert capsys.readouterr().out.endswith(" topics and groups removed\n")
        with Client(queue.address) as client:
            assert client.list_topics() == ["others"]
        assert main([*run, "--remove"]) == 0
        assert "0 topics and groups removed" in capsys.readouterr().out

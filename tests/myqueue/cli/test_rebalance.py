from __future__ import annotations

from typing import Any

import pytest

from myqueue.cli.main import main
from tests.myqueue.cli.operated import Operated, operated, terminal

__all__ = ["operated", "terminal"]
MOVE = {"topic": "logs", "partition": 2, "source": 1, "target": 4, "size_bytes": 4096}


def detail(left: int = 1, state: str = "on", **fields: Any) -> dict[str, Any]:
    return {
        "state": state,
        "bytes_per_second": 32 << 20,
        "repairs": 0,
        "running": [{**MOVE, "copied_bytes": 1024}] if left else [],
        "moves_left": left,
        "bytes_left": 7168 if left else 0,
        "seconds_left": 0.5,
        "plan": [MOVE] if left else [],
        **fields,
    }


def test_a_dry_run_moves_nothing_and_shows_the_plan(operated: Operated) -> None:
    operated.answers["GET /rebalance"] = detail()
    rows = operated.run("rebalance", "--dry-run")
    assert rows[0] == ["STATE", "on"]
    heads = ["TOPIC", "PARTITION", "SOURCE", "TARGET", "SIZE_BYTES", "COPIED_BYTES", "MOVE"]
    assert rows[-3:] == [
        heads,
        ["logs", "2", "1", "4", "4096", "1024", "moving"],
        ["logs", "2", "1", "4", "4096", "-", "planned"],
    ]
    [told] = operated.told("rebalance", "--dry-run")
    assert (told["moves_left"], told["plan"][0]["target"]) == (1, 4)
    assert {line for line, _ in operated.asked} == {"GET /rebalance"}


def test_people_see_sizes_and_what_it_comes_to(
    operated: Operated, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    operated.answers["GET /rebalance"] = detail()
    assert main(["rebalance", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "SPEED, A SECOND  32.0 MiB" in out
    assert "logs           2     1   4  4.0 KiB  1.0 KiB  moving" in out
    assert err == "2 replicas to move, 7.0 KiB, about 1 s\n"


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (detail(0), "there is nothing to move"),
        (detail(state="paused"), "no further move begins: myqueue rebalance starts them"),
        (detail(repairs=3), "3 partitions that need a repair come first"),
    ],
)
def test_what_goes_on_is_said(
    operated: Operated, capsys: pytest.CaptureFixture[str], told: dict[str, Any], sentence: str
) -> None:
    operated.answers["GET /rebalance"] = told
    assert main(["rebalance", "--dry-run"]) == 0
    assert sentence in capsys.readouterr().err


def test_it_starts_at_a_speed_and_waits_where_that_is_asked_for(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myqueue.cli.rebalance.LOOK_S", 0.0)
    operated.answers["POST /rebalance"] = detail(2)
    operated.answers["GET /rebalance"] = [detail(1), detail(0)]
    operated.run("rebalance", "--speed", "100MiB")
    started = ("POST /rebalance", {"paused": False, "bytes_per_second": 100 << 20})
    assert operated.asked == [started]
    assert operated.run("rebalance", "--wait")[3] == ["MOVES_LEFT", "0"]
    assert [line for line, _ in operated.asked[1:]] == ["POST /rebalance", *["GET /rebalance"] * 2]


def test_it_is_paused_and_cancelled(operated: Operated) -> None:
    operated.answers["POST /rebalance"] = detail(state="paused")
    operated.answers["DELETE /rebalance"] = detail(state="off")
    assert operated.run("rebalance", "--pause")[0] == ["STATE", "paused"]
    assert operated.run("rebalance", "--cancel", "--wait")[0] == ["STATE", "off"]
    assert operated.asked[0] == ("POST /rebalance", {"paused": True})
    assert "not allowed with" in operated.refused("rebalance", "--pause", "--cancel")

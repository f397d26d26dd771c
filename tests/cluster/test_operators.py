"""Everything that operators type, on a cluster that asks who calls."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from myqueue import Client, Consumer, Delivery, Producer, Worker
from myqueue.cli.main import main
from tests.cluster.processes import Cluster, wait_until
from tests.cluster.test_access import manage, taken

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("operators") / "data"
    with Cluster(
        directory, variables={"QUEUE_AUTH": "required", "QUEUE_BROKER_SIGN_S": "1"}
    ) as cluster:
        yield cluster


class Operator:
    """Somebody who types commands under a token, which is in a file."""

    def __init__(self, address: str, token: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.address, self.token, self.capsys = address, token, capsys

    def types(self, *arguments: str, status: int = 0) -> str:
        """Type a command; return what it prints, of a failure what it says."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.token)
            file.flush()
            at = ("--address", self.address, "--token-file", file.name)
            given = main([*arguments, *at])
        out, err = self.capsys.readouterr()
        assert given == status, (arguments, out, err)
        return out if status == 0 else err

    def told(self, *arguments: str) -> list[dict[str, Any]]:
        """Type a command with `--json`; return its objects."""
        return [json.loads(line) for line in self.types(*arguments, "--json").splitlines()]


@pytest.fixture
def root(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Operator:
    """Give an administrator."""
    # A command line sets it from its file; it goes with the test.
    monkeypatch.setenv("MYQUEUE_TOKEN", "")
    address = f"http://127.0.0.1:{cluster.port}"
    token = manage(cluster, "create", "root", "--owner", "admin", "--role", "administrator")
    taken(cluster, token).close()
    return Operator(address, token, capsys)


def test_all_that_operators_type_is_done(cluster: Cluster, root: Operator) -> None:
    root.types("create", "orders", "--partitions", "6", "--replication-factor", "1")
    right = ("--right", "orders*:produce,consume,manage")
    text = root.types("tokens", "create", "shop", "--owner", "admin", *right).strip()
    shop = Operator(root.address, text, root.capsys)
    _topics_change(root, shop)
    _groups_move(root, shop)
    _letters_go_back(root, shop)
    _clients_are_seen(root, shop)
    _brokers_come_and_go(root)
    _tokens_end(root, shop)


def _topics_change(root: Operator, shop: Operator) -> None:
    with Producer("orders", root.address, token=shop.token) as producer:
        for partition in (0, 1):
            producer.produce_many("orders", ["a", "b", "c"], partition=partition)
    [altered] = shop.told("alter", "orders", "--retention", "7d", "--yes")
    assert altered["retention_ms"] == 7 * 86_400_000
    assert root.told("alter", "orders", "--partitions", "7")[0]["partitions"] == 7
    [purged] = shop.told("purge", "orders", "--partition", "1", "--yes")
    assert (purged["removed"], purged["log_start_offset"]) == (3, 3)


def _groups_move(root: Operator, shop: Operator) -> None:
    with Consumer("orders", root.address, group="billing", token=shop.token) as consumer:
        wait_until(lambda: bool(consumer.poll(10, timeout=1)), what="messages")
        consumer.commit()
        assert {row["group"] for row in root.told("clients", "--kind", "member")} == {"billing"}
    reset = ("groups", "reset", "billing", "orders", "--to", "earliest", "--partitions", "0")
    [planned] = root.told(*reset, "--dry-run")
    assert (planned["before"], planned["after"], planned["moved"]) == (3, 0, False)
    assert root.told(*reset) == [{**planned, "moved": True}]
    root.types("groups", "delete", "billing", "--yes")
    assert "billing" not in root.types("groups")


def _letters_go_back(root: Operator, shop: Operator) -> None:
    def left() -> int:
        return sum(one["left"] or 0 for one in root.told("dead-letters", "--group", "mailers"))

    def die() -> None:
        with Worker(
            "orders", root.address, "mailers", token=shop.token, delivery_limit=1
        ) as worker:
            found: list[Delivery] = []
            while len(found) < 3:
                found += worker.receive(3 - len(found), timeout=10)
            worker.nack(*found)
        wait_until(lambda: left() == 3, what="three dead letters")

    die()
    letters = shop.told("dead-letters", "peek", "orders")
    assert [one["message"] for one in letters] == ["a", "b", "c"]
    assert {(one["died_group"], one["died_topic"]) for one in letters} == {("mailers", "orders")}
    assert shop.told("dead-letters", "redrive", "orders")[0]["messages"] == 3
    assert shop.told("redrive", "orders", "--group", "other")[0]["messages"] == 3
    assert left() == 0
    die()
    with Worker("orders", root.address, "mailers", token=shop.token) as worker:
        assert worker.receive(10, timeout=0) == [], "another group sent none a second time"
    purged = shop.told("dead-letters", "purge", "orders", "--yes")
    assert sum(one["removed"] for one in purged) == 6
    assert left() == 0


def _clients_are_seen(root: Operator, shop: Operator) -> None:
    with Producer("orders", root.address, token=shop.token) as producer:
        mine = producer.registrations["orders"].client_id
        seen = root.told("clients", "--kind", "producer", "--topic", "orders")
        assert str(mine) in {row["id"] for row in seen if row["state"] == "alive"}
        forget = ("clients", "forget", "producer", str(mine), "--yes")
        assert "lacks the role administrator" in shop.types(*forget, status=1)
        root.types(*forget)
        seen = root.told("clients", "--kind", "producer", "--topic", "orders")
        assert str(mine) not in {row["id"] for row in seen}


def _brokers_come_and_go(root: Operator) -> None:
    role = ("--role", "viewer", "--expires", "1h")
    text = root.types("tokens", "create", "board", "--owner", "admin", *role).strip()
    board = Operator(root.address, text, root.capsys)

    def holds(broker_id: int) -> int:
        rows = board.told("brokers")
        return sum(row["replicas"] or 0 for row in rows if row["broker_id"] == broker_id)

    *_, last = [row["broker_id"] for row in board.told("brokers")]
    drain = ("brokers", "drain", str(last))
    assert "lacks the role operator" in board.types(*drain, status=1)
    handed = root.told("brokers", "hand-over", str(last))
    assert handed[0]["broker_id"] == last
    held = holds(last)
    assert held
    assert root.told(*drain) == [{"broker_id": last, "replicas": held, "removed": False}]
    root.types("brokers", "undrain", str(last))
    assert "holds" in root.types("brokers", "forget", str(last), "--yes", status=1)
    assert root.told(*drain, "--wait")[0]["removed"]
    assert holds(last) == 0
    [plan] = board.told("rebalance", "--dry-run")
    assert plan["state"] in ("on", "off", "paused")
    [done] = root.told("rebalance", "--speed", "100MiB", "--wait")
    assert (done["state"], done["moves_left"], done["running"]) == ("on", 0, [])
    assert root.told("rebalance", "--pause")[0]["state"] == "paused"


def _tokens_end(root: Operator, shop: Operator) -> None:
    states = {row["name"]: row["state"] for row in root.told("tokens")}
    assert states == {"root": "active", "shop": "active", "board": "active"}
    assert "lacks the role administrator" in shop.types("tokens", status=1)
    root.types("tokens", "revoke", "shop", "--yes")
    assert "UNAUTHORIZED" in shop.types("describe", "orders", status=1)
    states = {row["name"]: row["state"] for row in root.told("tokens")}
    assert states["shop"] == "revoked"
    with Client(root.address, token=root.token) as client:
        [shop_row] = [one for one in client.list_tokens() if one.name == "shop"]
    assert shop_row.rights[0].pattern == "orders*"

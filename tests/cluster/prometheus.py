"""A Prometheus of Debian's package beside a cluster: started on a free port, stopped by its pid."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Self

import pytest
import requests

from tests.cluster.processes import ROOT, popen, wait_until
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
WINDOW = "30s"
"""In place of the minutes of rules and board."""
STOP_SECONDS = 20


def tool(name: str) -> str:
    """Return the path of a program of Debian's package prometheus; without it the test is skipped.

    Raises:
        AssertionError: it is missing where everything has to be there.
    """
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), f"{name} is missing: apt-get install prometheus"
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found


def in_short(rules: str) -> str:
    """Return alert rules that fire at once, and look back for and bear seconds, not minutes."""
    for long, short in (
        (r"for: \w+", "for: 0s"),
        (r"\[\w+\]", f"[{WINDOW}]"),
        (r"(_seconds\)) > \d+", r"\1 > 3"),
    ):
        rules = re.sub(long, short, rules)
    return rules


class Prometheus:
    """Scrapes servers every second, and judges the rules as often."""

    def __init__(self, directory: Path, targets: Sequence[str]) -> None:
        """Prepare it; nothing runs before it is entered.

        Args:
            directory: for what it stores.
            targets: `http://host:port` of what it scrapes.
        """
        self._directory = directory
        [port] = free_ports(1)
        self._listens = f"127.0.0.1:{port}"
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        hosts = [target.removeprefix("http://") for target in targets]
        job = {"job_name": "queuesite", "static_configs": [{"targets": hosts}]}
        config = {"global": every, "rule_files": ["alerts.yml"], "scrape_configs": [job]}
        (directory / "alerts.yml").write_text(in_short(RULES.read_text()))
        (directory / "prometheus.yml").write_text(json.dumps(config))  # which is YAML as well

    def __enter__(self) -> Self:
        log = self._directory / "prometheus.log"
        command = [
            tool("prometheus"),
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address={self._listens}",
        ]
        with log.open("wb") as output:
            self._process = popen(command, stdout=output, stderr=subprocess.STDOUT)

        def is_ready() -> bool:
            assert self._process.poll() is None, log.read_text()
            try:
                return requests.get(f"http://{self._listens}/-/ready", timeout=5).ok
            except requests.RequestException:
                return False

        try:
            wait_until(is_ready, what="Prometheus is ready", seconds=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(STOP_SECONDS)

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the result of a query.

        Raises:
            AssertionError: Prometheus refuses it.
        """
        answer = self._get("query", query=expr)
        result: list[dict[str, Any]] = answer["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its `state`, `health` and `lastError`."""
        groups = self._get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {rule["name"] for rule in self.rules() if rule["state"] == "firing"}

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        url = f"http://{self._listens}/api/v1/{what}"
        body = requests.get(url, params=parameters, timeout=20).json()
        assert body["status"] == "success", f"{parameters}: {body}"
        data: dict[str, Any] = body["data"]
        return data

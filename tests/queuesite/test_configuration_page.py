"""The reference of the configuration names every variable as it is read."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import fields

from queuesite.conf import BROKER, QueueConfig, from_environment, variable_of
from tests.queuesite.configuration_page import PAGE, page

ROOT = PAGE.parents[2]
ROW = re.compile(r"^\| `([A-Z_]+)` +\|", re.MULTILINE)


def test_page_is_made_of_the_fields():
    assert PAGE.read_text() == page(), "run python -m tests.queuesite.configuration_page"


def test_documented_names_are_read():
    named = ROW.findall(PAGE.read_text())
    assert sorted(named) == sorted(variable_of(field.name) for field in fields(QueueConfig))
    for name, value, field in (
        ("QUEUE_MANAGER_ADDRESS", "http://a:1", "manager_addresses"),
        ("QUEUE_RAFT_ADDRESS", "b:2", "known_raft_address"),
    ):
        assert name in named
        config = from_environment({"QUEUE_ROLE": BROKER, name: value})
        assert value in getattr(config, field)


@pytest.mark.parametrize("name", ["README.md", "docs/how-to/operations.md"])
def test_other_pages_name_variables_that_are_read(name):
    known = {variable_of(field.name) for field in fields(QueueConfig)}
    rows = ROW.findall((ROOT / name).read_text())
    assert set(rows) - known <= {"DJANGO_SUPERUSER_PASSWORD", "DJANGO_SUPERUSER_USERNAME"}

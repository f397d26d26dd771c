"""Tests of the RPC types: a closed union of values with sender, receiver and term."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_args

import pytest

from raft_app.core import types as rpcs

KINDS = get_args(rpcs.Rpc)


def test_the_union_names_every_value_that_has_a_sender():
    defined = {
        value
        for value in vars(rpcs).values()
        if isinstance(value, type)
        and is_dataclass(value)
        and "sender" in {field.name for field in fields(value)}
    }

    assert set(KINDS) == defined


@pytest.mark.parametrize("kind", KINDS)
def test_every_rpc_starts_with_receiver_sender_and_term(kind: type):
    assert [field.name for field in fields(kind)][:3] == ["to", "sender", "term"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_rpc_is_frozen_and_compares_by_value(kind: type):
    count = len(fields(kind))

    assert kind(*range(1, count + 1)) == kind(*range(1, count + 1))
    assert hash(kind(*range(1, count + 1))) == hash(kind(*range(1, count + 1)))
    assert kind(*range(1, count + 1)) != kind(*range(2, count + 2))

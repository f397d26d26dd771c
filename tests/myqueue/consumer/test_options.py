from __future__ import annotations

import pytest

from myqueue.consumer.core import ConsumerCore
from myqueue.contract.errors import InvalidRequest
from myqueue.group.core import GroupCore
from tests.myqueue.conftest import World


def test_a_group_makes_a_member_and_no_group_does_not(world: World) -> None:
    world.twin.create("logs", 1)
    assert isinstance(world.consumer()._core, ConsumerCore)
    assert isinstance(world.consumer(group="g")._core, GroupCore)


def test_options_of_the_other_kind_are_refused(world: World) -> None:
    world.twin.create("logs", 1)
    with pytest.raises(InvalidRequest) as caught:
        world.consumer(session_timeout_ms=5_000)
    assert caught.value.details["field"] == "session_timeout_ms"
    registrations = world.consumer().registrations
    with pytest.raises(InvalidRequest) as caught:
        world.consumer(group="g", attach=registrations)
    assert caught.value.details["field"] == "attach"
    with pytest.raises(TypeError):
        world.consumer(sesion_timeout_ms=5_000)

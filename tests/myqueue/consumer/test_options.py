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


def test_a_session_is_given_in_seconds_and_under_its_older_name(world: World) -> None:
    world.twin.create("logs", 1)
    for options in ({"session_timeout": 2.5}, {"session_timeout_ms": 2_500}):
        core = world.consumer(group="g", **options)._core
        assert isinstance(core, GroupCore)
        assert core.settings.session_timeout_ms == 2_500
    with pytest.raises(InvalidRequest, match="session_timeout"):
        world.consumer(group="g", session_timeout="2")


def test_a_name_that_is_nearly_right_is_told(world: World) -> None:
    with pytest.raises(TypeError, match=r"did you mean auto_commit\?"):
        world.consumer(group="g", autocommit=False)

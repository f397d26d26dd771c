from __future__ import annotations

import subprocess
import sys

import pytest

import myqueue


def test_exported_members() -> None:
    assert myqueue.__all__ == sorted(myqueue.__all__, key=lambda name: (name[0] == "_", name))
    lazy = {name for names in myqueue._MODULES.values() for name in names}
    assert set(myqueue.__all__) == lazy | {"__version__"}
    for name in myqueue.__all__:
        assert getattr(myqueue, name) is not None
        assert name in dir(myqueue)


@pytest.mark.parametrize(
    "name",
    [
        "AlreadyRegistered",
        "BrokerAlreadyPresent",
        "Client",
        "Consumer",
        "ManagerNotFound",
        "MyConsumer",
        "MyProducer",
        "Producer",
        "QueueEmpty",
        "TopicAlreadyExists",
        "TopicDoesNotExist",
        "UnauthorizedException",
    ],
)
def test_names_of_the_original_library_are_there(name: str) -> None:
    assert name in myqueue.__all__


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = myqueue.nothing


def test_the_import_loads_neither_servers_nor_the_client() -> None:
    code = (
        "import sys, myqueue, myqueue.contract.inputs; "
        "assert not {'django', 'requests', 'rest_framework', 'myqueue.client', 'ssl'} "
        "& set(sys.modules); "
        "from myqueue import Client, Producer, Consumer; "
        "assert not {'django', 'requests', 'rest_framework', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import myqueue


def test_exported_members() -> None:
    assert myqueue.__all__ == sorted(myqueue.__all__, key=lambda name: (name[0] == "_", name))
    assert "__version__" in myqueue.__all__
    for name in myqueue.__all__:
        assert getattr(myqueue, name) is not None
        assert name in dir(myqueue)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(myqueue.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == myqueue._MODULE_OF


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

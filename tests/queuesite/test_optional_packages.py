from __future__ import annotations

import sys

import pytest

from queuesite.optional_packages import hidden_from_imports

UNUSED = "this"
"""A package that nobody here imports."""


def test_hidden_package_is_as_if_it_were_not_installed_and_back_afterwards(capsys):
    assert UNUSED not in sys.modules
    with hidden_from_imports((UNUSED,)), pytest.raises(ImportError):
        __import__(UNUSED)
    assert UNUSED not in sys.modules
    __import__(UNUSED)
    del sys.modules[UNUSED]
    assert "Zen" in capsys.readouterr().out


def test_package_that_is_imported_already_stays():
    module = sys.modules["json"]
    with hidden_from_imports(("json",)):
        assert __import__("json") is module
    assert sys.modules["json"] is module

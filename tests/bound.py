"""Ends a process of tests in which one hangs, and shows where.

pytest-timeout raises an error in the test, once. That is not enough: it gives up its clock as soon
as anything of the test failed, so that the fixtures of a failed test may hang for ever, and an
error can be swallowed: uvloop swallows each that a signal raises. Here the clock starts again for
what comes after a failure, and behind it is a second one that nothing swallows: the stacks of all
threads go to stderr and the process exits, which pytest-xdist reports with the name of the test.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_timeout import Settings

EXIT_AFTER_S = 60.0
"""Seconds that a test has to end after pytest-timeout interrupted it."""


class Bound:
    """Hooks that hold each test to an end."""

    def __init__(self, *, exit_after_s: float = EXIT_AFTER_S) -> None:
        """Make the hooks while nothing is captured: stacks are to be seen.

        Args:
            exit_after_s: seconds that a test has to end after pytest-timeout interrupted it.
        """
        self._exit_after_s = exit_after_s
        self._stderr = os.dup((sys.__stderr__ or sys.stderr).fileno())
        self._settings: Settings | None = None
        """Of the test that runs, when it has a timeout."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Stop the clock when a test is over."""
        self._settings = None
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, settings: Settings) -> None:
        """Start the second clock with that of pytest-timeout."""
        self._settings = settings
        exit_s = settings.timeout + self._exit_after_s
        faulthandler.dump_traceback_later(exit_s, file=self._stderr, exit=True)

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        """Start both clocks again, which pytest and pytest-timeout stop at every failure."""
        if isinstance(node, pytest.Item) and self._settings is not None:
            node.ihook.pytest_timeout_set_timer(item=node, settings=self._settings)

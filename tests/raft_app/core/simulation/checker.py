"""What every checker raises, and the word for it."""

from __future__ import annotations


class Violation(AssertionError):
    """Something happened that must never happen.

    Attributes:
        checker: name of the checker that saw it.
        message: what it saw.
    """

    def __init__(self, checker: str, message: str) -> None:
        super().__init__(f"{checker}: {message}")
        self.checker = checker
        self.message = message


class Checker:
    """Watches one claim from outside; knows nothing of the core's insides."""

    def require(self, holds: bool, message: str, *values: object) -> None:
        """Raise a `Violation` unless `holds`; `message` is a %-format for `values`."""
        if not holds:
            raise Violation(type(self).__name__, message % values)

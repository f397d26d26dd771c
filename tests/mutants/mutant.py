"""A deliberate fault: a small textual change of one file, and the test that must find it."""

from __future__ import annotations

from dataclasses import dataclass


class DoesNotApply(Exception):
    """The file is gone, or does not contain the text exactly once."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault.

    Raises:
        ValueError: it is none.
    """

    name: str
    """Words joined by hyphens."""
    fault: str
    """What goes wrong, as a sentence without an end."""
    path: str
    """The file that is changed, from the root of the repository."""
    old: str
    """The text that is replaced; must be there exactly once."""
    new: str
    test: str
    """Id of the pytest function that fails because of it; one of its parameters is enough."""

    def __post_init__(self) -> None:
        if not self.old or self.old == self.new:
            raise ValueError(f"{self.name} changes nothing")

    @property
    def test_path(self) -> str:
        """The file of the test."""
        return self.test.partition("::")[0]

    @property
    def test_name(self) -> str:
        """The function of the test."""
        return self.test.rpartition("::")[2]

    def changed(self, text: str) -> str:
        """Return the text of the file with the fault.

        Raises:
            DoesNotApply: `old` is not in it exactly once.
        """
        count = text.count(self.old)
        if count != 1:
            raise DoesNotApply(f"{self.name}: its text is in {self.path} {count} times, not once")
        return text.replace(self.old, self.new)

"""Immutable values that are made for every message, and so must be cheap to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a dataclass that compares and hashes by its fields, which nobody sets afterwards.

    The type checker sees to that. A frozen dataclass sees to it also when the program runs, and
    takes four times as long to make: each of its fields is set through a function.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)

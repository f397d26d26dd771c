"""What a server does without although it is installed, so that it starts faster.

DRF looks for packages that it can do without, and takes what it finds: `requests` for a client of
its tests, Django's fields of PostgreSQL (with its driver) for serializers of models. No server
uses either, and importing them takes as long as a fifth of everything else.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOKED_FOR_BY_DRF = ("requests", "django.contrib.postgres")


def import_drf_alone() -> None:
    """Make DRF believe that the packages it could do without are not installed.

    It looks once. Whoever else imports them, later or before, has them.
    """
    with hidden_from_imports(_LOOKED_FOR_BY_DRF):
        import_module("rest_framework.compat")


@contextmanager
def hidden_from_imports(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of these packages fail, those that are imported already excepted."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: cannot be imported
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]

"""A copy of the repository, in which one fault at a time is planted."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutants.mutant import DoesNotApply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mutants.mutant import Mutant

ENVIRONMENT = ".venv"


class Tree:
    """The files of a copy, from `root` on."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def copy(cls, source: Path, target: Path) -> Tree:
        """Copy what git does not ignore, as it is in the work tree; refer to the environment.

        Args:
            source: root of the repository.
            target: where to; must not exist.
        """
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=source,
            capture_output=True,
            check=True,
            text=True,
        )
        target.mkdir()
        for name in sorted(filter(None, set(listed.stdout.split("\0")))):
            if (source / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, target / name)
        if (source / ENVIRONMENT).exists():
            (target / ENVIRONMENT).symlink_to((source / ENVIRONMENT).resolve())
        return cls(target)

    @contextmanager
    def with_fault(self, mutant: Mutant) -> Iterator[None]:
        """Plant a fault for the time of the block.

        Raises:
            DoesNotApply: the file is not what the mutant expects; nothing was changed.
        """
        path = self.root / mutant.path
        try:
            original = path.read_bytes()
        except FileNotFoundError:
            raise DoesNotApply(f"{mutant.name}: there is no {mutant.path}") from None
        changed = mutant.changed(original.decode()).encode()
        try:
            _write(path, changed)
            yield
        finally:
            _write(path, original)


def _write(path: Path, data: bytes) -> None:
    """Write a module and drop its bytecode, which Python would trust by second and size alone."""
    path.write_bytes(data)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)

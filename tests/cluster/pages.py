"""Examples of the documentation: cut out of a page, run one after the other as a reader would.

A block marked `bash` or `python` is run; one with `title="name"` is saved under that name instead.
A block marked `text` right after is what the one before it prints, `...` standing for anything;
one with `title="for example"` is what it printed once: other numbers may stand there.
Blocks without a language are not run: what runs for ever, what needs a number from the screen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
RUN_SECONDS = 90
FOR_EXAMPLE = "for example"
_FENCE = re.compile(
    r'^```(?P<language>bash|python|text)(?: title="(?P<title>[\w. ]+)")?\n(?P<text>.*?)^```',
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    title: str | None
    text: str


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page that are run, saved or compared, in order."""
    return [
        Block(*found.group("language", "title", "text"))
        for found in _FENCE.finditer(page.read_text())
    ]


def is_printed(expected: str, printed: str, *, numbers: bool = True) -> bool:
    """Tell whether a program printed what the page says; `...` stands for anything.

    Args:
        expected: what the page says.
        printed: what the program printed.
        numbers: False when others may stand in place of those of the page.
    """
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("..."))
    if not numbers:
        pattern = re.sub(r"\d+", r"\\d+", pattern)
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


class Reader:
    """Somebody who follows a page in an empty folder, with a cluster at some address."""

    def __init__(self, folder: Path, address: str, root: Path, *, data: Path) -> None:
        """Prepare the folder.

        Args:
            folder: where the reader works.
            address: of the cluster's manager.
            root: the project's folder.
            data: the cluster's, which is `data` for the reader.
        """
        self._folder = folder
        self._address = address
        commands = folder / "bin"
        commands.mkdir(parents=True)
        servers = f'env -u QUEUE_ROLE -u QUEUESITE_ROLE "{sys.executable}" "{root / "manage.py"}"'
        client = f'"{sys.executable}" -m myqueue.cli.main'
        for name, program in (("myqueue", client), ("queuesite", servers)):
            command = commands / name
            command.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
            command.chmod(0o755)
        path = os.pathsep.join(
            (str(commands), str(Path(sys.executable).parent), os.environ["PATH"])
        )
        self._environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(root),
            "MYQUEUE_ADDRESS": address,
        }
        self._environment.pop("DJANGO_SETTINGS_MODULE", None)
        (folder / "data").symlink_to(data)

    def follow(self, page: Path) -> int:
        """Do what a page says; return how many blocks were run.

        Raises:
            AssertionError: an example failed, or printed something else.
        """
        printed, ran = "", 0
        for block in blocks_of(page):
            if block.language == "text":
                assert is_printed(block.text, printed, numbers=block.title != FOR_EXAMPLE), (
                    f"{page.name} says\n{block.text}\nbut it was\n{printed}"
                )
            elif block.title:
                (self._folder / block.title).write_text(self._here(block.text))
            else:
                printed = self.run(block)
                ran += 1
        return ran

    def _here(self, text: str) -> str:
        return text.replace(DEFAULT_ADDRESS, self._address)

    def run(self, block: Block) -> str:
        """Do what one block says; return what it printed."""
        text = self._here(block.text)
        if block.language == "python":
            command = [sys.executable, "-W", "error::DeprecationWarning", "-c", text]
        else:
            command = ["bash", "-euo", "pipefail", "-c", text.replace("curl ", "curl -s ")]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            cwd=self._folder,
            env=self._environment,
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        if block.text.startswith("curl"):
            answer = json.loads(done.stdout)
            assert answer["status"] == "success", answer
        return done.stdout

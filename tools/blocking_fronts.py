"""Write the client's blocking files from the asyncio ones, which are their only source.

    make fronts

A class that users call is written once, with `async` and `await`; without these words, and with
the names of threads instead of those of the event loop, it is the blocking class. What differs in
more than names is no part of these files: it is in pairs of small classes with the same methods
(`Lifetime` and `AsyncLifetime`, `Sender` and `AsyncSender`).

Not the package `unasync`: it leaves docstrings as they are, which here have examples, and a
blocking call's promise differs in a sentence now and then.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
_ASYNC_WORD = re.compile(r"\b(?:await|async (?=for|with|def)) ?")
"""In an example of a docstring."""


class Rules(NamedTuple):
    """What blocking_fronts.toml says."""

    names: dict[str, str]
    """What has another name where threads wait."""
    modules: dict[str, str]
    """Where that comes from."""
    fronts: list[dict[str, Any]]
    """Pairs of files: `source`, `target`, and `texts` that are said otherwise there."""


RULES = Rules(**tomllib.loads(Path(__file__).with_suffix(".toml").read_text()))


def blocking(source: str, front: dict[str, Any]) -> str:
    """Return the text of the blocking file, not formatted yet.

    Args:
        source: of the asyncio file.
        front: one of `RULES.fronts`.

    Raises:
        ValueError: a text that is to be replaced is not there exactly once.
    """
    for text in front.get("texts", ()):
        if source.count(text["asyncio"]) != 1:
            raise ValueError(f"{front['source']} does not have this once: {text['asyncio']!r}")
        source = source.replace(text["asyncio"], text["blocking"])
    for old, new in RULES.modules.items():
        source = source.replace(f"from {old} import", f"from {new} import")
    head = f"# Written by `make fronts` from {front['source']}; change it there.\n"
    return head + "".join(_translated(source))


def _translated(source: str) -> list[str]:
    """Return the pieces of a text, without the words of event loops and with the other names."""
    lines = source.splitlines(keepends=True)
    pieces: list[str] = []
    row, column = 1, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        between = _between(lines, (row, column), token.start)
        row, column = token.end
        word = token.string
        if pieces and pieces[-1] in {"async", "await"}:
            # The word goes, with the blank behind it.
            pieces[-1], between = "", ""
        if token.type == tokenize.STRING:
            word = _translated_text(word)
        elif token.type == tokenize.NAME:
            word = RULES.names.get(word, word)
        pieces += [between, word]
    return pieces


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from one place to another, as (row from 1, column)."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]] if start != end else ""
    middle = lines[start[0] : end[0] - 1]
    last = lines[end[0] - 1][: end[1]] if end[0] <= len(lines) else ""
    return "".join([lines[start[0] - 1][start[1] :], *middle, last])


def _translated_text(text: str) -> str:
    """Return a docstring or another text, the lines of examples in it without `await`."""
    for old, new in RULES.names.items():
        text = re.sub(rf"\b{old}\b", new, text)
    examples = re.compile(r"^( {8,}|(?: {4})+>>> )(.*)$", re.MULTILINE)
    return examples.sub(lambda line: line[1] + _ASYNC_WORD.sub("", line[2]), text)


def formatted(text: str, name: str) -> str:
    """Return Python source as `make style` leaves it."""
    # Imports have another order under their other names, and a loop that yields is `yield from`.
    fixes = ["check", "--quiet", "--select", "I,UP028", "--fix", "--unsafe-fixes"]
    for arguments in (fixes, ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", name, "-"],
            cwd=ROOT,
            input=text,
            capture_output=True,
            check=True,
            text=True,
        )
        text = done.stdout
    return text


def expected(front: dict[str, Any]) -> str:
    """Return what a blocking file has to be."""
    text = (ROOT / front["source"]).read_text()
    return formatted(blocking(text, front), front["target"])


def main() -> None:
    """Write the files that are not what they have to be, and name them."""
    for front in RULES.fronts:
        target, text = ROOT / front["target"], expected(front)
        if not target.is_file() or target.read_text() != text:
            target.write_text(text)
            print(front["target"])


if __name__ == "__main__":
    main()

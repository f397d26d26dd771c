"""The rules of the house that no tool checks."""

from __future__ import annotations

import ast
import builtins
import gc
import graphlib
import importlib
import keyword
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import grimp
import pytest

from tools import blocking_fronts

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("queuesite", "manager_app", "broker_app", "raft_app", "http_base", "myqueue")
SERVERS = ("manager_app", "broker_app", "raft_app", "http_base", "queuesite")
CONTRACT = "myqueue.contract"
FILE_LINES_MAX = 800
"""Longer than this is more than one subject; cutting a subject to please a number is none."""
FUNCTION_LINES_MAX = 50
LOGIC_STATEMENTS_MIN = 8
"""A module whose functions have fewer statements in all declares and decides nothing."""

BANNED_WORDS = (
    *("shard", "subscriber", "master", "slave", "controller", "isr", "leo"),
    *("chunk", "pointer", "dequeue", "compaction", "backup"),
)
"""Words of the glossary's column "do not say" that are wrong in every name but the below."""
ALLOWED_NAMES = {
    "dequeue": "the original library's public method",
    "can_dequeue": "the original library's public method",
    "_dequeue_one": "what `dequeue` does for one topic",
    "_take_chunks": "HTTP calls the parts of a body so",
    "CHUNKS": "HTTP calls the parts of a body so",
    "Backup": "a copy of a database for bad times, never a replica",
    "BackupRefused": "the same",
    "backup": "the same; the command's name",
}
ENTRY_POINTS = re.compile(
    r"(.*\.)?(apps|admin|models|migrations(\..*)?|urls|management(\..*)?|__init__|__main__)"
)
"""Modules that Django or Python finds by their names."""
LEFTOVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
FROM_AN_INDEX = re.compile(r"pip3? install\s+(-\S+\s+)*['\"]?myqueue\b|\bmyqueue" + r"\[")
MACHINE_PATH = re.compile(r"(?<![\w./])/(root|home|work|Users)/\w")


@cache
def tracked() -> tuple[Path, ...]:
    """Return every file under version control that is there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    names = [name for name in listed.stdout.split("\0") if name]
    if not names:
        pytest.skip("no git repository")
    return tuple(path for name in names if (path := ROOT / name).is_file())


def python_files(*folders: str) -> list[Path]:
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    ]


@pytest.fixture(scope="module", autouse=True)
def _trees_of_these_tests_alone() -> Iterator[None]:
    """Search no tree for garbage, here or after the last test: all have millions of nodes."""
    gc.disable()
    yield
    tree_of.cache_clear()
    gc.enable()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def functions_of(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def imports_of(path: Path) -> set[str]:
    """Return the dotted names that a module imports, each as module and as module.name."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def docstring_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt | None:
    """Return the statement that is the docstring, which no limit counts."""
    return function.body[0] if ast.get_docstring(function) is not None else None


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    docstring = docstring_of(function)
    told = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - told


def test_files_are_short():
    long = {
        name: lines
        for path in python_files(*PACKAGES, "tests", "benchmarks", "tools")
        if (name := name_of(path))
        and (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX
    }
    assert not long


def test_functions_are_short():
    long = [
        f"{name_of(path)}:{function.lineno} {function.name}"
        for path in python_files(*PACKAGES, "tests", "benchmarks", "tools")
        for function in functions_of(tree_of(path))
        if lines_of(function) > FUNCTION_LINES_MAX
    ]
    assert not long


TESTED_THROUGH: dict[str, str] = {}
"""Modules whose only use is by another, and the tests of that one, which cover them."""


def holds_logic(path: Path) -> bool:
    statements = sum(
        isinstance(node, ast.stmt) and node not in (function, docstring_of(function))
        for function in functions_of(tree_of(path))
        for node in ast.walk(function)
    )
    return statements >= LOGIC_STATEMENTS_MIN


def is_tested(path: Path) -> bool:
    """Tell whether a test module is named after the module, or `<module>_<aspect>`."""
    folder = ROOT / "tests" / path.relative_to(ROOT).parent
    exact = folder / f"test_{path.stem}.py"
    return exact.is_file() or any(folder.glob(f"test_{path.stem}_*.py"))


def test_modules_with_logic_have_their_own_tests():
    bare = [
        name_of(path)
        for path in python_files(*PACKAGES)
        if not ENTRY_POINTS.fullmatch(module_of(path))
        and path.stem not in {"__init__", "__main__"}
        and holds_logic(path)
        and not is_tested(path)
        and name_of(path) not in TESTED_THROUGH
    ]
    assert not bare


def test_tests_that_cover_other_modules_are_there_and_needed():
    for module, test in TESTED_THROUGH.items():
        assert (ROOT / test).is_file(), test
        assert not is_tested(ROOT / module), f"{module} has tests of its own"


def defined_names(tree: ast.AST) -> set[str]:
    """Return the names that a module gives to things."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.arg():
                names.add(node.arg)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Attribute(ctx=ast.Store()):
                names.add(node.attr)
    return names


def words_of(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word.lower().removesuffix("s") for word in spaced.split("_") if word]


def test_names_come_from_the_glossary():
    banned = set(BANNED_WORDS)
    found = [
        f"{name_of(path)}: {name}"
        for path in python_files(*PACKAGES)
        for name in sorted(defined_names(tree_of(path)))
        if banned & set(words_of(name)) and name not in ALLOWED_NAMES
    ]
    assert not found


def test_every_module_is_used():
    """By an import of another module of the product, or by its dotted name in a text."""
    files = [*python_files(*PACKAGES, "benchmarks"), ROOT / "manage.py"]
    imported = {path: imports_of(path) for path in files}
    texts = {path: path.read_text() for path in files}
    texts[ROOT / "pyproject.toml"] = (ROOT / "pyproject.toml").read_text()
    texts[ROOT / "Makefile"] = (ROOT / "Makefile").read_text()
    dead = []
    for path in python_files(*PACKAGES):
        module = module_of(path)
        if ENTRY_POINTS.fullmatch(module) or module in PUBLIC_MODULES or module.endswith(TWIN):
            continue
        if any(module in names for other, names in imported.items() if other != path):
            continue
        quoted = re.compile(rf"[\"'=\s]{re.escape(module)}[\"'.:]")
        if not any(quoted.search(text) for other, text in texts.items() if other != path):
            dead.append(name_of(path))
    assert not dead


PUBLIC_MODULES = {"myqueue.testing.queue", "myqueue.logging", "myqueue.aio", "myqueue.exceptions"}
"""What users of the library import, and nothing of ours."""
TWIN = ("_memory", ".memory")
"""End the name of an interface's twin for tests."""


def test_no_import_circle():
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # Imports for type checking count: `graphlib` names the circle in its error.
    graphlib.TopologicalSorter(imported).prepare()


def test_classes_are_composed_and_not_inherited_in_parts():
    """Above no class are more than two of our own: what it needs beyond them, it has."""
    modules = [
        importlib.import_module(module_of(path))
        for path in python_files(*PACKAGES)
        if path.stem not in {"__init__", "__main__"}
    ]
    own = {module.__name__ for module in modules}
    deep = {
        f"{kind.__module__}.{kind.__qualname__}": parents
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__
        if len(parents := [one.__name__ for one in kind.__mro__[1:] if one.__module__ in own]) > 2
    }
    assert not deep


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Return the file and number of every line of our own texts in which a pattern is found."""
    return [
        f"{name_of(path)}:{number}"
        for path in tracked()
        if path.suffix in {".py", ".toml", ".md", ".yml", ".txt", ""}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_is_left_to_do():
    assert not lines_with(LEFTOVER)


def test_no_path_of_one_machine_is_in_the_code():
    assert not lines_with(MACHINE_PATH)


def test_nobody_is_told_to_install_the_library_from_an_index():
    """Its name there is another's; what is to be installed is this project, or a dependency."""
    assert not lines_with(FROM_AN_INDEX)


def test_the_core_imports_the_standard_library_alone():
    foreign = {
        f"{name_of(path)}: {name}"
        for path in python_files("raft_app")
        if path.is_relative_to(ROOT / "raft_app" / "core")
        for name in imports_of(path)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not name.startswith("raft_app.core")
    }
    assert not foreign


def test_servers_import_the_contract_of_the_client_alone():
    foreign = {
        f"{name_of(path)}: {name}"
        for path in python_files(*SERVERS)
        for name in imports_of(path)
        if name.startswith("myqueue.") and not f"{name}.".startswith(f"{CONTRACT}.")
    }
    assert not foreign


def test_blocking_classes_are_what_the_asyncio_ones_give():
    stale = [
        front["target"]
        for front in blocking_fronts.RULES.fronts
        if (ROOT / front["target"]).read_text() != blocking_fronts.expected(front)
    ]
    assert not stale, "make fronts"


NAME_IN_TEXT = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)(?:\(\))?`(?!`)")
OTHERS_NAMES = {"unasync", *dir(builtins), *keyword.kwlist}
"""What docstrings and comments name and the code need not use."""


def test_docstrings_and_comments_name_what_is_there():
    """A name in backticks stands somewhere without them too; one that was renamed does not."""
    texts = {
        path: path.read_text() for path in python_files(*PACKAGES, "tests", "benchmarks", "tools")
    }
    known = set(OTHERS_NAMES)
    for path, text in texts.items():
        known.update(path.relative_to(ROOT).with_suffix("").parts)
        known.update(re.findall(r"\w+", NAME_IN_TEXT.sub("", text)))
    stale = [
        f"{name_of(path)}: {found[1]}"
        for path in python_files(*PACKAGES, "benchmarks", "tools")
        for found in NAME_IN_TEXT.finditer(texts[path])
        if not known.issuperset(word for word in found[1].split(".") if word)
    ]
    assert not stale


def test_every_folder_of_tests_is_a_package():
    folders = {path.parent for path in python_files("tests")}
    assert not [name_of(folder) for folder in folders if not (folder / "__init__.py").is_file()]

"""How dense the code is and how it names things, by folder.

The figures that the layout's goals are set in. Run from the repository, for regiontalk
where no folder is named:

    python benchmarks/code_style.py [FOLDER ...]

Each row: functions; AST nodes a line of a function's body (median; docstring not counted); lines
over 100 characters in per cent of all lines; comprehensions in 100 lines of code; local names that
say nothing in per cent of the names that functions assign; functions of more than 250 AST nodes;
comprehensions inside another one. With --places, where each long line and each of the last three
stands. `tests/test_code_style.py` keeps all four at zero.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_LINE = 100  # characters
MAX_NODES = 250  # AST nodes of a function's body
VAGUE_NAMES = frozenset(
    "found own said told kept seen given one part place fresh other whole rest".split()
)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Counts:
    """Sums over the files of one folder.

    Attributes:
        lines: all lines of the files.
        code_lines: those that are neither blank nor a comment alone.
        comprehensions: list, set and dict comprehensions and generator expressions.
        densities: AST nodes a line, one value a function.
        names: names that functions assign, each time that they do.
        long_lines: "file:line" of those over `MAX_LINE` characters.
        vague_names: "file:line name" of those of `VAGUE_NAMES`.
        long_functions: "file:line function (nodes)" of those over `MAX_NODES`.
        nested_comprehensions: "file:line" of the inner ones.
    """

    lines: int = 0
    code_lines: int = 0
    comprehensions: int = 0
    densities: list[float] = field(default_factory=list)
    names: int = 0
    long_lines: list[str] = field(default_factory=list)
    vague_names: list[str] = field(default_factory=list)
    long_functions: list[str] = field(default_factory=list)
    nested_comprehensions: list[str] = field(default_factory=list)

    def add(self, counts: Counts) -> None:
        """Add the sums of another file or folder."""
        self.lines += counts.lines
        self.code_lines += counts.code_lines
        self.long_lines += counts.long_lines
        self.comprehensions += counts.comprehensions
        self.densities += counts.densities
        self.names += counts.names
        self.vague_names += counts.vague_names
        self.long_functions += counts.long_functions
        self.nested_comprehensions += counts.nested_comprehensions

    def faults(self) -> list[str]:
        """What no clean folder has, one line each."""
        return [
            *(f"{where}: over {MAX_LINE} characters" for where in self.long_lines),
            *(f"{where}: a name that says nothing" for where in self.vague_names),
            *(f"{where}: over {MAX_NODES} nodes" for where in self.long_functions),
            *(
                f"{where}: a comprehension inside another"
                for where in self.nested_comprehensions
            ),
        ]


def count_file(path: Path) -> Counts:
    """The figures of one Python file."""
    text = path.read_text(encoding="utf-8")
    counts = count_lines(text.splitlines(), path)
    # line, column, name: those of inner functions once
    names: set[tuple[int, int, str]] = set()
    inner_lines: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, COMPREHENSIONS):
            counts.comprehensions += 1
            inner_lines.update(inner.lineno for inner in inner_comprehensions(node))
        elif isinstance(node, FUNCTIONS):
            count_function(node, path, counts)
            names.update(
                (name.lineno, name.col_offset, name.id) for name in assigned_names(node)
            )
    counts.names = len(names)
    counts.vague_names = vague_names(names, path)
    counts.nested_comprehensions = [f"{path}:{line}" for line in sorted(inner_lines)]
    return counts


def count_lines(lines: Sequence[str], path: Path) -> Counts:
    """The figures of lines as text."""
    stripped = [line.strip() for line in lines]
    return Counts(
        lines=len(lines),
        code_lines=sum(bool(line) and not line.startswith("#") for line in stripped),
        long_lines=[
            f"{path}:{number}"
            for number, line in enumerate(lines, 1)
            if len(line) > MAX_LINE
        ],
    )


def vague_names(names: set[tuple[int, int, str]], path: Path) -> list[str]:
    """Those of `VAGUE_NAMES` as "file:line name".

    Given line, column and name of each assignment.
    """
    return [
        f"{path}:{line} {name}"
        for line, _, name in sorted(names)
        if name in VAGUE_NAMES
    ]


def assigned_names(function: Function) -> Iterator[ast.Name]:
    """Every name that a function assigns, loops and comprehensions included."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node


def inner_comprehensions(node: ast.AST) -> Iterator[ast.expr]:
    """The comprehensions inside one."""
    for inner in ast.walk(node):
        if isinstance(inner, COMPREHENSIONS) and inner is not node:
            yield inner


def count_function(function: Function, path: Path, counts: Counts) -> None:
    """Add the size of one function to the counts of its file.

    A function inside it counts in both.
    """
    body = (
        function.body[1:] if ast.get_docstring(function, clean=False) else function.body
    )
    if not body:
        return
    nodes = sum(1 for _ in ast.walk(ast.Module(body=body, type_ignores=[]))) - 1
    last_line = body[-1].end_lineno or body[-1].lineno
    counts.densities.append(nodes / (last_line - body[0].lineno + 1))
    if nodes > MAX_NODES:
        counts.long_functions.append(
            f"{path}:{function.lineno} {function.name} ({nodes})"
        )


def row(name: str, counts: Counts) -> str:
    """One line of the table."""
    density = statistics.median(counts.densities) if counts.densities else 0.0
    long_lines = 100 * len(counts.long_lines) / max(1, counts.lines)
    comprehensions = 100 * counts.comprehensions / max(1, counts.code_lines)
    vague = 100 * len(counts.vague_names) / max(1, counts.names)
    return (
        f"{name:24} {len(counts.densities):9} {density:10.1f} {long_lines:9.1f} "
        f"{comprehensions:14.1f} {vague:7.1f} {len(counts.long_functions):9} "
        f"{len(counts.nested_comprehensions):6}"
    )


def count_folders(folders: Sequence[Path]) -> dict[str, Counts]:
    """The figures of each folder and of each folder in it, by name ("regiontalk/align")."""
    by_folder: defaultdict[str, Counts] = defaultdict(Counts)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).parts[:-1]
            by_folder["/".join([folder.name, *inner[:1]])].add(count_file(path))
    return dict(sorted(by_folder.items()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each folder, the sum of all, and where the faults stand."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("regiontalk")])
    parser.add_argument(
        "--places", action="store_true", help="list every fault by file and line"
    )
    options = parser.parse_args(arguments)
    print(
        f"{'folder':24} {'functions':>9} {'nodes/line':>10} {'> 100 (%)':>9} "
        f"{'compr./100 l.':>14} {'vague %':>7} {'> 250':>9} {'nested':>6}"
    )
    total = Counts()
    for name, counts in count_folders(options.folders).items():
        print(row(name, counts))
        total.add(counts)
    print(row("all", total))
    if options.places:
        print(*total.faults(), sep="\n")


if __name__ == "__main__":
    main()

"""How dense the code is and how it names things, by folder: the figures that the layout's goals are set in.

Run from the repository: python benchmarks/code_style.py [FOLDER ...] (regiontalk where none is named).

Each row: functions; AST nodes a line of a function's body (median; docstring not counted); lines
over 100 characters in per cent of all lines; comprehensions in 100 lines of code; local names that
say nothing in per cent of the names that functions assign; functions of more than 250 AST nodes.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_LINE = 100  # characters
MAX_NODES = 250  # AST nodes of a function's body
VAGUE_NAMES = frozenset(
    "found own said told kept seen given one part place fresh other whole rest".split()
)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Counts:
    """Sums over the files of one folder.

    Attributes:
        lines: all lines of the files.
        code_lines: those that are neither blank nor a comment alone.
        long_lines: those over `MAX_LINE` characters.
        comprehensions: list, set and dict comprehensions and generator expressions.
        densities: AST nodes a line, one value a function.
        names: names that functions assign, each time that they do.
        vague_names: those of `VAGUE_NAMES`.
        long_functions: "file:function nodes" of those over `MAX_NODES`.
    """

    lines: int = 0
    code_lines: int = 0
    long_lines: int = 0
    comprehensions: int = 0
    densities: list[float] = field(default_factory=list)
    names: int = 0
    vague_names: int = 0
    long_functions: list[str] = field(default_factory=list)

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


def count_file(path: Path) -> Counts:
    """The figures of one Python file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    stripped = [line.strip() for line in lines]
    counts = Counts(
        lines=len(lines),
        code_lines=sum(bool(line) and not line.startswith("#") for line in stripped),
        long_lines=sum(len(line) > MAX_LINE for line in lines),
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, COMPREHENSIONS):
            counts.comprehensions += 1
        elif isinstance(node, FUNCTIONS):
            count_function(node, path, counts)
    return counts


def count_function(
    function: ast.FunctionDef | ast.AsyncFunctionDef, path: Path, counts: Counts
) -> None:
    """Add one function to the counts of its file; a function inside it counts in both."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) else function.body
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            counts.names += 1
            counts.vague_names += node.id in VAGUE_NAMES
    if not body:
        return
    nodes = sum(1 for statement in body for _ in ast.walk(statement))
    last_line = body[-1].end_lineno or body[-1].lineno
    counts.densities.append(nodes / (last_line - body[0].lineno + 1))
    if nodes > MAX_NODES:
        counts.long_functions.append(f"{path}:{function.name} {nodes}")


def row(name: str, counts: Counts) -> str:
    """One line of the table."""
    density = statistics.median(counts.densities) if counts.densities else 0.0
    long_lines = 100 * counts.long_lines / max(1, counts.lines)
    comprehensions = 100 * counts.comprehensions / max(1, counts.code_lines)
    vague = 100 * counts.vague_names / max(1, counts.names)
    return (
        f"{name:24} {len(counts.densities):9} {density:10.1f} {long_lines:9.1f} "
        f"{comprehensions:14.1f} {vague:7.1f} {len(counts.long_functions):9}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each folder, the sum of all, and the names of the long functions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("regiontalk")])
    folders = parser.parse_args(arguments).folders
    by_folder: defaultdict[str, Counts] = defaultdict(Counts)
    total = Counts()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            counts = count_file(path)
            inner = path.relative_to(folder).parts[:-1]
            by_folder["/".join([folder.name, *inner[:1]])].add(counts)
            total.add(counts)
    print(
        f"{'folder':24} {'functions':>9} {'nodes/line':>10} {'> 100 (%)':>9} "
        f"{'compr./100 l.':>14} {'vague %':>7} {'> 250':>9}"
    )
    for name, counts in sorted(by_folder.items()):
        print(row(name, counts))
    print(row("all", total))
    for line in total.long_functions:
        print("over 250 nodes:", line)


if __name__ == "__main__":
    main()

"""Who may import whom (docs/design.md).

Reads every import of the package and fails on an arrow that points up.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "regiontalk"

# First name under regiontalk -> its layer. Packages and files are alike here.
LAYERS = {
    **dict.fromkeys(
        ("records", "boxes", "text", "images", "files", "deprecation"),
        "values",
    ),
    "regions": "regions",
    "align": "align",
    "generate": "generate",
    "datasets": "datasets",
    "metrics": "metrics",
    "model": "model",
    "runtime": "runtime",
    "drawing": "drawing",
    "captioner": "facade",
    **dict.fromkeys(("export", "video"), "results"),
    **dict.fromkeys(("objects", "index", "scale"), "uses"),
    **dict.fromkeys(("train", "evaluate"), "learning"),
    "serve": "serve",
    **dict.fromkeys(("cli", "__main__"), "cli"),
    "__init__": "names",
}
STAGES = {"values", "regions", "align", "generate"}
INSIDE = STAGES | {
    "datasets",
    "metrics",
    "drawing",
    "model",
    "runtime",
    "facade",
    "results",
    "uses",
    "learning",
}
# Each layer may also import itself. Only the edges use the public names, so that `import
# regiontalk` has no cycle.
ALLOWED = {
    "values": set(),
    "regions": {"values"},
    "align": {"values"},
    "generate": {"values"},
    "datasets": {"values"},
    "metrics": {"values"},
    "drawing": {"values"},
    "results": {"values", "regions"},
    "model": STAGES,
    "runtime": STAGES | {"model"},
    "facade": STAGES | {"model", "runtime"},
    "uses": STAGES | {"model", "runtime", "drawing", "facade"},
    "learning": INSIDE,
    "serve": (INSIDE - {"learning"}) | {"names"},
    "cli": INSIDE | {"serve", "names"},
    "names": STAGES | {"model", "runtime", "drawing", "facade"},
}


def imported(source: str, module: str) -> Iterator[str]:
    """Full names of the package's own modules that a source imports, lazy imports included.

    Args:
        source: Python text.
        module: its dotted name ("regiontalk.regions.cache"; a package's own file ends in
            ".__init__").
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (
                alias.name
                for alias in node.names
                if alias.name.split(".")[0] == "regiontalk"
            )
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from regiontalk import boxes` names a module, or a public name of the package
            if base == "regiontalk":
                yield from (f"{base}.{alias.name}" for alias in node.names)
            elif base.startswith("regiontalk."):
                folder = PACKAGE.parent.joinpath(*base.split("."))
                # of a package, a module in it or a name of its __init__
                for alias in node.names:
                    is_module = (folder / f"{alias.name}.py").exists()
                    yield f"{base}.{alias.name}" if is_module else base


def layer(module: str) -> str:
    """The layer of a dotted module name.

    A name that is no module of the package is one of its public names.
    """
    parts = module.split(".")
    first = parts[1] if len(parts) > 1 else "__init__"
    if first not in LAYERS:
        if (PACKAGE / f"{first}.py").exists() or (PACKAGE / first).is_dir():
            raise KeyError(
                f"{module}: give {first!r} a layer in LAYERS (docs/design.md says which there are)"
            )
        return "names"
    return LAYERS[first]


def upward(source: str, module: str) -> list[str]:
    """The imports of a source that its layer does not allow, as "from -> to"."""
    own = layer(module)
    return [
        f"{module} -> {name}"
        for name in imported(source, module)
        if layer(name) not in {own, *ALLOWED[own]}
    ]


@pytest.mark.parametrize(
    "path",
    sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_arrow_points_up(path: Path) -> None:
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    assert upward(path.read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    ("source", "module", "bad"),
    [
        pytest.param(
            "from regiontalk.records import Regions",
            "regiontalk.regions.cache",
            0,
            id="down",
        ),
        pytest.param(
            "import torch, regiontalk.boxes",
            "regiontalk.align.score",
            0,
            id="plain import",
        ),
        pytest.param(
            "from regiontalk.align import score",
            "regiontalk.align.loss",
            0,
            id="own layer",
        ),
        pytest.param(
            "from regiontalk.align import score",
            "regiontalk.generate.model",
            1,
            id="stage to stage",
        ),
        pytest.param(
            "def f():\n    import regiontalk.train.loop",
            "regiontalk.drawing",
            1,
            id="lazy import counts",
        ),
        pytest.param(
            "from ..align import score", "regiontalk.regions.cache", 1, id="relative"
        ),
        pytest.param(
            "from . import proposals",
            "regiontalk.regions.__init__",
            0,
            id="relative, in a package file",
        ),
        pytest.param(
            "from .records import Regions",
            "regiontalk.drawing",
            0,
            id="relative, one dot",
        ),
        pytest.param(
            "from regiontalk import evaluate",
            "regiontalk.captioner",
            1,
            id="module from the package",
        ),
        pytest.param(
            "from regiontalk import RegionCaptioner",
            "regiontalk.cli.main",
            0,
            id="edge uses public names",
        ),
        pytest.param(
            "from regiontalk.cli import options",
            "regiontalk.serve.app",
            1,
            id="serve imports cli",
        ),
        pytest.param(
            "from regiontalk.train.session import Session",
            "regiontalk.serve.teaching",
            1,
            id="serve trains",
        ),
        pytest.param(
            "from regiontalk.captioner import RegionCaptioner",
            "regiontalk.export.table",
            1,
            id="an export uses the model",
        ),
        pytest.param(
            "from regiontalk import RegionCaptioner",
            "regiontalk.drawing",
            1,
            id="facade uses public names",
        ),
        pytest.param(
            "from regiontalk.datasets import toy",
            "regiontalk.model",
            1,
            id="facade reads a data set",
        ),
        pytest.param(
            "from regiontalk.metrics import captions",
            "regiontalk.evaluate",
            0,
            id="evaluate measures",
        ),
        pytest.param(
            "from regiontalk.metrics import captions",
            "regiontalk.datasets.toy",
            1,
            id="data set measures",
        ),
    ],
)
def test_upward(source: str, module: str, bad: int) -> None:
    assert len(upward(source, module)) == bad


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others.

    They are Tarjan's strongly connected parts.

    Args:
        imports: module -> modules that it imports.
    """
    reached = {module: reachable(module, imports) for module in imports}
    groups = {
        tuple(
            sorted(
                other
                for other in reached[module]
                if module in reached.get(other, set())
            )
        )
        for module in imports
    }
    return [list(group) for group in sorted(groups) if group]


def reachable(module: str, imports: dict[str, set[str]]) -> set[str]:
    """The modules that a module imports, and those that they import, and so on."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        fresh = imports.get(waiting.pop(), set()) - seen
        seen |= fresh
        waiting += fresh
    return seen


def package_imports() -> dict[str, set[str]]:
    """Module -> modules of the package that it imports when it runs, lazy imports included."""
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }
    imports: dict[str, set[str]] = {}
    for module, path in names.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
            if ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = [ast.Pass()]
        targets = set(imported(ast.unparse(tree), module))
        targets |= {f"{target}.__init__" for target in targets}
        imports[module] = targets & set(names)
    return imports


def test_no_module_imports_itself_through_others() -> None:
    assert circles(package_imports()) == []


def test_a_module_imported_from_its_package_is_counted() -> None:
    module = "regiontalk.generate.model"
    assert list(imported("from regiontalk.align import score", module)) == [
        "regiontalk.align.score"
    ]
    assert list(imported("from regiontalk.align import nothing", module)) == [
        "regiontalk.align"
    ]


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [
        ["a", "b", "c"]
    ]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_unknown_module_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "novelty.py").touch()
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    with pytest.raises(KeyError, match="give 'novelty' a layer"):
        layer("regiontalk.novelty")


TORCH_FREE = (
    "captioner text drawing datasets evaluate export images index metrics scale serve video"
).split()


def loaded_at_import(path: Path) -> set[str]:
    """What a file imports when it is imported itself.

    Modules, and the names from them as if they were modules.
    """
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {
                node.module,
                *(f"{node.module}.{alias.name}" for alias in node.names),
            }
    return names


def test_torch_is_loaded_only_where_models_are_trained() -> None:
    imports = {
        ".".join(
            path.relative_to(PACKAGE.parent).with_suffix("").parts
        ): loaded_at_import(path)
        for path in PACKAGE.rglob("*.py")
    }
    free = [module for module in imports if (module.split(".") * 2)[1] in TORCH_FREE]
    assert len(free) > 60
    assert [module for module in free if "torch" in reachable(module, imports)] == []

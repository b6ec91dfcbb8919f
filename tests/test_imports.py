"""Imports go one way, and only to the packages that the project depends on."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = [
    ["engine"],
    ["nn"],
    ["data"],
    ["train"],
    ["transfer", "compress", "explain", "attack"],
    ["export"],
    ["figures"],
    ["classroom"],
    ["lessons"],
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
BETWEEN_CHAPTERS: set[tuple[str, str]] = set()  # (from, to) if one chapter needs the mathematics of another
RUNTIME = {"numpy", "numba", "scipy", "matplotlib", "hypothesis", "tqdm", "threadpoolctl", "PIL"}
FIGURES_ONLY = {"matplotlib", "cycler", "IPython"}  # cycler comes with Matplotlib, IPython with notebooks
EXPORT_ONLY = {"onnx", "onnxruntime"}  # from the extra "onnx"; imports are inside functions
BOOK_ONLY = {"jupytext"}  # the extra "book"

FILES = [*(ROOT / "minidl").rglob("*.py"), *(ROOT / "lessons").rglob("*.py")]


def room_of(module: str) -> str:
    """minidl.nn.layers -> nn, lessons.exercises -> lessons; the package itself shows the engine's names."""
    parts = module.split(".")
    if parts[0] == "lessons":
        return "lessons"
    return parts[1] if len(parts) > 1 else "engine"


def imports_of(source: str):
    """(module, line) of every import that runs, wherever it stands; those for type checkers alone do not."""
    tree = ast.parse(source)
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            if node.module == "minidl":
                names = [name.name for name in node.names]
                yield from ((f"minidl.{name}" if name in RANK else "minidl", node.lineno) for name in names)
            else:
                yield node.module, node.lineno


def wrong_arrows(room: str, source: str, is_book: bool = False) -> list[str]:
    wrong = []
    for module, line in imports_of(source):
        top = module.split(".")[0]
        if top not in ("minidl", "lessons"):
            if top in FIGURES_ONLY and room != "figures":
                wrong.append(f"line {line}: only figures imports {top}")
            elif (top in EXPORT_ONLY and room in ("export", "lessons")) or (top in BOOK_ONLY and is_book):
                continue
            elif top not in RUNTIME | FIGURES_ONLY | sys.stdlib_module_names:
                wrong.append(f"line {line}: {top} is no run-time dependency")
            continue
        target = room_of(module)
        sideways = RANK[target] == RANK[room] and target != room
        if RANK[target] > RANK[room] or (sideways and (room, target) not in BETWEEN_CHAPTERS):
            wrong.append(f"line {line}: {room} may not import {target}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package_root = parts == ("minidl", "__init__")
    room = "engine" if is_package_root else room_of(".".join(parts))
    assert wrong_arrows(room, path.read_text(encoding="utf-8"), is_book="book" in parts) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("engine", "from minidl.nn import Module"),
        ("engine", "from minidl import nn"),
        ("engine", "def f():\n    import minidl.nn.layers"),
        ("nn", "from minidl.data.digits import load_digits"),
        ("train", "from minidl.figures import curves"),
        ("explain", "from minidl.attack.gradient_sign import fgsm"),
        ("classroom", "import lessons.exercises"),
        ("classroom", "import matplotlib.pyplot as plt"),
        ("nn", "import torch"),
        ("compress", "import onnx"),
        ("classroom", "import jupytext"),
    ],
)
def test_an_import_the_other_way_is_seen(room, source):
    assert len(wrong_arrows(room, source)) == 1


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("lessons", "from minidl import Tensor, grad, nn\nimport minidl.figures"),
        ("engine", "if TYPE_CHECKING:\n    from minidl.nn import Module\nimport minidl.engine.op, os, numpy"),
        ("figures", "def draw():\n    import matplotlib"),
        ("export", "def write():\n    import onnx"),
    ],
)
def test_an_import_the_right_way_is_left_alone(room, source):
    assert wrong_arrows(room, source) == []


def test_importing_minidl_imports_no_heavy_package():
    heavy = sorted(RUNTIME - {"numpy"})
    script = f"import sys, minidl; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


# ---- circles


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "minidl").rglob("*.py")
}
# Imports inside a function that may close a circle: (importer, imported) -> why this does no harm.
ALLOWED_CIRCLES: dict[tuple[str, str], str] = {}


def modules_imported_by(source: str) -> set[str]:
    """The modules of minidl that a module imports, at its top or inside its functions."""
    found = set()
    for node in running_imports(source):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        else:
            full = [f"{node.module}.{name.name}" for name in node.names]
            found |= {name if name in MODULES else node.module for name in full}
    return found & set(MODULES)


def running_imports(source: str):
    tree = ast.parse(source)
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in skipped:
            yield node


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """The modules of a circle, the first one again at the end; empty if there is none."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(imports.get(module, ())):
            circle = walk(target, [*path, module])
            if circle:
                return circle
        done.add(module)
        return []

    return next((circle for module in sorted(imports) if (circle := walk(module, []))), [])


def test_no_module_of_minidl_imports_itself_in_a_circle():
    imports = {name: modules_imported_by(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
    for importer, imported in ALLOWED_CIRCLES:
        assert imported in imports[importer], "an exception that is needed no more"
        imports[importer].discard(imported)
    assert circle_in(imports) == []


def test_a_circle_is_seen():
    assert circle_in({"a": {"b", "c"}, "b": {"d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert modules_imported_by("def f():\n    from minidl.nn import init") == {"minidl.nn.init"}
    assert modules_imported_by("from minidl.nn.module import Module") == {"minidl.nn.module"}


def test_value_imports_nothing_of_the_package():
    assert modules_imported_by(MODULES["minidl.engine.value"].read_text(encoding="utf-8")) == set()


# ---- names


PACKAGES = sorted(path.parent.name for path in (ROOT / "minidl").glob("*/__init__.py"))


def test_no_name_of_a_package_hides_a_module_of_the_same_name():
    script = (
        "import importlib, minidl, pkgutil, types\n"
        "walked = list(pkgutil.walk_packages(minidl.__path__, 'minidl.'))\n"
        "for module in walked:\n"
        "    importlib.import_module(module.name)\n"
        "for module in walked:\n"
        "    package, _, name = module.name.rpartition('.')\n"
        "    bound = getattr(importlib.import_module(package), name)\n"
        "    if not isinstance(bound, types.ModuleType): print(module.name)\n"
        "print('compress.integer' in {module.name[7:] for module in walked})"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.split() == ["True"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_an_attribute_of_minidl_and_brings_nothing_heavy(package):
    script = (
        f"import sys, minidl; assert '{package}' in dir(minidl); print(minidl.{package}.__name__, "
        "*[name for name in ('numba', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    name, *loaded = run.stdout.split()
    assert name == f"minidl.{package}"
    assert loaded == [] or package == "figures"


def test_an_unknown_name_is_an_attribute_error():
    import minidl

    with pytest.raises(AttributeError, match="module 'minidl' has no attribute 'vision'"):
        _ = minidl.vision
    with pytest.raises(ImportError):
        exec("from minidl import vision", {})


def test_every_module_is_reachable_by_its_dotted_name():
    rooms = [room for rooms in ORDER[:-2] for room in rooms]
    paths = [path for room in rooms for path in (ROOT / "minidl" / room).rglob("*.py")]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths
    ]
    code = f"import minidl\nfor name in {sorted(names)}:\n    assert eval(name).__name__ == name, name"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_of_a_package_is_refused_by_name():
    for room in ("compress", "figures", "nn", "train", "transfer"):
        with pytest.raises(AttributeError, match=f"module 'minidl.{room}' has no attribute 'nosuch'"):
            _ = importlib.import_module(f"minidl.{room}").nosuch

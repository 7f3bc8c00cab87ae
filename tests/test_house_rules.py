"""Rules on the imports of the package, checked in its syntax trees.

1. operators, priors, solvers, dynamics and learning are PyTorch only, without xarray or
   dask; fields, verbs and the accessor do no maths; only tiling/graph.py builds graphs; only
   device.py names cupy or torch.cuda.
2. Importing xinverse, or any module outside the five PyTorch packages, is fast and imports
   neither torch nor any other heavy library.
3. Imports have no cycles, deferred imports included.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xinverse"
FILES = sorted(PACKAGE.rglob("*.py"))

TORCH_PACKAGES = {"operators", "priors", "solvers", "dynamics", "learning"}
LABEL_MODULES = {"fields", "verbs", "accessor.py"}

GRAPH_MODULES = {
    "dask.array.blockwise",
    "dask.array.overlap",
    "dask.blockwise",
    "dask.delayed",
    "dask.graph_manipulation",
    "dask.highlevelgraph",
    "dask.layers",
    "dask._task_spec",
}
GRAPH_WORDS = {
    "apply_gufunc",
    "blockwise",
    "delayed",
    "from_delayed",
    "from_map",
    "HighLevelGraph",
    "map_blocks",
    "map_overlap",
}
MATHS_MODULES = {"cupy", "numpy.fft", "numpy.linalg", "scipy", "sklearn", "torch"}
# Names that any object may have, such as x.dot(y) ...
MATHS_WORDS = {
    "convolve",
    "correlate",
    "dot",
    "einsum",
    "fft",
    "linalg",
    "matmul",
    "tensordot",
}
# ... and names that count only with a library, since log and gradient are common names.
FUNCTION_LIBRARIES = {"math", "np", "numpy", "xr", "xarray"}
FUNCTION_WORDS = {"exp", "gradient", "interp", "log", "log10"}
FUNCTIONS = {f"{library}.{word}" for library in FUNCTION_LIBRARIES for word in FUNCTION_WORDS}
HEAVY = {
    "cf_xarray",
    "cmocean",
    "cupy",
    "dask.array",
    "dask.distributed",
    "distributed",
    "lightning",
    "matplotlib",
    "pooch",
    "safetensors",
    "scipy",
    "sklearn",
    "torch",
    "tqdm",
}
IMPORT_BUDGET = 0.5  # of the time to import xarray: 0.3 s for 0.6 s on two cores


def top(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def is_within(module: str, packages: set[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in packages)


def imports(path: Path, module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, at any depth, with its line.

    ``from a import b`` counts as ``a`` and as ``a.b``, since b may be a module.
    """
    here = ("xinverse", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else ()
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, source
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def dotted(node: ast.expr) -> str:
    """Return ``torch.cuda.is_available`` from its tree; an empty string for other trees."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return ""


def words(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name and attribute that a file uses or imports, with its line."""
    for node in ast.walk(module):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, alias.name


def place(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def test_torch_packages_import_no_labels_or_graphs():
    found = [
        place(path, line, name)
        for path in FILES
        if top(path) in TORCH_PACKAGES
        for line, name in imports(path, tree(path))
        if is_within(
            name,
            {"cf_xarray", "dask", "distributed", "xarray", "zarr"}
            | {f"xinverse.{label.removesuffix('.py')}" for label in LABEL_MODULES}
            | {"xinverse.tiling"},
        )
    ]
    assert not found


def test_sampling_designs_import_no_labels_or_graphs():
    found = [
        place(path, line, name)
        for path in FILES
        if top(path) == "sampling"
        for line, name in imports(path, without_types(tree(path)))
        if is_within(name, {"cf_xarray", "dask", "xarray", "zarr", "xinverse.verbs"})
    ]
    assert not found


def test_labelled_modules_do_no_maths():
    forbidden = MATHS_MODULES | {f"xinverse.{package}" for package in TORCH_PACKAGES}
    found = []
    for path in FILES:
        if top(path) not in LABEL_MODULES:
            continue
        module = tree(path)
        found += [
            place(path, line, name)
            for line, name in imports(path, module)
            if is_within(name, forbidden) or name in FUNCTIONS
        ]
        found += [
            place(path, line, word) for line, word in words(module) if word in MATHS_WORDS
        ]
        found += [
            place(path, node.lineno, dotted(node))
            for node in ast.walk(module)
            if isinstance(node, ast.Attribute) and dotted(node) in FUNCTIONS
        ]
        found += [
            place(path, node.lineno, "@")
            for node in ast.walk(module)
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult)
        ]
    assert not found


def test_accessor_methods_have_one_line():
    accessor = PACKAGE / "accessor.py"
    if not accessor.exists():
        pytest.skip("there is no accessor yet")
    long = [
        place(accessor, method.lineno, method.name)
        for group in ast.walk(tree(accessor))
        if isinstance(group, ast.ClassDef)
        for method in group.body
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
        if len(_beyond_imports(method)) != 1
    ]
    assert not long


def _beyond_imports(method: ast.FunctionDef) -> list[ast.stmt]:
    body = method.body[1:] if ast.get_docstring(method) is not None else method.body
    return [line for line in body if not isinstance(line, ast.Import | ast.ImportFrom)]


def test_only_tiling_graph_builds_graphs():
    found = []
    for path in FILES:
        if path == PACKAGE / "tiling" / "graph.py":
            continue
        module = tree(path)
        found += [
            place(path, line, name)
            for line, name in imports(path, module)
            if is_within(name, GRAPH_MODULES)
        ]
        if any(is_within(name, {"dask", "xarray"}) for _, name in imports(path, module)):
            found += [
                place(path, line, word) for line, word in words(module) if word in GRAPH_WORDS
            ]
            found += [
                place(path, node.lineno, "apply_ufunc with core dimensions")
                for node in ast.walk(module)
                # Cell by cell it builds no more of a graph than the sum of two arrays.
                if isinstance(node, ast.Call)
                and dotted(node.func).endswith("apply_ufunc")
                and any((keyword.arg or "").endswith("core_dims") for keyword in node.keywords)
            ]
    assert not found


def test_only_device_names_cupy_and_cuda():
    found = []
    for path in FILES:
        if path == PACKAGE / "device.py":
            continue
        module = tree(path)
        found += [
            place(path, line, name)
            for line, name in imports(path, module)
            if is_within(name, {"cupy", "cupyx", "torch.backends", "torch.cuda"})
        ]
        for node in ast.walk(module):
            if isinstance(node, ast.Attribute) and (
                node.attr in {"cuda", "cudnn"} or dotted(node).startswith("cupy")
            ):
                found.append(place(path, node.lineno, dotted(node)))
            # importlib.import_module("cupy"), sys.modules.get("torch.cuda") ...
            if isinstance(node, ast.Constant) and node.value in {"cupy", "torch.cuda"}:
                found.append(place(path, node.lineno, repr(node.value)))
    assert not found


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING")


def without_types(module: ast.Module) -> ast.Module:
    """The tree without blocks under TYPE_CHECKING, which are never run."""

    class Without(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            self.generic_visit(node)
            return node.orelse if is_for_types(node) else node

    stripped: ast.Module = Without().visit(module)
    return stripped


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Imports of each module from the package, deferred imports included.

    Importing a module runs the packages above it, so these count too, except its own.
    """
    names = {module_name(path) for path in FILES}
    graph: dict[str, set[str]] = {}
    for path in FILES:
        name = module_name(path)
        found = set()
        for _, wanted in imports(path, without_types(tree(path))):
            parts = wanted.split(".")
            found |= {".".join(parts[:length]) for length in range(2, len(parts) + 1)}
        own = {other for other in names if f"{name}.".startswith(f"{other}.")}
        graph[name] = (found & names) - own
    return graph


def package_of(module: str) -> str:
    """The top-level package or module that contains a module."""
    return ".".join(module.split(".")[:2])


def package_graph(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    result: dict[str, set[str]] = {}
    for module, found in graph.items():
        others = {package_of(other) for other in found} - {package_of(module)}
        result.setdefault(package_of(module), set()).update(others)
    return result


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += new
    return seen


def cycles(graph: dict[str, set[str]]) -> set[str]:
    """The nodes on a cycle."""
    return {node for node in graph if node in reached(graph, node)}


def test_imports_have_no_cycles():
    """Neither between modules nor between top-level packages."""
    graph = import_graph()
    assert not cycles(graph)
    assert not cycles(package_graph(graph))


def test_cycles_are_found(tmp_path, monkeypatch):
    package = tmp_path / "xinverse"
    texts = {
        "__init__.py": "from xinverse.a.one import f",
        "a/__init__.py": "",
        "a/one.py": "def f():\n    from xinverse.b import two",
        "a/other.py": "",
        "b/__init__.py": "",
        "b/two.py": "if TYPE_CHECKING:\n    import xinverse.a.one",
    }
    for name, text in texts.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    files = [package / name for name in texts]
    for name, value in {"ROOT": tmp_path, "PACKAGE": package, "FILES": files}.items():
        monkeypatch.setitem(globals(), name, value)
    assert not cycles(import_graph())
    assert not cycles(package_graph(import_graph()))
    (package / "b/two.py").write_text("from xinverse.a import other")
    assert not cycles(import_graph())
    assert cycles(package_graph(import_graph())) == {"xinverse.a", "xinverse.b"}
    (package / "b/two.py").write_text("import xinverse.a.one")
    assert cycles(import_graph()) == {"xinverse.a.one", "xinverse.b.two"}


# Past some ten parameters they are an object. These take what a user may pass to a verb.
LONGEST = 13
VERB_SIGNATURES = {
    ("accessor.py", "design_sampling"),
    ("accessor.py", "interpolate"),
    ("verbs/call.py", "of"),
    ("verbs/design_sampling.py", "design_sampling"),
    ("verbs/interpolate.py", "interpolate"),
}


def parameters(function: ast.FunctionDef) -> int:
    taken = function.args
    named = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]
    return len(named) + (taken.vararg is not None) + (taken.kwarg is not None)


def test_no_function_takes_many_parameters():
    found = [
        place(path, node.lineno, f"{node.name}: {parameters(node)} parameters")
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef) and parameters(node) > LONGEST
        if (path.relative_to(PACKAGE).as_posix(), node.name) not in VERB_SIGNATURES
    ]
    assert not found


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_by(modules: list[str]) -> list[str]:
    """Modules that importing these adds to those that xarray imports."""
    code = f"""
import importlib, sys
import xarray
before = set(sys.modules)
for name in {modules!r}:
    importlib.import_module(name)
print("\\n".join(set(sys.modules) - before))
"""
    return run_python(code).split()


def test_importing_xinverse_imports_nothing_heavy():
    assert not sorted(name for name in imported_by(["xinverse"]) if is_within(name, HEAVY))


# Imported when needed: tiling/graph.py, the only module with dask graphs, for lazy input, and
# modules that are PyTorch like the packages that use them.
LATE = {
    "__main__.py",
    "convolution.py",
    "graph.py",
    "linear_systems.py",
    "posterior.py",
    "sampler.py",
    "variational.py",
}


def test_importing_modules_outside_the_torch_packages_imports_nothing_heavy():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if top(path) not in TORCH_PACKAGES and path.name not in LATE
    ]
    assert not sorted(name for name in imported_by(modules) if is_within(name, HEAVY))


def test_importing_xinverse_is_fast():
    """Relative to the import of xarray, in processor time: machines may be slow or busy."""
    code = """
import time
start = time.process_time()
import xarray
middle = time.process_time()
import xinverse
print((time.process_time() - middle) / (middle - start))
"""
    best = min(float(run_python(code)) for _ in range(5))
    assert best < IMPORT_BUDGET


@pytest.mark.parametrize(
    ("rule", "where", "line"),
    [
        (test_torch_packages_import_no_labels_or_graphs, "priors/a.py", "import xarray as xr"),
        (test_torch_packages_import_no_labels_or_graphs, "solvers/a.py", "from dask import x"),
        (
            test_torch_packages_import_no_labels_or_graphs,
            "learning/a.py",
            "from .. import tiling",
        ),
        (test_labelled_modules_do_no_maths, "fields/a.py", "from torch import nn"),
        (test_labelled_modules_do_no_maths, "fields/a.py", "np.linalg.norm(x)"),
        (test_labelled_modules_do_no_maths, "fields/a.py", "np.exp(x)"),
        (test_labelled_modules_do_no_maths, "fields/a.py", "from math import log"),
        (test_labelled_modules_do_no_maths, "verbs/a.py", "a.dot(b)"),
        (test_labelled_modules_do_no_maths, "verbs/a.py", "a @ b"),
        (test_labelled_modules_do_no_maths, "verbs/a.py", "from ..priors.eof import EOF"),
        (
            test_accessor_methods_have_one_line,
            "accessor.py",
            "class A:\n    def verb(self):\n        x = 1\n        return x",
        ),
        (
            test_only_tiling_graph_builds_graphs,
            "verbs/a.py",
            "import xarray as xr\nxr.apply_ufunc(f, x, input_core_dims=[['y', 'x']])",
        ),
        (
            test_only_tiling_graph_builds_graphs,
            "tiling/a.py",
            "def f():\n    from dask.highlevelgraph import HighLevelGraph",
        ),
        (
            test_no_function_takes_many_parameters,
            "verbs/a.py",
            f"def f({', '.join(f'p{k}' for k in range(14))}):\n    pass",
        ),
        (test_only_device_names_cupy_and_cuda, "methods/a.py", "import cupy as cp"),
        (test_only_device_names_cupy_and_cuda, "solvers/a.py", "torch.cuda.synchronize()"),
        (test_only_device_names_cupy_and_cuda, "solvers/a.py", "f().cuda()"),
        (test_only_device_names_cupy_and_cuda, "fields/a.py", 'import_module("cupy")'),
    ],
)
def test_the_rules_find_violations(rule, where, line, tmp_path, monkeypatch):
    package = tmp_path / "xinverse"
    offender = package / where
    offender.parent.mkdir(parents=True, exist_ok=True)
    offender.write_text(line + "\n")
    for name, value in {"ROOT": tmp_path, "PACKAGE": package, "FILES": [offender]}.items():
        monkeypatch.setitem(globals(), name, value)
    with pytest.raises(AssertionError, match=offender.name):
        rule()

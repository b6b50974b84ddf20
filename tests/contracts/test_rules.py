"""The rules of the house, read off the source of every module there is.

A rule is a function from a parsed module to what breaks it, as "line: what"; all of them run over
all files. Below them stand the few rules that need an import.
"""

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auricle.config import Settings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "auricle"
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    "errors results config files",
    (
        "audio text labels metrics label_metrics verification spotting drawing"
        " hysteresis segments segment_metrics"
    ),
    "features fourier augment activity",
    "data corpora doctor decode lm pronounce align batches mixtures models losses parallel",
    (
        "bundle vocabulary engine cutting runtime classifier clips segmenter voices stream aligner"
        " variants tune train run origin checkpoint export plot report explore"
    ),
    "tasks",
    "serve cli __init__ __main__",
]
LEVEL = {part: level for level, layer in enumerate(LAYERS) for part in layer.split()}

LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 600, 49, 12
HEAVY = {"torch", "onnxruntime", "onnx", "sentencepiece", "scipy", "librosa", "av", "tensorboard"}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@dataclass(frozen=True)
class Module:
    name: str  # without the leading "auricle."
    part: str  # the file or folder right below the package: what has a layer
    tree: ast.Module
    lines: int


@functools.cache
def parse(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    inside = path.relative_to(PACKAGE).with_suffix("")
    words = inside.parts[:-1] if inside.name == "__init__" else inside.parts
    part = words[0] if words else "__init__"
    return Module(".".join(words), part, ast.parse(text, str(path)), text.count("\n"))


MODULES = [parse(path) for path in FILES]
NAMES = {module.name for module in MODULES}
IMPORTABLE = sorted(NAMES - {"", "__main__"})

# --- what a module imports ---------------------------------------------------------------------


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import, lazy ones and `"auricle.x"` strings too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = f"auricle.<relative>.{node.module}" if node.level else str(node.module)
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.fullmatch(r"(auricle(?:\.\w+)+)(?::\w+)?", node.value)
            if found:
                yield node.lineno, found[1]


def our_imports(module: Module) -> Iterator[tuple[int, str]]:
    """The imports from this package, without the leading "auricle."."""
    for line, name in imports(module):
        top, _, inside = name.partition(".")
        if top == "auricle" and inside and inside != "__version__":
            yield line, inside


def imports_run_downward(module: Module) -> Iterator[str]:
    for line, name in our_imports(module):
        part = name.split(".")[0]
        if part not in LEVEL:
            yield f"{line}: {name} has no layer; import modules by their absolute names"
        elif LEVEL[part] > LEVEL[module.part]:
            yield f"{line}: {module.part} imports {part}, which lies above it"


def tasks_are_leaves(module: Module) -> Iterator[str]:
    if module.part == "tasks" and module.name != "tasks":
        for line, name in our_imports(module):
            other = name.split(".")
            if other[0] == "tasks" and other[:2] != module.name.split(".")[:2]:
                yield f"{line}: a task imports {name}"


def only_audio_changes_rates(module: Module) -> Iterator[str]:
    for line, name in imports(module):
        if name.split(".")[0] in {"soxr", "resampy", "samplerate"} and module.name != "audio":
            yield f"{line}: {name}; use audio.resample"


def nothing_is_unpickled(module: Module) -> Iterator[str]:
    for line, name in imports(module):
        if name.split(".")[0] in UNPICKLERS or name == "torch.load":
            yield f"{line}: {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
            yield f"{node.lineno}: torch.load"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            yield f"{node.value.lineno}: allow_pickle; numpy's default is never to"


@functools.cache
def task_names() -> frozenset[str]:
    if "tasks" not in NAMES:
        return frozenset()
    return frozenset(importlib.import_module("auricle.tasks").TASKS)


def the_spine_knows_no_task(module: Module) -> Iterator[str]:
    # Manifests have columns that are called like tasks: a clip, its speaker.
    if LEVEL[module.part] < LEVEL["tasks"] and module.part not in ("data", "report"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and node.value in task_names():
                yield f"{node.lineno}: the name of a task, {node.value!r}"


# --- sizes and shapes --------------------------------------------------------------------------


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def files_are_short(module: Module) -> Iterator[str]:
    if module.lines > LONGEST_FILE:
        yield f"1: {module.lines} lines, {LONGEST_FILE} at most"


def functions_are_short(module: Module) -> Iterator[str]:
    """From `def` to the last line; the docstring does not count, so that nobody saves on it."""
    for node in functions(module):
        first = node.body[0]
        documented = ast.get_docstring(node) is not None
        docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
        lines = (node.end_lineno or 0) - node.lineno + 1 - docstring
        if lines > LONGEST_FUNCTION:
            yield f"{node.lineno}: {node.name} has {lines} lines, {LONGEST_FUNCTION} at most"


def parameters_are_few(module: Module) -> Iterator[str]:
    for node in functions(module):
        a = node.args
        names = [
            arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if arg
        ]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > MOST_PARAMETERS:
            yield f"{node.lineno}: {node.name} takes {count} parameters; pass a frozen dataclass"


def _base(node: ast.expr) -> str:
    node = node.value if isinstance(node, ast.Subscript) else node  # Generic[T] -> Generic
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)


def classes(module: Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)}


@functools.cache
def heirs() -> frozenset[str]:
    """The classes that inherit from a class of ours."""
    ours = {name: node for module in MODULES for name, node in classes(module).items()}
    return frozenset(n for n, node in ours.items() if any(_base(b) in ours for b in node.bases))


def inheritance_is_one_deep(module: Module) -> Iterator[str]:
    for name, node in classes(module).items():
        for base in node.bases:
            if _base(base) in heirs():
                yield f"{node.lineno}: {name} inherits from {_base(base)}, itself an heir"


# --- manners -----------------------------------------------------------------------------------


def no_bare_except(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{node.lineno}: a bare except"


def only_the_command_line_prints(module: Module) -> Iterator[str]:
    if module.part == "cli":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == "print":
            yield f"{node.lineno}: print"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.stdout", "sys.stderr"}:
            yield f"{node.lineno}: {ast.unparse(node)}"


def importing_only_defines(module: Module) -> Iterator[str]:
    """At the top level no call for its effect, and no assignment into somebody else's object."""
    if module.part in {"cli", "__main__"}:
        return
    blocks = [module.tree.body]
    blocks += [n.body for n in ast.walk(module.tree) if isinstance(n, ast.ClassDef)]
    for node in (statement for block in blocks for statement in block):
        called = node.value if isinstance(node, ast.Expr) else None
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(called, ast.Call | ast.Await):
            yield f"{node.lineno}: {ast.unparse(called)} runs at import"
        for target in targets:
            if isinstance(target, ast.Attribute | ast.Subscript):
                yield f"{node.lineno}: {ast.unparse(target)} is set at import"


RULES: list[Callable[[Module], Iterator[str]]] = [
    imports_run_downward,
    tasks_are_leaves,
    the_spine_knows_no_task,
    only_audio_changes_rates,
    nothing_is_unpickled,
    files_are_short,
    functions_are_short,
    parameters_are_few,
    inheritance_is_one_deep,
    no_bare_except,
    only_the_command_line_prints,
    importing_only_defines,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_rule(rule: Callable[[Module], Iterator[str]], path: Path) -> None:
    assert list(rule(parse(path))) == []


BREACHES: dict[Callable[[Module], Iterator[str]], tuple[str, str]] = {
    imports_run_downward: ("text", "def f():\n    from auricle.tasks import TASKS"),
    tasks_are_leaves: ("tasks.one", "from auricle.tasks.two import Task"),
    the_spine_knows_no_task: ("train", "if task == 'whistling': pass"),
    only_audio_changes_rates: ("features", "import soxr"),
    nothing_is_unpickled: ("checkpoint", "import torch\nweights = torch.load(path)"),
    files_are_short: ("text", "\n" * 601),
    functions_are_short: ("text", "def f():\n" + "    x = 1\n" * 49),
    parameters_are_few: ("text", "def f(a, b, c, d, e, f, g, h, i, j, k, *l, m): pass"),
    inheritance_is_one_deep: ("augment", "class Mine(AugmentSettings): pass"),
    no_bare_except: ("audio", "try: pass\nexcept: pass"),
    only_the_command_line_prints: ("train", "print(1)"),
    importing_only_defines: ("train", "import torch\ntorch.set_num_threads(1)"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_sees_a_breach(
    rule: Callable[[Module], Iterator[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "task_names", lambda: {"whistling"})
    name, source = BREACHES[rule]
    module = Module(name, name.split(".")[0], ast.parse(source), source.count("\n"))
    assert len(list(rule(module))) == 1


def test_every_part_has_a_layer() -> None:
    assert {module.part for module in MODULES} <= set(LEVEL)


def test_number_fields_have_bounds() -> None:
    """Every int and float among the settings says what it may be."""
    for name in IMPORTABLE:
        importlib.import_module(f"auricle.{name}")
    unbounded, classes = [], [Settings]
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        if cls.__module__.startswith("auricle."):
            for key, field in cls.model_fields.items():
                if field.annotation in (int, float) and not field.metadata:
                    unbounded.append(f"{cls.__module__}.{cls.__name__}.{key}")
    assert unbounded == []


def test_torch_is_pinned_in_one_place() -> None:
    files = [*ROOT.glob("*.*"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile", ROOT / ".ci" / "run"]
    pin = re.compile(rb"torch *(==|~=|<)")
    pinned = [path.name for path in files if path.is_file() and pin.search(path.read_bytes())]
    assert pinned == ["constraints.txt"]


# --- what an import does -----------------------------------------------------------------------

PROBE = """
import importlib, json, logging, os, random, signal, sys, threading, warnings
import numpy, pydantic, rich.console, rich.theme, typer  # what they touch is not our doing

def state():
    return {
        "warning filters": repr(warnings.filters),
        "environment": dict(os.environ),
        "log handlers": repr(logging.getLogger().handlers),
        "log level": logging.getLogger().level,
        "random": repr(random.getstate()),
        "numpy random": repr(numpy.random.get_state()),
        "numpy errors": numpy.geterr(),
        "signals": repr([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]),
        "threads": threading.active_count(),
        "path": list(sys.path),
        "directory": os.getcwd(),
    }

before = state()
importlib.import_module(sys.argv[1])
after = state()
touched = [key for key in before if before[key] != after[key]]
print(json.dumps({"modules": sorted(sys.modules), "touched": touched}))
"""


@pytest.mark.parametrize("name", ["auricle", "auricle.runtime", "auricle.cli"])
def test_import_is_light_and_leaves_no_trace(name: str) -> None:
    command = [sys.executable, "-c", PROBE, name]
    seen = json.loads(subprocess.check_output(command, cwd=PACKAGE.parent, text=True))
    assert HEAVY.isdisjoint(seen["modules"])
    assert seen["touched"] == []

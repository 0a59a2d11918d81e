"""The house's rules: which way imports flow, and what importing does not load."""

import ast
import pathlib
import subprocess
import sys

import pytest

import robustlabels

PACKAGE = pathlib.Path(robustlabels.__file__).parent
TOOLS = {"_composed", "_files", "_progress", "_stopping", "_validate"}
MAY_IMPORT = {
    "_composed": set(),
    "_usage": set(),
    "_validate": set(),
    "_files": set(),
    "_progress": set(),
    "_stopping": set(),
    "losses": set(),
    "analysis": set(),
    "labels": set(),
    "similarity": set(),
    "objective": {"losses"},
    "attacks": {"losses"},
    "corruptions": {"attacks"},
    "parallel": set(),
    "models": {"losses"},
    "data": set(),
    "training": {"data", "models", "objective", "parallel"},
    "evaluation": {
        "analysis",
        "attacks",
        "corruptions",
        "data",
        "losses",
        "objective",
        "parallel",
    },
    "report": {"evaluation", "labels"},
    "matrices": {"data", "losses", "objective", "similarity"},
    "sections": {
        "data",
        "evaluation",
        "labels",
        "losses",
        "matrices",
        "models",
        "objective",
        "training",
    },
    "build": {
        "config_file",
        "data",
        "evaluation",
        "labels",
        "losses",
        "matrices",
        "models",
        "objective",
        "parallel",
        "sections",
        "training",
    },
    "config_file": {"sections"},
    "interop": {"attacks", "evaluation", "objective"},
    "run": {"build", "config_file", "evaluation", "report", "training"},
    "transfer": {
        "build",
        "config_file",
        "data",
        "evaluation",
        "objective",
        "parallel",
        "report",
        "sections",
    },
    "sweep": {"config_file", "evaluation", "report", "run", "training"},
    "comparison": {
        "build",
        "config_file",
        "data",
        "evaluation",
        "report",
        "run",
        "sections",
        "training",
    },
    "cli": {
        "_usage",
        "build",
        "comparison",
        "config_file",
        "data",
        "evaluation",
        "labels",
        "report",
        "run",
        "sections",
        "sweep",
        "training",
        "transfer",
    },
}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path):
    """The parts of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "robustlabels" and rest:
                yield rest.partition(".")[0]


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path):
    part = part_of(path)
    allowed = MAY_IMPORT[part] | TOOLS | {part}
    if part == "cli":
        allowed |= {"__version__"}
    assert set(imported_parts(path)) <= allowed


def test_importing_loads_nothing_that_is_slow():
    slow = ["matplotlib", "orbax", "scipy.stats", "sklearn", "tensorboardX"]
    slow += ["tensorflow_datasets", "tensorflow", "librosa", "espeakng_loader"]
    code = (
        "import robustlabels, robustlabels.cli, robustlabels.labels, sys;"
        f"print([name for name in {slow} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_one_subject(path):
    assert len(path.read_text().splitlines()) <= 400


def test_every_public_name_of_a_module_exists():
    for name in robustlabels.__all__:
        module = getattr(robustlabels, name)
        missing = [n for n in module.__all__ if not hasattr(module, n)]
        assert not missing

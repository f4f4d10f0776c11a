"""Folders are the floors: a module imports only from its own folder and from folders below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import PACKAGE

# From the ground up. Folders on one line do not import each other.
FLOORS = (
    ("text",),
    ("errors", "progress"),
    ("plain_yaml", "resources", "machine", "template", "whole_file"),
    ("config",),
    ("images",),
    ("modeling",),
    ("adaptation",),
    ("library",),
    ("pipeline",),
    ("topics",),
    ("recordings",),
    ("node",),  # what runs on a robot ends here; the desk is above
    ("streetworld",),
    ("evaluation",),
    ("training", "batch", "gaps"),
    ("bench",),
    ("demo", "view"),
    ("cli",),
)
HEIGHT = {folder: height for height, folders in enumerate(FLOORS) for folder in folders}
ROS_FOLDERS = {"node", "demo", "bench", "view"}


def folder_of(module: Path) -> str:
    """The top-level folder or module below semla_ros that a file belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[str]:
    """Dotted names that a module imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_folders(module: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(module) if name.startswith("semla_ros.")} - {"__version__"}


def modules() -> list[Path]:
    return [file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"]


def loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(out.stdout.split())


def every_module_of(folder: str) -> str:
    names = [
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in (PACKAGE / folder).rglob("*.py")
    ]
    return "import " + ", ".join(name.removesuffix(".__init__") for name in names)


@pytest.mark.parametrize("module", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_folder_and_from_folders_below(module: Path) -> None:
    own = folder_of(module)
    assert {each for each in imported_folders(module) - {own} if HEIGHT[each] >= HEIGHT[own]} == set()


def test_only_node_demo_view_and_bench_import_rclpy() -> None:
    importing = {folder_of(file) for file in modules() if any(name.split(".")[0] == "rclpy" for name in imports(file))}
    assert importing == ROS_FOLDERS


def test_importing_the_package_is_light() -> None:
    assert not {"torch", "rclpy", "numpy", "cv2"} & loaded_by("import semla_ros")


def test_adaptation_needs_numpy_alone() -> None:
    loaded = loaded_by(every_module_of("adaptation"))
    assert "numpy" in loaded
    assert not {"torch", "rclpy", "open_clip", "cv2"} & loaded


def test_the_pipeline_runs_without_ros() -> None:
    loaded = loaded_by("import semla_ros.pipeline.build")
    assert "semla_ros.pipeline.pipeline" in loaded
    assert not {name for name in loaded if name.startswith(("rclpy", "sensor_msgs", "semla_ros.node"))}


def test_every_test_file_has_a_name_of_its_own() -> None:
    """In a sourced ROS workspace, launch's pytest plugin imports test files by their name alone."""
    names = [file.name for file in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))

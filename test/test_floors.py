"""A room imports only from the floors below it; only the doors know ROS."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "semla_ros"
GROUND = {"config", "errors", "frame", "classes", "share", "encodings", "machine", "__version__"}
LIBRARY = {"adapters", "bundle", "checkpoints", "library"}
BELOW = {
    "domain": GROUND,
    "modeling": GROUND,
    **dict.fromkeys(LIBRARY, GROUND | LIBRARY | {"domain", "modeling"}),
    "embedder": GROUND | {"modeling"},
    "perception": GROUND | {"domain"},
    **dict.fromkeys(
        ("pipeline", "build"), GROUND | LIBRARY | {"domain", "modeling", "embedder", "perception", "pipeline"}
    ),
    **dict.fromkeys(
        ("streetworld", "training", "evaluation"),
        GROUND | LIBRARY | {"domain", "modeling", "pipeline", "build", "streetworld", "training", "evaluation"},
    ),
    "bench": GROUND | LIBRARY | {"domain", "modeling", "pipeline", "images", "streetworld", "evaluation"},
    "archives": GROUND,
    "catalogue": GROUND,
    "fetching": GROUND | {"catalogue"},
    "importing": GROUND | LIBRARY | {"domain", "modeling", "archives"},
    **dict.fromkeys(GROUND, GROUND),
}
ROS_ROOMS = {"node", "demo"}


def modules(room: str) -> list[Path]:
    folder = PACKAGE / room
    return (
        sorted(file for file in folder.rglob("*.py") if file.stem != "__init__")
        if folder.is_dir()
        else [PACKAGE / f"{room}.py"]
    )


def imports(file: Path) -> Iterator[str]:
    """Dotted names that a module imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def every_import(room: str) -> str:
    return "import " + ", ".join(f"semla_ros.{room}.{file.stem}" for file in modules(room) if file.stem != "__init__")


def loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(out.stdout.split())


@pytest.mark.parametrize("room", sorted(BELOW.keys() - {"__version__"}))
def test_a_room_imports_only_from_below(room: str) -> None:
    for file in modules(room):
        ours = {name.split(".")[1] for name in imports(file) if name.startswith("semla_ros.")}
        assert ours <= BELOW[room] | {room}, file


def test_only_the_doors_import_rclpy() -> None:
    for file in PACKAGE.rglob("*.py"):
        if any(name.split(".")[0] == "rclpy" for name in imports(file)):
            assert file.relative_to(PACKAGE).parts[0] in ROS_ROOMS


def test_the_package_itself_is_light() -> None:
    assert not {"torch", "rclpy", "numpy", "cv2"} & loaded_by("import semla_ros")


def test_the_policy_needs_no_torch() -> None:
    loaded = loaded_by(every_import("domain"))
    assert "numpy" in loaded
    assert not {"torch", "rclpy", "open_clip", "cv2"} & loaded


def test_the_models_know_neither_policy_nor_ros() -> None:
    loaded = loaded_by(every_import("modeling"))
    assert "torch" in loaded
    assert not {name for name in loaded if name.startswith(("semla_ros.domain", "semla_ros.library", "rclpy"))}


def test_the_pipeline_knows_no_ros() -> None:
    loaded = loaded_by("import semla_ros.build")
    assert "semla_ros.pipeline" in loaded
    assert not {name for name in loaded if name.startswith(("rclpy", "sensor_msgs", "semla_ros.node"))}

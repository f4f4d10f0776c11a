"""The built wheel, installed beside nothing but what a plain install names, replays a recording and runs the node."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np
import pytest
from live.process import free_domain
from packaging.requirements import Requirement
from paths import ROOT

LIMIT_S = 300
PARTS = (
    "semla_ros",
    "launch",
    "config",
    "models",
    "resource",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "package.xml",
)
DESK_ONLY = ("open_clip", "torchvision", "transformers", "timm", "peft", "matplotlib")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel, and links to the packages that it requires, the extra "ros" included."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    built = "--no-deps", "--no-build-isolation", "--quiet"
    run(sys.executable, "-m", "pip", "wheel", *built, "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    python = environment / "bin/python"
    run(sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index", "--quiet", wheel)
    (site_packages,) = environment.glob("lib/python3*/site-packages")
    (metadata,) = site_packages.glob("semla_ros-*.dist-info")
    packages = required(Distribution.at(metadata), {"ros"})
    if unlisted := [name for name, package in packages.items() if package.files is None]:
        pytest.skip(f"the system's packages do not list their files, which would be linked: {', '.join(unlisted)}")
    for package in packages.values():
        link(package, site_packages, environment)
    return environment


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the source tree; shows its output where it fails."""
    outside = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=LIMIT_S, env=outside, cwd="/"
    )
    assert options.get("may_fail") or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done


def required(package: Distribution, extras: set[str]) -> dict[str, Distribution]:
    """What a package requires, directly and indirectly, by name."""
    found: dict[str, Distribution] = {}
    waiting = [(package, extras)]
    while waiting:
        requiring, asked = waiting.pop()
        for text in requiring.requires or ():
            requirement = Requirement(text)
            wanted = (
                any(requirement.marker.evaluate({"extra": e}) for e in ("", *asked)) if requirement.marker else True
            )
            if not wanted or requirement.name in found:
                continue
            try:
                found[requirement.name] = distribution(requirement.name)
            except PackageNotFoundError:
                continue  # optional on this platform
            waiting.append((found[requirement.name], requirement.extras))
    return found


def link(package: Distribution, site_packages: Path, environment: Path) -> None:
    """Links a package's top folders into site-packages, and its data files to their place in the environment."""
    for file in package.files or ():
        origin = Path(file.locate())
        if file.parts[0] != "..":
            origin, target = Path(package.locate_file(file.parts[0])), site_packages / file.parts[0]
        elif "share" in file.parts or "lib" in file.parts:
            target = environment / os.path.relpath(os.path.normpath(origin), sys.prefix)
        else:
            continue
        if origin.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.path.realpath(origin))


@pytest.mark.parametrize("module", DESK_ONLY)
def test_a_plain_install_has_no_desk_packages(environment: Path, module: str) -> None:
    done = run(environment / "bin/python", "-c", f"import {module}", may_fail=True)
    assert f"No module named '{module}'" in done.stderr


def test_semla_replay_runs_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    for index in range(3):
        image = np.random.default_rng(index).integers(0, 255, (90, 160, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    done = run(environment / "bin/semla", "replay", tmp_path, "--fps", 10, "-o", tmp_path / "out.mcap")
    assert "3 frames" in done.stdout
    assert (tmp_path / "out.mcap").stat().st_size > 1000


def test_a_command_of_the_desk_names_the_missing_extra(environment: Path) -> None:
    done = run(environment / "bin/semla", "bench", "--quick", "--size", "streetworld", may_fail=True)
    assert done.returncode == 1
    assert "pip install '.[workshop]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_view_names_the_missing_extra_and_its_page_is_in_the_wheel(environment: Path) -> None:
    done = run(environment / "bin/semla", "view", may_fail=True)
    assert done.returncode == 1
    assert "pip install '.[view]'" in done.stderr
    pages = [file.name for file in environment.glob("lib/python3*/site-packages/semla_ros/view/page/*")]
    assert sorted(pages) == sorted(file.name for file in (ROOT / "semla_ros/view/page").iterdir())


@pytest.mark.live
def test_the_node_runs_from_the_wheel(environment: Path) -> None:
    outside = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    with tempfile.TemporaryFile("w+") as log:
        node = subprocess.Popen(
            [environment / "bin/semla_node", "--ros-args", "-p", "model.device:=cpu"],
            stdout=log, stderr=subprocess.STDOUT, cwd="/", env={**outside, "ROS_DOMAIN_ID": str(free_domain())},
        )  # fmt: skip
        try:
            end = time.monotonic() + LIMIT_S
            while "active" not in (shown := read(log)):
                assert node.poll() is None, f"the node ended before it was active: {shown}"
                assert time.monotonic() < end, f"the node was not active after {LIMIT_S} s: {shown}"
                time.sleep(0.2)
            node.send_signal(signal.SIGINT)
            assert node.wait(LIMIT_S) == 0, read(log)
        finally:
            node.kill()
            node.wait()


def read(log: object) -> str:
    """All that was written to a file."""
    log.seek(0)  # type: ignore[attr-defined]
    return log.read()  # type: ignore[attr-defined,no-any-return]

"""The Dockerfiles and the development container: what can be checked without Docker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from paths import ROOT

DOCKERFILES = [ROOT / "docker" / name for name in ("Dockerfile", "Dockerfile.jetson")]
WORKSPACE = {"setup.py", "setup.cfg", "package.xml", "semla_ros", "resource", "launch", "config", "models"}
INSTRUCTIONS = {"ARG", "FROM", "RUN", "ENV", "WORKDIR", "COPY", "ENTRYPOINT", "CMD"}


def instructions(file: Path) -> list[tuple[str, str]]:
    """Name and arguments of each instruction, continued lines joined."""
    lines = "\n".join(line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = [line for line in lines.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined]


def copied(file: Path) -> list[str]:
    return [source for name, words in instructions(file) if name == "COPY" for source in words.split()[:-1]]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_only_known_instructions_are_used(file: Path) -> None:
    assert {name for name, _ in instructions(file)} <= INSTRUCTIONS
    assert instructions(file)[0][0] == "ARG"


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_everything_that_is_copied_exists_and_is_not_ignored(file: Path) -> None:
    ignored = set((ROOT / ".dockerignore").read_text().split())
    for source in copied(file):
        assert (ROOT / source).exists(), source
        assert Path(source).parts[0] not in ignored


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_the_workspace_has_everything_that_setup_installs(file: Path) -> None:
    assert set(copied(file)) >= WORKSPACE
    installs = re.findall(r'(?:glob|installed)\("(\w+)', (ROOT / "setup.py").read_text())
    assert set(installs) <= set(copied(file))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_shell_commands_are_sound(file: Path) -> None:
    for name, words in instructions(file):
        if name == "RUN":
            subprocess.run(["bash", "-n", "-c", words], check=True)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_the_image_starts_the_launch_file_with_its_own_entrypoint_and_profile(file: Path) -> None:
    known = dict(instructions(file))
    package, launch_file = json.loads(known["CMD"])[2:]
    assert (ROOT / "launch" / launch_file).is_file()
    assert package == "semla_ros"
    assert f"docker/entrypoint.sh {json.loads(known['ENTRYPOINT'])[0]}" in file.read_text()
    profile = re.search(r"FASTDDS_DEFAULT_PROFILES_FILE=\S+/share/semla_ros/(\S+)", file.read_text())
    assert profile is not None
    assert (ROOT / profile[1]).is_file()


def test_the_entrypoint_is_an_executable_script() -> None:
    script = ROOT / "docker" / "entrypoint.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111


def test_the_pins_keep_the_installed_torch_and_numpy() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docker" / "pins.py")], capture_output=True, text=True, check=True
    )
    pins = dict(line.split("==") for line in done.stdout.splitlines())
    assert pins["torch"] == version("torch")
    assert pins["numpy"] == version("numpy")
    assert "pytest" not in pins


def test_pip_takes_its_constraints_from_the_pins_in_both_images() -> None:
    for file in DOCKERFILES:
        (installing,) = [words for name, words in instructions(file) if name == "RUN" and "pip install" in words]
        assert "pip install -c docker/pins.txt" in installing


def test_the_development_container_prepares_the_environment_of_the_makefile() -> None:
    made = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert "make .venv/.ready" in made["postCreateCommand"]
    assert made["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"].endswith(".venv/bin/python")
    assert "READY := $(VENV)/.ready" in (ROOT / "Makefile").read_text()

"""The settings of a training in its work folder, so that it is continued with the same ones alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semla_ros.config import flatten
from semla_ros.errors import TrainingError
from semla_ros.whole_file import whole_file

SETTINGS = "settings.json"


def claim(work: Path, settings: Mapping[str, Any], begun: bool = True) -> None:
    """Writes the settings into a new work folder, or compares them with those of the training in it.

    Args:
        work: Work folder; created if missing.
        settings: Everything that the result depends on.
        begun: Whether anything in the folder depends on the settings that it holds; if not, they are replaced.

    Raises:
        OSError: The folder cannot be written.
        TrainingError: The folder holds a training with other settings, or its settings are damaged.
    """
    text = json.dumps(settings, indent=2, default=lambda path: str(path.absolute())) + "\n"
    file = work / SETTINGS
    work.mkdir(parents=True, exist_ok=True)
    if not (begun and file.exists()):
        with whole_file(file) as partial:
            partial.write_text(text)
    before = dict(flatten(_read(file)))
    wanted = dict(flatten(json.loads(text)))
    other = [key for key in before | wanted if before.get(key) != wanted.get(key)]
    if other:
        raise TrainingError(
            "training with other settings", where=work, got=", ".join(f"{key} {before.get(key)}" for key in other),
            expected=", ".join(f"{key} {wanted.get(key)}" for key in other),
            hint="Repeat the command with the same settings to continue it, or delete the folder to start over.",
        )  # fmt: skip


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text())
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise TrainingError(
            "settings of a training that cannot be read", where=file, expected="a JSON object",
            hint="Delete the folder to start over.",
        )  # fmt: skip
    return found

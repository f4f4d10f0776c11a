"""Changes the files of an adapter, as damage or another tool would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from semla_ros.library.adapter_folder import CONFIG, WEIGHTS


def change_weights(adapter: Path, changes: dict[str, Tensor | None]) -> None:
    """Replaces, adds or (None) removes tensors."""
    tensors = load_file(adapter / WEIGHTS) | changes
    save_file({key: value for key, value in tensors.items() if value is not None}, adapter / WEIGHTS)


def change_config(adapter: Path, **changes: Any) -> None:
    """Replaces or adds fields of the configuration."""
    (adapter / CONFIG).write_text(json.dumps(json.loads((adapter / CONFIG).read_text()) | changes))

"""Writes config/semla.yaml from the dataclasses: ``PYTHONPATH=.:test python -m parameter_file``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import Field
from textwrap import wrap
from typing import Any

import yaml
from paths import CONFIG

from semla_ros.config import Config, walk

HEAD = """\
# All parameters of the node with their defaults. A copy of this file, with all or some of the parameters, is given by
# `ros2 launch semla_ros semla.launch.py params_file:=FILE`. Parameters marked read-only are fixed while the node runs.
# Written from the settings' definitions by test/parameter_file.py.
/**:
  ros__parameters:
"""
WIDTH = 112  # of a comment, without its indentation
FILE = CONFIG / "semla.yaml"


def parameter_file(config: Config) -> str:
    """The text of a ROS parameter file with every setting, its description and its value."""
    lines, group = [HEAD.rstrip()], None
    for path, spec, value in walk(config):
        parent, _, name = path.rpartition(".")
        if parent != group:
            lines += ["", f"    {parent}:"] if parent else [""]
            group = parent
        indent = " " * (6 if parent else 4)
        lines += [f"{indent}# {line}" for line in comments(spec)]
        lines.append(f"{indent}{name}: {plain(value)}")
    return "\n".join(lines) + "\n"


def comments(spec: Field[Any]) -> list[str]:
    """Description and limits of a setting, on one line if they fit."""
    doc, limits = str(spec.metadata["doc"]), "; ".join(limits_of(spec))
    if not limits:
        return wrap(doc, WIDTH)
    return [f"{doc} [{limits}]"] if len(doc) + len(limits) < WIDTH - 4 else [*wrap(doc, WIDTH), f"[{limits}]"]


def limits_of(spec: Field[Any]) -> Iterator[str]:
    limits = spec.metadata
    if limits["choices"]:
        yield " | ".join(limits["choices"])
    if limits["high"] != math.inf:
        yield f"{limits['low']:g} to {limits['high']:.7g} {limits['unit']}".rstrip()
    elif limits["low"] != -math.inf:
        yield f"{limits['low']:g} or more {limits['unit']}".rstrip()
    if limits["read_only"]:
        yield "read-only"


def plain(value: Any) -> str:
    """A value in YAML. ROS cannot declare an empty list of strings; [""] stands for it."""
    value = list(value) or [""] if isinstance(value, tuple) else value
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip().replace("''", '""')


if __name__ == "__main__":
    from semla_ros.config import NodeConfig

    FILE.write_text(parameter_file(NodeConfig()))

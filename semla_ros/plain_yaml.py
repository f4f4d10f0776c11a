"""Reads YAML that may come from anywhere: plain values only, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from semla_ros.errors import ConfigError

MAX_BYTES = 128 * 1024  # PyYAML reads 50 to 100 KiB per second
MAX_DEPTH = 20


class PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases (they grow exponentially), deep nesting and repeated keys."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Composes a node; called for each node, and by itself for the nodes inside."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=self.get_mark())
        if self._depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=self.get_mark())
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Makes a dictionary; PyYAML alone would keep the last of repeated keys without a word."""
        seen = set()
        for key, _ in node.value:
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} appears twice", problem_mark=key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str | bytes, where: object = None) -> Any:
    """Parses one YAML document.

    Args:
        text: The document, at most 128 KiB.
        where: File or option that it comes from, for messages.

    Returns:
        Nested dictionaries, lists and scalars; None for an empty document.

    Raises:
        ConfigError: The text is not YAML, or uses tags of other types, aliases, repeated keys or deep nesting.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError("too long for YAML", where=where, got=f"{len(text)} bytes", expected=f"at most {MAX_BYTES}")
    try:
        return yaml.load(text, PlainLoader)
    except Exception as error:  # besides YAMLError, PyYAML lets int(), float() and date() raise what they like
        reason = " ".join(str(error).split())
        raise ConfigError("not plain YAML", where=where, hint=f"{type(error).__name__}: {reason}") from error


def read_yaml(path: Path) -> Any:
    """Reads a YAML file as `parse_yaml` does.

    Raises:
        ConfigError: As `parse_yaml`, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return parse_yaml(file.read(MAX_BYTES + 1), path)
    except OSError as error:
        raise ConfigError("unreadable file", where=path, hint=error.strerror) from error

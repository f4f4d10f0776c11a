"""``adapter_config.json``: PEFT's description of a LoRA adapter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semla_ros.errors import AdapterError
from semla_ros.library.manifest import check_listed
from semla_ros.library.untrusted_file import read_file

MAX_BYTES, MAX_RANK, MAX_ALPHA = 2**20, 2**16, 1e6
READ = frozenset({"peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "init_lora_weights"})
# Bookkeeping, training and initialisation: fields that do not change what the saved tensors compute.
IGNORED = frozenset({
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "layers_pattern", "megatron_core", "qalora_group_size", "runtime_config",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config",
})  # fmt: skip
UNSET: tuple[object, ...] = (None, False, "", "none", [], {})
# Other initialisations (PiSSA, OLoRA, CorDA, LoftQ, ...) change the base weights, which an adapter does not hold.
INITIALISATIONS: tuple[object, ...] = (None, True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class AdapterConfig:
    """The fields of an adapter's configuration that matter for inference.

    Attributes:
        rank: Rank r of its matrices.
        scale: Factor s of B A: alpha / r, or alpha / √r with rsLoRA.
        targets: Full names of the adapted modules, or the ends of names; None for every module that has tensors.
    """

    rank: int
    scale: float
    targets: frozenset[str] | None

    @classmethod
    def read(cls, path: Path) -> AdapterConfig:
        """Reads ``adapter_config.json``.

        Raises:
            AdapterError: The file is missing, malformed or not that of the manifest, or a field in it asks for more
                than plain LoRA or rsLoRA.
        """
        try:
            content = read_file(path, MAX_BYTES)
            check_listed(path, AdapterError, content)
            config = json.loads(content)
        except (OSError, ValueError, RecursionError) as error:
            raise AdapterError("unreadable adapter configuration", where=path, hint=str(error)) from error
        if not isinstance(config, dict) or config.get("peft_type") != "LORA":
            raise AdapterError("not a LoRA adapter", where=path, expected='"peft_type": "LORA"')
        _check_kind(config, path)
        return cls(*_rank_and_scale(config, path), _targets(config, path))

    def adapts(self, module: str) -> bool:
        """Returns whether PEFT would put this adapter on a module."""
        return self.targets is None or any(end in self.targets for end in _endings(module))

    def unmatched(self, modules: Iterable[str]) -> tuple[str, ...]:
        """Returns the targets that are neither one of these modules nor the end of one, sorted."""
        return tuple(sorted((self.targets or frozenset()) - {end for module in modules for end in _endings(module)}))


def _endings(module: str) -> Iterator[str]:
    """Yields a module name and its ends after each dot."""
    parts = module.split(".")
    return (".".join(parts[first:]) for first in range(len(parts)))


def _check_kind(config: Mapping[str, Any], path: Path) -> None:
    """Refuses every field that is set and not known to be without effect, those of future versions included."""
    unsupported = [key for key in config if key not in READ | IGNORED and config[key] not in UNSET]
    if config.get("init_lora_weights") not in INITIALISATIONS:
        unsupported.append("init_lora_weights")
    if unsupported:
        named = ", ".join(key[:40] for key in sorted(unsupported)[:5])
        raise AdapterError("unsupported kind of LoRA", where=path, got=named, expected="plain LoRA or rsLoRA")


def _rank_and_scale(config: Mapping[str, Any], path: Path) -> tuple[int, float]:
    rank: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    rslora: Any = config.get("use_rslora")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise AdapterError("unusable rank", where=path, got=f"r={rank!r:.40}", expected=f"an integer, 1 to {MAX_RANK}")
    if type(alpha) not in (int, float) or not 0 < alpha <= MAX_ALPHA:
        raise AdapterError(
            "unusable alpha", where=path, got=f"lora_alpha={alpha!r:.40}",
            expected=f"a number above 0, at most {MAX_ALPHA:g}",
        )  # fmt: skip
    if rslora not in (None, True, False):
        raise AdapterError("unusable switch", where=path, got=f"use_rslora={rslora!r:.40}", expected="true or false")
    return rank, float(alpha / (rank**0.5 if rslora else rank))


def _targets(config: Mapping[str, Any], path: Path) -> frozenset[str] | None:
    """Names that PEFT compares modules with; None for a regular expression.

    An untrusted expression is neither matched nor compiled, both can take forever. It is not needed: PEFT saves
    tensors for the modules that it matched and for no others.
    """
    targets = config.get("target_modules")
    if isinstance(targets, list) and all(isinstance(target, str) for target in targets):
        return frozenset(targets)
    if targets is None or isinstance(targets, str):
        return None
    raise AdapterError(
        "unusable target modules", where=path, got=f"target_modules={targets!r:.40}",
        expected="a list of module names or a regular expression",
    )  # fmt: skip

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import nn

from semla_ros.errors import AdapterError
from semla_ros.library.adapter_config import AdapterConfig
from semla_ros.library.adapter_weights import AdapterWeights

PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q"]}
CATASTROPHIC = r"(([a-z._]+)+)+!"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "adapter_config.json"


def read(file: Path, **changes: Any) -> AdapterConfig:
    file.write_text(json.dumps(PLAIN | changes))
    return AdapterConfig.read(file)


def test_rank_scale_and_targets_are_read(file: Path) -> None:
    assert read(file) == AdapterConfig(4, 2.0, frozenset({"q"}))
    assert read(file, use_rslora=True, lora_alpha=8.5).scale == 8.5 / 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peft_type": "IA3"}, "not a LoRA adapter"),
        ({"peft_type": ["LORA"]}, "not a LoRA adapter"),
        ({"r": None}, "unusable rank.*r=None"),
        ({"r": 0}, "unusable rank.*r=0"),
        ({"r": -4}, "unusable rank.*r=-4"),
        ({"r": True}, "unusable rank.*r=True"),
        ({"r": 4.0}, r"unusable rank.*r=4\.0"),
        ({"r": 10**400}, "unusable rank.*r=1000"),
        ({"lora_alpha": None}, "unusable alpha.*lora_alpha=None"),
        ({"lora_alpha": 0}, "unusable alpha.*lora_alpha=0"),
        ({"lora_alpha": -8}, "unusable alpha.*lora_alpha=-8"),
        ({"lora_alpha": True}, "unusable alpha.*lora_alpha=True"),
        ({"lora_alpha": "16"}, "unusable alpha.*lora_alpha='16'"),
        ({"lora_alpha": float("nan")}, "unusable alpha.*lora_alpha=nan"),
        ({"lora_alpha": float("inf")}, "unusable alpha.*lora_alpha=inf"),
        ({"lora_alpha": 10**400}, "unusable alpha.*lora_alpha=1000"),
        ({"lora_alpha": 1e300}, "unusable alpha"),
        ({"use_rslora": "no"}, "unusable switch.*use_rslora='no'"),
        ({"target_modules": 3}, "unusable target modules.*target_modules=3"),
        ({"target_modules": ["q", None]}, "unusable target modules"),
        ({"target_modules": {"q": 1}}, "unusable target modules"),
    ],
)
def test_a_field_of_an_impossible_value_is_refused_with_the_value(
    file: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AdapterError, match=reason) as error:
        read(file, **changes)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_dora", True),
        ("rank_pattern", {"proj": 4}),
        ("alpha_pattern", {"proj": 4}),
        ("fan_in_fan_out", True),
        ("exclude_modules", ["q"]),
        ("layers_to_transform", [1]),
        ("modules_to_save", ["head"]),
        ("bias", "all"),
        ("bias", "lora_only"),
        ("lora_bias", True),
        ("layer_replication", [[0, 4], [2, 5]]),
        ("trainable_token_indices", [0, 1]),
        ("target_parameters", ["experts.weight"]),
        ("alora_invocation_tokens", [1, 2]),
        ("use_qalora", True),
        ("use_bdlora", {"nblocks": 2}),
        ("megatron_config", {"a": 1}),
        ("kasa_config", {"beta": 1e-4}),
        ("ensure_weight_tying", True),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "olora"),
        ("a_field_of_the_future", 1),
    ],
)
def test_a_field_that_changes_what_is_computed_is_refused_by_name(file: Path, field: str, value: Any) -> None:
    with pytest.raises(AdapterError, match=f"unsupported kind of LoRA.*got {field}, expected plain LoRA or rsLoRA"):
        read(file, **{field: value})


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b'{"r": ' + b"9" * 5000 + b"}", b" " * (2**20 + 1)],
    ids=["empty", "cut", "deep list", "deep mapping", "not text", "5000 digits", "large"],
)
def test_a_malformed_file_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(AdapterError, match=r"unreadable adapter configuration.*adapter_config\.json"):
        AdapterConfig.read(file)


def test_a_file_that_holds_no_mapping_is_refused(file: Path) -> None:
    file.write_text("[]")
    with pytest.raises(AdapterError, match="not a LoRA adapter"):
        AdapterConfig.read(file)


@pytest.mark.parametrize("pattern", ["(", CATASTROPHIC, r"(?i)[\0-\U0010ffff]" * 2000])
def test_a_regular_expression_is_never_compiled_or_matched(
    file: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a regular expression was compiled")

    monkeypatch.setattr("re._compile", refuse)
    config = read(file, target_modules=pattern)
    assert config.adapts("visual.blocks.0.attn.q_proj_" * 50)


def test_a_target_is_a_full_name_or_the_end_of_one_at_a_dot(file: Path) -> None:
    config = read(file, target_modules=["attn.q", "proj"])
    assert [config.adapts(name) for name in ("attn.q", "visual.attn.q", "proj", "a.proj")] == [True] * 4
    assert [config.adapts(name) for name in ("q", "xattn.q", "a.xproj", "attn.q.a", "")] == [False] * 5
    assert read(file, target_modules=None).adapts("anything")


class Block(nn.Module):
    """Modules of which some end alike."""

    def __init__(self) -> None:
        super().__init__()

        def attention() -> nn.ModuleDict:
            return nn.ModuleDict({name: nn.Linear(4, 4) for name in ("q", "xq", "proj")})

        self.visual = nn.ModuleDict({"attn": attention(), "attn2": attention()})
        self.q = nn.Linear(4, 4)


@pytest.mark.parametrize(
    "targets", [["q"], ["attn.q", "proj"], ["visual.attn.xq"], r".*attn\.(q|proj)", ["attn2.q", "q"], "all-linear"]
)
def test_the_modules_of_an_adapter_saved_by_peft_are_those_that_peft_adapts(
    tmp_path: Path, targets: list[str] | str
) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(Block(), peft.LoraConfig(r=2, target_modules=targets))
    model.save_pretrained(tmp_path)
    theirs = {name for name, module in model.base_model.model.named_modules() if hasattr(module, "lora_A")}
    config = AdapterConfig.read(tmp_path / "adapter_config.json")
    weights = AdapterWeights(tmp_path / "adapter_model.safetensors", config.adapts, str)
    assert weights.shapes.keys() == theirs
    assert len(load_file(weights.path)) == 2 * len(theirs)


def test_every_field_of_peft_that_changes_the_saved_adapter_is_refused(tmp_path: Path) -> None:
    """Adapters that hold more than pairs of matrices, as PEFT itself writes them."""
    peft = pytest.importorskip("peft")
    for changes in ({"modules_to_save": ["q"]}, {"bias": "all"}, {"use_dora": True}, {"lora_bias": True}):
        config = peft.LoraConfig(r=2, target_modules=["proj"], **changes)
        peft.get_peft_model(Block(), config).save_pretrained(tmp_path)
        with pytest.raises(AdapterError, match=f"unsupported kind of LoRA.*{next(iter(changes))}"):
            AdapterConfig.read(tmp_path / "adapter_config.json")

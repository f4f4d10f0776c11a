from __future__ import annotations

from semla_ros.node.command_line import parameter_arguments


def test_each_setting_becomes_a_parameter_in_yaml() -> None:
    assert parameter_arguments({"fusion.k": 3, "model.bundle": "a b", "segmenter.classes": ("road", "sky")}) == [
        "-p", "fusion.k:=3", "-p", 'model.bundle:="a b"', "-p", 'segmenter.classes:=["road", "sky"]',
    ]  # fmt: skip

import math
import re

import pytest
import yaml
from paths import CONFIG

pytest.importorskip("rclpy")

import rclpy
from live.process import free_domain
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter

from semla_ros.config import NodeConfig, flatten, walk
from semla_ros.errors import ConfigError
from semla_ros.node import settings
from semla_ros.node.environment import name_prefix

SETTINGS = {path: (spec, value) for path, spec, value in walk(NodeConfig())}
name_prefix()


@pytest.fixture(scope="module")
def context():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=free_domain())
    yield context
    context.shutdown()


@pytest.fixture
def declared(context):
    """Declares the settings on a fresh node with some parameters given; returns node and settings."""
    nodes = []

    def declare(**given):
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
        node = rclpy.create_node("settings", context=context, parameter_overrides=overrides, enable_rosout=False)
        nodes.append(node)
        return node, settings.declare(node)

    yield declare
    for node in nodes:
        node.destroy_node()


def test_every_setting_is_a_parameter_with_its_default(declared):
    node, config = declared()
    assert config == NodeConfig()
    assert all(node.has_parameter(path) for path in SETTINGS)


def test_given_parameters_become_settings(declared):
    _, config = declared(fusion__k=3, segmenter__classes=["road", "sky"], image_transport="compressed")
    assert (config.fusion.k, config.segmenter.classes, config.image_transport) == (3, ("road", "sky"), "compressed")


def test_an_integer_is_accepted_for_a_float(declared):
    assert declared(fusion__temperature=1)[1].fusion.temperature == 1.0


WRONG = [
    ("fusion.k", -1),
    ("fusion.k", "five"),
    ("fusion.temperature", -1.0),
    ("image_transport", "smoke signals"),
    ("segmenter.classes", 7),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_parameter_is_refused_with_its_name_and_value(declared, name, value):
    with pytest.raises(ConfigError) as refused:
        declared(**{name.replace(".", "__"): value})
    assert name in str(refused.value)
    assert str(value) in str(refused.value)


@pytest.mark.parametrize("path", SETTINGS)
def test_every_descriptor_holds_meaning_unit_and_choices(path):
    spec, _ = SETTINGS[path]
    descriptor = settings.describe(spec)
    assert spec.metadata["doc"] in descriptor.description
    assert spec.metadata["unit"] in descriptor.description
    assert descriptor.read_only == spec.metadata["read_only"]
    assert all(choice in descriptor.additional_constraints for choice in spec.metadata["choices"])


def test_descriptors_carry_ranges_of_numbers():
    k = settings.describe(SETTINGS["fusion.k"][0]).integer_range[0]
    assert (k.from_value, k.to_value) == (0, 1000)
    upper_threshold = settings.describe(SETTINGS["tracker.upper_threshold"][0]).floating_point_range[0]
    assert upper_threshold.from_value == 0.0
    assert math.isfinite(upper_threshold.to_value)


def test_tools_see_the_type_of_every_parameter(declared):
    node, _ = declared()
    assert node.describe_parameter("segmenter.classes").type == ParameterType.PARAMETER_STRING_ARRAY
    assert node.describe_parameter("fusion.k").type == ParameterType.PARAMETER_INTEGER


def test_an_empty_list_of_classes_means_those_of_the_bundle():
    changed = settings.applied(NodeConfig(), [Parameter("segmenter.classes", value=["road"])])
    assert settings.applied(changed, [Parameter("segmenter.classes", value=[""])]).segmenter.classes == ()


def test_a_list_that_a_parameter_file_leaves_empty_is_declared_as_empty(declared):
    node, config = declared(segmenter__classes=None, library__exclude=None)
    assert (config.segmenter.classes, config.library.exclude) == ((), ())
    assert node.get_parameter("segmenter.classes").value == [""]


def test_a_setting_that_is_no_list_cannot_be_left_empty(declared):
    with pytest.raises(ConfigError, match=r"fusion\.k"):
        declared(fusion__k=None)


def test_differing_parameters_are_those_that_lead_back(declared):
    changed = settings.applied(
        NodeConfig(), [Parameter("fusion.k", value=3), Parameter("segmenter.classes", value=["road"])]
    )
    back = settings.differing(NodeConfig(), changed)
    assert {each.name: each.value for each in back} == {"fusion.k": 0, "segmenter.classes": [""]}
    assert settings.applied(changed, back) == NodeConfig()


def test_parameters_that_are_no_settings_are_ignored():
    assert settings.applied(NodeConfig(), [Parameter("use_sim_time", value=True)]) == NodeConfig()


def given_in(name):
    return dict(flatten(yaml.safe_load((CONFIG / name).read_text())["/**"]["ros__parameters"]))


def test_the_shipped_parameter_file_holds_every_setting_at_its_default():
    given = given_in("semla.yaml")
    assert given == {
        path: list(value) or [""] if isinstance(value, tuple) else value for path, (_, value) in SETTINGS.items()
    }


@pytest.mark.parametrize(("name", "k", "temperature"), [("paper_table6.yaml", 5, 0.05), ("paper_fig10.yaml", 7, 0.01)])
def test_the_papers_presets_set_k_and_temperature(name, k, temperature):
    assert given_in(name) == {"fusion.k": k, "fusion.temperature": temperature}


def test_the_shipped_parameter_file_comments_every_setting():
    text = re.sub(r"\n +# ", " ", (CONFIG / "semla.yaml").read_text())  # each comment on one line
    assert all(spec.metadata["doc"].rstrip(".") in text for spec, _ in SETTINGS.values())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"cameras": ["front", "front"]}, "camera named twice"),
        ({"cameras": ["front camera"]}, "not a valid camera name"),
        ({"cameras": ["front"], "domain_cameras": ["rear"]}, "no such camera .*: got rear, expected front"),
        (
            {"cameras": ["front"], "domain_cameras": ["front", "front"]},
            "camera named twice .domain_cameras.*: got front",
        ),
        ({"cameras": ["a", "b"], "domain_per_camera": True, "camera_batch": 2}, "expected 1 with domain_per_camera"),
        (
            {"cameras": ["a", "b"], "domain_per_camera": True, "domain_cameras": ["a", "b"]},
            "own .domain_cameras.: got a, b, expected an empty list with domain_per_camera",
        ),
        ({"domain_cameras": ["rear"]}, "no such camera .* as there is one camera"),
        ({"output_size": "cloud"}, "no depth camera"),
    ],
)
def test_cameras_that_cannot_work_are_refused_with_the_reason(declared, wrong, why):
    with pytest.raises(ConfigError, match=why):
        declared(**wrong)

"""What ROS tools read: the launch file, the package manifest, the Fast DDS profile."""

import ast
import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest
from paths import ROOT

LAUNCH = ROOT / "launch" / "semla.launch.py"
ARGUMENTS = {
    "semla": {
        "image_topic", "params_file", "namespace", "bundle", "device", "image_transport", "depth_topic", "autostart",
        "use_sim_time", "log_level", "respawn",
    },
    "demo": {"recording", "image_topic", "rate", "loop", "rviz", "bundle", "device", "depth_topic"},
}  # fmt: skip


def keyword(function, name):
    calls = [each for each in ast.walk(ast.parse(LAUNCH.read_text())) if isinstance(each, ast.Call)]
    call = next(each for each in calls if getattr(each.func, "id", "") == function)
    return ast.literal_eval(next(each.value for each in call.keywords if each.arg == name))


def test_the_launch_file_starts_the_executable_that_setup_installs():
    assert keyword("Node", "package") == "semla_ros"
    assert f"{keyword('Node', 'executable')} = semla_ros.node.main:main" in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize("name", ["semla", "demo"])
def test_a_launch_file_describes_itself_where_launch_is_installed(name):
    pytest.importorskip("launch_ros")
    spec = importlib.util.spec_from_file_location(f"{name}_launch", ROOT / "launch" / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    described = [each.name for each in module.generate_launch_description().get_launch_arguments()]
    assert sorted(described) == sorted(ARGUMENTS[name])


def test_the_manifest_names_package_format_licence_and_build_type():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    told = {tag: package.findtext(tag) for tag in ("name", "license", "export/build_type")}
    assert told == {"name": "semla_ros", "license": "Apache-2.0", "export/build_type": "ament_python"}
    assert f'version="{package.findtext("version")}"' in (ROOT / "setup.py").read_text()


def test_every_ros_package_the_node_imports_is_in_the_manifest():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    dependencies = {each.text for each in package.findall("exec_depend")}
    sources = [*(ROOT / "semla_ros" / "node").glob("*.py"), LAUNCH]
    imported = {name.partition(".")[0] for source in sources for name in imports(source)}
    ros = {name for name in imported if name.endswith("_msgs") or name in ("rclpy", "std_srvs", "launch", "launch_ros")}
    assert ros <= dependencies
    assert {"rclpy", "sensor_msgs", "launch_ros"} <= ros


def imports(source):
    for each in ast.walk(ast.parse(source.read_text())):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            yield each.module


def test_the_fast_dds_profile_gives_shared_memory_64_mebibytes_and_is_the_default():
    space = {"dds": "http://www.eprosima.com"}
    profile = ElementTree.parse(ROOT / "config" / "fastdds_large_images.xml").getroot()
    memory = profile.find(".//dds:transport_descriptor[dds:type='SHM']", space)
    assert int(memory.findtext("dds:segment_size", namespaces=space)) == 64 * 2**20
    participant = profile.find(".//dds:participant", space)
    assert participant.get("is_default_profile") == "true"
    used = {each.text for each in participant.iterfind(".//dds:userTransports/dds:transport_id", space)}
    assert used == {each.text for each in profile.iterfind(".//dds:transport_descriptor/dds:transport_id", space)}

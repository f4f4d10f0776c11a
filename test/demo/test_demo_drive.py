import pytest

from semla_ros.demo import drive as demo_drive
from semla_ros.demo.drive import claim, fingerprint, make_room, rendered, stretches
from semla_ros.errors import RecordingError
from semla_ros.streetworld.drive import START_NS, Drive, Leg

SECOND = 10**9
LEGS = (Leg("clear_day", 0.4, 0.2), Leg("forest", 0.3))


def small(legs=LEGS, **settings):
    return Drive(legs, size=(24, 40), **settings)


def test_a_drive_is_rendered_again_only_if_its_settings_change(tmp_path, monkeypatch):
    written = []

    def write(path, drive):
        written.append(drive.seed)
        path.mkdir()

    monkeypatch.setattr(demo_drive, "write_drive", write)
    for seed in (0, 0, 1, 1, 0):
        assert rendered(tmp_path, small(seed=seed)) == tmp_path / "drive"
    assert written == [0, 1, 0]


def test_an_incomplete_drive_is_rendered_again(tmp_path):
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "drive.mcap").write_bytes(b"half")
    bag = rendered(tmp_path, small())
    assert len(stretches(bag)) == 3


@pytest.mark.parametrize("other", [{"seed": 1}, {"rate_hz": 5.0}, {"legs": LEGS[:1]}])
def test_every_setting_of_a_drive_is_in_its_fingerprint(other):
    assert fingerprint(small()) == fingerprint(small())
    assert fingerprint(small()) != fingerprint(small(**other))


def test_the_stretches_are_read_from_the_bag(tmp_path):
    clear, transition, forest = stretches(rendered(tmp_path, small()))
    assert [(each.name, each.steady) for each in (clear, transition, forest)] == [
        ("clear_day", True),
        ("to forest", False),
        ("forest", True),
    ]
    ends = [(each.begin_ns - START_NS, each.end_ns - START_NS) for each in (clear, transition, forest)]
    assert ends == [(0, 4 * SECOND // 10), (4 * SECOND // 10, 6 * SECOND // 10), (6 * SECOND // 10, 9 * SECOND // 10)]


def test_a_folder_with_other_files_than_a_bag_is_not_removed(tmp_path):
    keep = tmp_path / "recording" / "notes.txt"
    keep.parent.mkdir()
    keep.write_text("keep me")
    with pytest.raises(RecordingError, match="other files than a bag"):
        make_room(keep.parent)
    assert keep.read_text() == "keep me"


def test_a_folder_with_files_that_are_not_of_a_demo_is_refused(tmp_path):
    keep = tmp_path / "report.html"
    keep.write_text("keep me")
    with pytest.raises(RecordingError, match="files that are not of the demo"):
        claim(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_new_folder_and_that_of_an_earlier_demo_are_accepted(tmp_path):
    out = tmp_path / "deep" / "demo"
    claim(out)
    (out / "report.html").write_text("of the first demo")
    claim(out)

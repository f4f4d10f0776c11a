import pytest

from semla_ros.demo import drive as demo_drive
from semla_ros.demo.drive import fingerprint, make_room, rendered, stretches
from semla_ros.errors import RecordingError
from semla_ros.streetworld.drive import START_NS, Drive, Leg

SECOND = 10**9
LEGS = (Leg("clear_day", 0.4, 0.2), Leg("forest", 0.3))


def small(legs=LEGS, **settings):
    return Drive(legs, size=(24, 40), **settings)


def test_a_drive_is_rendered_once_and_again_only_when_it_is_another(tmp_path, monkeypatch):
    written = []

    def write(path, drive):
        written.append(drive.seed)
        path.mkdir()

    monkeypatch.setattr(demo_drive, "write_drive", write)
    for seed in (0, 0, 1, 1, 0):
        assert rendered(tmp_path, small(seed=seed)) == tmp_path / "drive"
    assert written == [0, 1, 0]


def test_a_drive_that_was_interrupted_is_rendered_anew(tmp_path):
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "drive.mcap").write_bytes(b"half")
    bag = rendered(tmp_path, small())
    assert len(stretches(bag)) == 3


@pytest.mark.parametrize("other", [{"seed": 1}, {"rate_hz": 5.0}, {"legs": LEGS[:1]}])
def test_every_setting_of_a_drive_is_in_its_fingerprint(other):
    assert fingerprint(small()) == fingerprint(small())
    assert fingerprint(small()) != fingerprint(small(**other))


def test_the_stretches_are_what_the_bag_says(tmp_path):
    clear, passing, forest = stretches(rendered(tmp_path, small()))
    assert [(each.name, each.steady) for each in (clear, passing, forest)] == [
        ("clear_day", True),
        ("to forest", False),
        ("forest", True),
    ]
    ends = [(each.begin_ns - START_NS, each.end_ns - START_NS) for each in (clear, passing, forest)]
    assert ends == [(0, 4 * SECOND // 10), (4 * SECOND // 10, 6 * SECOND // 10), (6 * SECOND // 10, 9 * SECOND // 10)]


def test_nobodys_files_are_removed_to_make_room_for_a_bag(tmp_path):
    keep = tmp_path / "recording" / "thesis.tex"
    keep.parent.mkdir()
    keep.write_text("years of work")
    with pytest.raises(RecordingError, match="something else"):
        make_room(keep.parent)
    assert keep.read_text() == "years of work"

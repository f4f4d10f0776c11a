"""What killed processes leave in shared memory, and what is never removed."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from semla_ros.node.shared_memory import MIN_AGE_S, remove_left_segments, remove_own_segments

SEGMENT = "fastdds_0123456789abcdef"


def segment(folder: Path, name: str = SEGMENT, age_s: float = 2 * MIN_AGE_S) -> tuple[Path, Path]:
    """Creates a segment and its lock file."""
    files = folder / name, folder / f"{name}_el"
    files[0].write_bytes(b"x" * 8192)
    files[1].touch()
    for file in files:
        os.utime(file, (time.time() - age_s,) * 2)
    return files


@pytest.mark.parametrize("name", [SEGMENT, "fastrtps_0123456789abcdef"])
def test_a_segment_whose_lock_nobody_holds_is_removed_with_its_lock(tmp_path: Path, name: str) -> None:
    segment(tmp_path, name)
    assert remove_left_segments(tmp_path) >= 8192
    assert list(tmp_path.iterdir()) == []
    assert remove_left_segments(tmp_path) == 0


def test_a_segment_in_use_stays(tmp_path: Path) -> None:
    files = segment(tmp_path)
    with files[1].open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_left_segments(tmp_path) == 0
    assert all(file.exists() for file in files)


def test_a_young_segment_stays_because_its_process_may_be_about_to_lock_it(tmp_path: Path) -> None:
    files = segment(tmp_path, age_s=MIN_AGE_S / 2)
    assert remove_left_segments(tmp_path) == 0
    assert all(file.exists() for file in files)


def test_a_segment_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = segment(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    assert remove_left_segments(tmp_path) == 0
    assert all(file.exists() for file in files)


@pytest.mark.parametrize(
    "name", ["fastdds_port7411", "psm_0123456789abcdef", "fastdds_0123", "sem.fastdds_port7411_mutex"]
)
def test_other_files_stay(tmp_path: Path, name: str) -> None:
    files = segment(tmp_path, name)
    assert remove_left_segments(tmp_path) == 0
    assert all(file.exists() for file in files)


def test_a_link_in_place_of_a_lock_or_of_a_segment_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    files = segment(tmp_path)
    for file in files:
        content = file.read_bytes()
        file.unlink()
        file.symlink_to(tmp_path / "precious")
        os.utime(tmp_path / "precious", (0, 0))
        assert remove_left_segments(tmp_path) == 0
        assert file.is_symlink()
        file.unlink()
        file.write_bytes(content)
        os.utime(file, (0, 0))
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_missing_folder_is_nothing_to_do(tmp_path: Path) -> None:
    assert remove_left_segments(tmp_path / "shm") == 0


def test_a_process_removes_its_own_segments_at_its_end_and_no_others(tmp_path: Path) -> None:
    own, foreign, left = (segment(tmp_path, f"fastdds_{digit * 16}") for digit in "abc")
    holder = subprocess.Popen(["flock", "--no-fork", "--exclusive", str(foreign[1]), "sleep", "600"])
    try:
        with own[1].open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            end = time.monotonic() + 60
            while not _is_held(foreign[1]):
                assert time.monotonic() < end, "the other process does not lock its segment"
                time.sleep(0.01)
            remove_own_segments(tmp_path)
    finally:
        holder.kill()
        holder.wait()
    assert sorted(tmp_path.iterdir()) == sorted([*foreign, *left])


@pytest.mark.live
def test_a_node_that_was_killed_leaves_shared_memory_that_the_next_node_removes() -> None:
    pytest.importorskip("rclpy")
    from live.process import STAND_IN, Process, free_domain, release, until

    domain = free_domain()
    with Process(domain, STAND_IN) as first:
        until(lambda: "active: " in first.log, "the first node to become active", first)
        maps = Path(f"/proc/{first.popen.pid}/maps").read_text()
        locks = [Path(f"{name}_el") for name in set(re.findall(r"/dev/shm/fastdds_[0-9a-f]{16}\b", maps))]
        if not any(lock.exists() for lock in locks):
            pytest.skip("this middleware keeps no shared memory with a lock beside it")
        first.popen.kill()  # `Process.kill` would remove what it leaves
        first.popen.wait()
    (left,) = [lock for lock in locks if not _is_held(lock)]
    assert left.with_name(left.name.removesuffix("_el")).exists()
    os.utime(left, (time.time() - 2 * MIN_AGE_S,) * 2)
    with Process(domain, STAND_IN) as second:
        until(lambda: not left.exists(), "the next node to remove what is left", second)
        assert not left.with_name(left.name.removesuffix("_el")).exists()
        assert second.stop() == 0, second.log
    release(domain)


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock, or has ended cleanly meanwhile."""
    try:
        with lock.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return True
    return False

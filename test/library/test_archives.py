from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from semla_ros.errors import ArchiveError
from semla_ros.library.archives import unpack


def packed(path: Path, **files: str) -> Path:
    with ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_what_was_packed_comes_out(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"loradb/fog/config": "1", "loradb/night/config": "2"})
    folder = unpack(archive, tmp_path / "out")
    assert (folder / "loradb/fog/config").read_text() == "1"
    assert (folder / "loradb/night/config").read_text() == "2"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:\\evil"])
def test_a_path_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / "a.zip", **{"good": "1", name: "2"})
    with pytest.raises(ArchiveError, match="reaches out of its folder"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ArchiveError, match="link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_half_written_zip_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", good="1" * 1000)
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(ArchiveError, match="unreadable archive"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_flipped_bytes_are_noticed_before_anything_is_written(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", good="1" * 1000)
    content = bytearray(archive.read_bytes())
    content[500] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"damaged archive.*good"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no\.zip"):
        unpack(tmp_path / "no.zip", tmp_path / "out")

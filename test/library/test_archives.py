from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest

from semla_ros.errors import ArchiveError
from semla_ros.library.archives import unpack


def packed(path: Path, method: int = ZIP_STORED, **files: str) -> Path:
    with ZipFile(path, "w", method) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_files_are_unpacked_into_their_folders(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"loradb/fog/config": "1", "loradb/night/config": "2"})
    folder = unpack(archive, tmp_path / "out")
    assert (folder / "loradb/fog/config").read_text() == "1"
    assert (folder / "loradb/night/config").read_text() == "2"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "a/C:evil"])
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


def test_entries_without_a_name_are_skipped(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"./": "", ".": "", "@": "", "fog/": "", "./fog/./config": "1"})
    archive.write_bytes(archive.read_bytes().replace(b"@", b"\0"))  # zipfile reads names up to a zero byte
    assert "" in ZipFile(archive).namelist()
    folder = unpack(archive, tmp_path / "out")
    assert [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()] == [Path("fog/config")]


@pytest.mark.parametrize("keep", [-40, 30, 0])
def test_a_truncated_zip_is_refused(tmp_path: Path, keep: int) -> None:
    archive = packed(tmp_path / "a.zip", good="1" * 1000)
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(ArchiveError, match="damaged archive"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def patched(archive: Path, offset: int, value: bytes, signature: bytes) -> Path:
    """Overwrites bytes of each header with a signature: by the format, PK12 begins an entry of the directory."""
    content = bytearray(archive.read_bytes())
    at = content.find(signature)
    while at >= 0:
        content[at + offset : at + offset + len(value)] = value
        at = content.find(signature, at + 1)
    archive.write_bytes(content)
    return archive


DIRECTORY = b"PK\x01\x02"


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (8, b"\x01\x00", "encrypted archive.*got good"),
        (10, b"\x63\x00", "unsupported compression.*method 99 of good"),
        (10, b"\x0c\x00", "unsupported compression.*method 12 of good"),  # bzip2, whose memory has no bound
        (10, b"\x00\x00", "damaged archive"),  # deflated data, announced as stored
        (24, b"\x05\x00\x00\x00", "damaged archive.*CRC"),  # shorter than the data
        (42, b"\xff\xff\x00\x00", "damaged archive"),  # begins beyond the end
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, offset: int, value: bytes, message: str) -> None:
    archive = patched(packed(tmp_path / "a.zip", ZIP_DEFLATED, good="1" * 1000), offset, value, DIRECTORY)
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", [ZIP_STORED, ZIP_DEFLATED])
@pytest.mark.parametrize("at", range(35, 75, 5))
def test_a_damaged_stream_is_refused(tmp_path: Path, method: int, at: int) -> None:
    archive = packed(tmp_path / "a.zip", method, good="".join(map(str, range(1000))))
    content = bytearray(archive.read_bytes())
    content[at] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged archive"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_bomb_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semla_ros.library.archives.SMALL", 1000)
    monkeypatch.setattr("shutil.copyfileobj", lambda *_: pytest.fail("written"))
    archive = packed(tmp_path / "a.zip", ZIP_DEFLATED, first="0" * 1_000_000, second="0" * 1_000_000)
    with pytest.raises(ArchiveError, match=r"suspiciously large.*got 2000000 bytes of \d+, expected at most 20 times"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semla_ros.library.archives.MAX_FILES", 2)
    with pytest.raises(ArchiveError, match=r"too many files.*got 3"):
        unpack(packed(tmp_path / "a.zip", a="", b="", c=""), tmp_path / "out")


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"unreadable archive .*no\.zip"):
        unpack(tmp_path / "no.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        unpack(packed(tmp_path / "a.zip", **{"n" * 300: "1"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import image

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.batch.ledger import Ledger
from semla_ros.batch.rows import Embedded
from semla_ros.batch.sources import Source, find_sources
from semla_ros.errors import BatchError
from semla_ros.images.files import write_image

SETTINGS = {"fusion.k": "2", "segmenter.mode": "plain"}
DAY = Mixture(("day", "dusk"), (0.75, 0.25), (1.5, 3.0), 0.6)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    for name in ("day", "night"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(3):
            write_image(tmp_path / "in" / name / f"{number}.png", image("red"))
    return find_sources([tmp_path / "in"], tmp_path / "out")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def embedded(source: int, number: int, value: float = 0.0) -> Embedded:
    return Embedded(source, number, f"{number}", 10**9 * number, np.full(4, value, np.float32).tobytes())


def filled(out: Path, sources: list[Source]) -> Ledger:
    """A ledger with both recordings read whole, two clusters, and one image of the first cluster finished."""
    ledger = Ledger(out, SETTINGS, sources)
    for source in range(2):
        for number in range(3):
            ledger.add_embedding(embedded(source, number, value=10.0 * source + number))
        ledger.set_total(source, 3)
    ledger.add_clusters(np.array([[1.0] * 4, [11.0] * 4]), [DAY, Mixture()])
    for frames, vectors in ledger.embeddings():
        ledger.assign(frames, (vectors[:, 0] > 5).astype(int).tolist())
    ledger.finish([(0, 1)])
    return ledger


def test_a_new_run_has_everything_to_do(out: Path, sources: list[Source]) -> None:
    ledger = Ledger(out, SETTINGS, sources)
    assert [(source, known.tolist()) for source, known in ledger.unread()] == [(0, []), (1, [])]
    assert ledger.unsegmented() == []
    assert ledger.count() == (0, 0)


def test_a_continued_run_knows_what_is_done(out: Path, sources: list[Source]) -> None:
    filled(out, sources).close()
    ledger = Ledger(out, SETTINGS, sources)
    assert ledger.unread() == []
    assert [(c, s, n.tolist()) for c, s, n in ledger.unsegmented()] == [(0, 0, [0, 2]), (1, 1, [0, 1, 2])]
    centroids, mixtures = ledger.clusters()
    np.testing.assert_array_equal(centroids, [[1.0] * 4, [11.0] * 4])
    assert mixtures == [DAY, Mixture()]
    assert ledger.count() == (1, 6)
    assert list(ledger.frames()) == [(0, 1, "1", 10**9, 0)]


def test_a_recording_that_was_not_read_to_its_end_is_read_without_its_embedded_images(
    out: Path, sources: list[Source]
) -> None:
    ledger = Ledger(out, SETTINGS, sources)
    ledger.add_embedding(embedded(1, 2))
    ledger.set_total(0, 0)
    assert [(source, known.tolist()) for source, known in ledger.unread()] == [(1, [2])]


def test_an_image_that_was_skipped_is_tried_again_by_the_next_run(out: Path, sources: list[Source]) -> None:
    ledger = Ledger(out, SETTINGS, sources)
    ledger.add_embedding(embedded(0, 0))
    ledger.skip(0, 1, "damaged")
    ledger.set_total(0, 2)
    ledger.set_total(1, 0)
    assert ledger.skipped() == [(0, 1, "damaged")]
    ledger.close()
    ledger = Ledger(out, SETTINGS, sources)
    assert ledger.skipped() == []
    assert [(source, known.tolist()) for source, known in ledger.unread()] == [(0, [0])]


def test_embeddings_are_read_in_chunks_and_in_order(
    out: Path, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semla_ros.batch.ledger.CHUNK", 2)
    ledger = Ledger(out, SETTINGS, sources)
    for source, number in [(1, 0), (0, 2), (0, 0), (1, 2), (0, 1)]:
        ledger.add_embedding(embedded(source, number, value=source + number))
    frames = [frame for frames, _ in ledger.embeddings() for frame in frames]
    assert frames == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)]
    assert np.concatenate(list(ledger.vectors()))[:, 0].tolist() == [0, 1, 2, 1, 3]


def test_a_folder_of_another_run_is_refused_with_the_setting_that_differs(out: Path, sources: list[Source]) -> None:
    Ledger(out, SETTINGS, sources).close()
    with pytest.raises(BatchError, match=r"another run .*fusion\.k: 3, expected 2"):
        Ledger(out, SETTINGS | {"fusion.k": "3"}, sources)


def test_a_folder_of_a_run_over_other_recordings_is_refused(out: Path, sources: list[Source]) -> None:
    Ledger(out, SETTINGS, sources).close()
    with pytest.raises(BatchError, match=r"another run .*got no recording .*night, expected it, as in the run"):
        Ledger(out, SETTINGS, sources[:1])


def test_a_recording_that_grew_is_refused(out: Path, sources: list[Source]) -> None:
    Ledger(out, SETTINGS, sources).close()
    write_image(sources[0].path / "3.png", image("red"))
    with pytest.raises(BatchError, match=r"recording .*day with other files, expected the same files"):
        Ledger(out, SETTINGS, sources)


def test_another_topic_is_refused(out: Path, sources: list[Source]) -> None:
    Ledger(out, SETTINGS, sources).close()
    with pytest.raises(BatchError, match="with other files"):
        Ledger(out, SETTINGS, [replace(sources[0], topic="/rear"), sources[1]])


def test_an_image_that_arrives_after_the_start_is_embedded(out: Path, sources: list[Source]) -> None:
    ledger = Ledger(out, SETTINGS, sources)
    ledger.add_embedding(replace(embedded(0, 7), size=99))
    assert ledger.count() == (0, 1)


def test_an_error_that_is_no_text_is_kept(out: Path, sources: list[Source]) -> None:
    ledger = Ledger(out, SETTINGS, sources)
    ledger.skip(0, 1, "\udcff.png: damaged")
    assert ledger.skipped() == [(0, 1, "\\udcff.png: damaged")]


def test_a_run_that_is_still_going_on_keeps_its_folder(out: Path, sources: list[Source]) -> None:
    running = Ledger(out, SETTINGS, sources)
    with pytest.raises(BatchError, match="another run is going on"):
        Ledger(out, SETTINGS, sources)
    running.add_embedding(embedded(0, 0))
    running.close()


def test_a_state_that_is_no_database_is_refused(out: Path, sources: list[Source]) -> None:
    (out / "run.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(BatchError, match=r"cannot be written .*run\.sqlite"):
        Ledger(out, SETTINGS, sources)


def test_a_full_disk_is_reported_with_a_remedy_and_loses_nothing(out: Path, sources: list[Source]) -> None:
    ledger = filled(out, sources)
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(BatchError, match=r"full.*run the command again"):
        ledger.add_embedding(replace(embedded(0, 3), embedding=bytes(100_000)))
    ledger.close()
    assert Ledger(out, SETTINGS, sources).count()[0] == 1

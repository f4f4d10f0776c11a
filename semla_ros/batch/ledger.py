"""What a batch run has done so far, in an SQLite file: a killed run continues where it stopped.

Every change is one transaction, so that the file is whole after a kill at any moment. One run at a time can open it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.batch.rows import Embedded
from semla_ros.batch.sources import STATE, Source
from semla_ros.errors import BatchError
from semla_ros.text import storable

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
RECORDING = "recording "  # followed by its path: name of its fingerprint among the settings
CHUNK = 4096  # embeddings that are read at a time
TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sources (id INTEGER PRIMARY KEY, label TEXT NOT NULL, path TEXT NOT NULL, total INTEGER);
CREATE TABLE IF NOT EXISTS frames (
    source INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, stamp_ns INTEGER NOT NULL,
    embedding BLOB NOT NULL, cluster INTEGER, done INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (source, number));
CREATE TABLE IF NOT EXISTS clusters (id INTEGER PRIMARY KEY, centroid BLOB NOT NULL, mixture TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS skipped (source INTEGER NOT NULL, number INTEGER NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (source, number));
CREATE TABLE IF NOT EXISTS files (source INTEGER NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (source, number));
CREATE INDEX IF NOT EXISTS frames_by_cluster ON frames (cluster, source, number);
"""


class Ledger:
    """The state of a batch run. Frames are named by (source, number): the number of the source, and of the image in it.

    Args:
        folder: Output folder of the run, which exists.
        settings: Everything that decides about the results. A run can only be continued with the same settings.
        sources: The recordings, in order.

    Raises:
        BatchError: The folder holds a run with other settings or recordings, or one that is still going on, or it
            cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str], sources: Sequence[Source]) -> None:
        self.folder, self._sources = folder, sources
        self._db = sqlite3.connect(folder / STATE, timeout=1.0)
        try:
            self._open()
            recordings = {f"{RECORDING}{storable(each.path.resolve())}": each.fingerprint() for each in sources}
            self._claim(dict(settings) | recordings)
            self._check_sizes()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def unread(self) -> list[tuple[int, Numbers]]:
        """Returns (source, numbers of its images that are embedded) for each source that has not been read whole."""
        out = []
        for source, total in self._db.execute("SELECT id, total FROM sources ORDER BY id").fetchall():
            rows = self._db.execute("SELECT number FROM frames WHERE source = ? ORDER BY number", (source,))
            known = np.array([number for (number,) in rows], np.int64)
            if total is None or len(known) < total:
                out.append((source, known))
        return out

    def add_embedding(self, row: Embedded) -> None:
        """Adds a frame with its embedding."""
        query = "INSERT OR REPLACE INTO frames (source, number, name, stamp_ns, embedding) VALUES (?, ?, ?, ?, ?)"
        with self._changing():
            self._db.execute(query, (row.source, row.number, row.name, row.stamp_ns, row.embedding))
            if row.size:
                self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (row.source, row.number, row.size))

    def skip(self, source: int, number: int, error: str) -> None:
        """Notes that a frame cannot be read or segmented in this run, and why."""
        with self._changing():
            self._db.execute("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", (source, number, storable(error)))

    def set_total(self, source: int, total: int) -> None:
        """Notes that a source was read to its end, and how many images it has."""
        with self._changing():
            self._db.execute("UPDATE sources SET total = ? WHERE id = ?", (total, source))

    def embeddings(self, without_cluster: bool = False) -> Iterator[tuple[list[tuple[int, int]], Array]]:
        """Yields frames (source, number) and their embeddings (n, D), a few thousand at a time, in order.

        Args:
            without_cluster: Leaves out frames that have a cluster.
        """
        chosen = "AND cluster IS NULL" if without_cluster else ""
        query = f"SELECT source, number, embedding FROM frames WHERE (source, number) > (?, ?) {chosen}"
        last = (-1, -1)
        while rows := self._db.execute(f"{query} ORDER BY source, number LIMIT {CHUNK}", last).fetchall():
            last = rows[-1][:2]
            yield [row[:2] for row in rows], np.stack([_vector(row[2]) for row in rows])

    def vectors(self) -> Iterator[Array]:
        """Yields all embeddings (n, D), a few thousand at a time, in order."""
        return (vectors for _, vectors in self.embeddings())

    def add_clusters(self, centroids: Array, mixtures: Sequence[Mixture]) -> None:
        """Adds all clusters at once, numbered from 0."""
        rows = [
            (i, centroid.astype(np.float32).tobytes(), json.dumps(astuple(mixture)))
            for i, (centroid, mixture) in enumerate(zip(centroids, mixtures, strict=True))
        ]
        with self._changing():
            self._db.executemany("INSERT INTO clusters VALUES (?, ?, ?)", rows)

    def clusters(self) -> tuple[Array, list[Mixture]]:
        """Returns the centroids (K, D) and the mixtures of the clusters; both empty before clustering."""
        rows = self._db.execute("SELECT centroid, mixture FROM clusters ORDER BY id").fetchall()
        return np.array([_vector(centroid) for centroid, _ in rows]), [_mixture(mixture) for _, mixture in rows]

    def assign(self, frames: Sequence[tuple[int, int]], clusters: Sequence[int]) -> None:
        """Notes the clusters of frames."""
        rows = [(int(cluster), *frame) for frame, cluster in zip(frames, clusters, strict=True)]
        with self._changing():
            self._db.executemany("UPDATE frames SET cluster = ? WHERE source = ? AND number = ?", rows)

    def unsegmented(self) -> list[tuple[int, int, Numbers]]:
        """Returns (cluster, source, numbers of the images to segment), by cluster."""
        query = "SELECT DISTINCT cluster, source FROM frames WHERE NOT done ORDER BY cluster, source"
        numbers = "SELECT number FROM frames WHERE cluster = ? AND source = ? AND NOT done ORDER BY number"
        return [
            (cluster, source, np.array([n for (n,) in self._db.execute(numbers, (cluster, source))], np.int64))
            for cluster, source in self._db.execute(query).fetchall()
        ]

    def waiting(self) -> Iterator[tuple[int, int, str]]:
        """Yields (source, number, name) of all frames that are not segmented."""
        yield from self._db.execute("SELECT source, number, name FROM frames WHERE NOT done").fetchall()

    def name(self, source: int, number: int) -> str:
        """Returns the name of a frame."""
        query = "SELECT name FROM frames WHERE source = ? AND number = ?"
        return str(self._db.execute(query, (source, number)).fetchone()[0])

    def finish(self, frames: Sequence[tuple[int, int]]) -> None:
        """Notes that the files of frames are complete."""
        with self._changing():
            self._db.executemany("UPDATE frames SET done = 1 WHERE source = ? AND number = ?", frames)

    def frames(self) -> Iterator[tuple[int, int, str, int, int]]:
        """Yields (source, number, name, stamp_ns, cluster) of the frames whose files are complete, in order."""
        query = "SELECT source, number, name, stamp_ns, cluster FROM frames WHERE done ORDER BY source, number"
        yield from self._db.execute(query)

    def skipped(self) -> list[tuple[int, int, str]]:
        """Returns (source, number, error) of the frames that this run could not read or segment."""
        return self._db.execute("SELECT source, number, error FROM skipped ORDER BY source, number").fetchall()

    def count(self) -> tuple[int, int]:
        """Returns the number of frames whose files are complete, and of those that have an embedding."""
        done, embedded = self._db.execute("SELECT IFNULL(SUM(done), 0), COUNT(*) FROM frames").fetchone()
        return int(done), int(embedded)

    def _open(self) -> None:
        """Locks the file and makes the tables that it lacks."""
        with self._changing():
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")  # a transaction takes microseconds and survives a kill
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(TABLES)

    def _claim(self, settings: Mapping[str, str]) -> None:
        """Stores the settings of a new run, or compares them with those of the run in the folder."""
        stored = dict(self._db.execute("SELECT name, value FROM settings").fetchall())
        changed = sorted(name for name in stored.keys() | settings.keys() if stored.get(name) != settings.get(name))
        if stored and changed:
            name = changed[0]
            got, expected = _difference(name, settings.get(name), stored.get(name))
            raise BatchError(
                "output folder of another run", where=self.folder, got=got, expected=expected,
                hint="Repeat the command as it was, or choose another folder. A recording must not change meanwhile.",
            )  # fmt: skip
        with self._changing():
            self._db.execute("DELETE FROM skipped")  # they are tried again
            self._db.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?)", settings.items())
            rows = [(i, each.label, storable(each.path)) for i, each in enumerate(self._sources)]
            self._db.executemany("INSERT OR IGNORE INTO sources (id, label, path) VALUES (?, ?, ?)", rows)

    def _check_sizes(self) -> None:
        """Refuses images that are not those that were embedded."""
        query = "SELECT source, name, size FROM files JOIN frames USING (source, number)"
        embedded = self._db.execute("SELECT DISTINCT source FROM files").fetchall()
        present = {source: self._sources[source].sizes() for (source,) in embedded}
        for source, name, size in self._db.execute(query):
            found = present[source].get(name, 0)
            if found != size:
                raise BatchError(
                    "an image has changed since it was embedded", where=f"{self._sources[source].path}, image {name}",
                    got=f"{found} bytes", expected=f"{size} bytes", hint="Choose another output folder.",
                )  # fmt: skip

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction.

        Raises:
            BatchError: The disk is full, the file cannot be written, or another run has it open.
        """
        try:
            with self._db:
                yield
        except sqlite3.Error as error:
            busy = "locked" in str(error)
            raise BatchError(
                "another run is going on in this folder" if busy else "state of the run cannot be written",
                where=self.folder / STATE, got=error,
                hint="Wait for its end, or choose another folder." if busy
                else "Free space on the disk or choose another folder, then run the command again: it continues.",
            ) from error  # fmt: skip


def _difference(name: str, now: str | None, before: str | None) -> tuple[str, str]:
    """What a setting or a recording is, and what it was in the run that is continued."""
    if not name.startswith(RECORDING):
        return f"{name}: {now or 'absent'}", before or "absent"
    if now and before:
        return f"{name} with other files", "the same files"
    return (f"a new {name}", "the recordings of the run") if now else (f"no {name}", "it, as in the run")


def _vector(data: bytes) -> Any:
    return np.frombuffer(data, np.float32).astype(np.float64)


def _mixture(text: str) -> Mixture:
    names, weights, distances, support = json.loads(text)
    return Mixture(tuple(names), tuple(weights), tuple(distances), support)

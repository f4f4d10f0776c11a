"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary file beside ``path`` to write to, which then takes its name.

    If the body fails, the temporary file is removed, and a file that existed before stays as it was. If the process
    is killed, the previous file stays as well, and the temporary file is left. After a power cut the new file may be
    empty or damaged: its data are not forced to the disk, which costs many milliseconds per file on an SD card.

    Args:
        path: File to write. Its folder exists.

    Raises:
        OSError: The file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

"""SHA-256 checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHUNK = 2**20


def sha256(path: Path) -> str:
    """Returns the SHA-256 checksum of a file, hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()

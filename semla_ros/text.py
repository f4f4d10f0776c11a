"""Text for messages."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def on_one_line(value: object) -> str:
    """Returns the text of a value with its control characters escaped: the name of a file may hold a line break."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], str(value))


def storable(value: object) -> str:
    """Returns the text of a path with what is no text in it escaped, so that it can be encoded."""
    return str(value).encode(errors="backslashreplace").decode()


def counted(number: int, noun: str) -> str:
    """Returns a number and what is counted, for example "1 adapter" and "2 adapters"."""
    return f"{number} {noun}{'s' * (number != 1)}"

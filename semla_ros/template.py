"""Templates of HTML pages that hold all their images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def rendered(template: Path, *filters: Callable[..., Any], **values: Any) -> str:
    """Fills a Jinja template. What it inserts is escaped, and a value that is missing is an error.

    Args:
        template: File of the template.
        filters: Functions that the template may use as filters, by their names.
        values: What the template may use.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {each.__name__: each for each in filters}
    return environment.get_template(template.name).render(**values)

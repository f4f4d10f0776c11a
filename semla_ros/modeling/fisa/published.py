"""Published weights of FISA's parts: there are none of FISA itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from semla_ros.errors import BundleError


def from_published(state: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """Refuses: no weights of FISA were ever published.

    Raises:
        BundleError: Always.
    """
    raise BundleError("no weights of FISA have been published", got=sorted(state)[:3])

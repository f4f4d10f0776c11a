"""Leave-one-out scores as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from semla_ros.evaluation.leave_one_out import Score
from semla_ros.evaluation.metrics import harmonic_mean

NO_SCORE = "–"


def as_json(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Converts scores to values that JSON can hold.

    Args:
        scores: Method to score.

    Returns:
        Method to ``per_domain``, ``h_mean`` and ``per_class``, in percent, and ``pq`` where there is one; ``h_mean`` is
        None without any domain.
    """
    return {method: _values(score) for method, score in scores.items()}


def _values(score: Score) -> dict[str, Any]:
    values = asdict(score) | {"h_mean": None if math.isnan(score.h_mean) else score.h_mean}
    return values if score.pq else {name: value for name, value in values.items() if name != "pq"}


def as_table(scores: Mapping[str, Score], domains: Sequence[str] = ()) -> str:
    """Formats scores as a Markdown table: one row per domain, one column per method, harmonic means in the last row.

    If there are panoptic qualities, they are a second table.

    Args:
        scores: Method to score.
        domains: Names of the evaluated domains, so that those without any score have a row too.
    """
    tables = [_table("mIoU, %", {method: score.per_domain for method, score in scores.items()}, domains)]
    if any(score.pq for score in scores.values()):
        tables.append(_table("PQ, %", {method: score.pq for method, score in scores.items()}, domains))
    return "\n\n".join(tables)


def _table(name: str, columns: Mapping[str, Mapping[str, float]], domains: Sequence[str]) -> str:
    domains = list(dict.fromkeys([*domains, *(domain for values in columns.values() for domain in values)]))
    rows = [[name, *columns], ["---", *("---:" for _ in columns)]]
    for domain in domains:
        found = (values.get(domain) for values in columns.values())
        rows.append([domain, *(NO_SCORE if value is None else f"{value:.1f}" for value in found)])
    rows.append(["**h-mean**", *(_mean(values, len(domains)) for values in columns.values())])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _mean(values: Mapping[str, float], domains: int) -> str:
    """The harmonic mean, with the number of domains if it is not the mean over all of them."""
    if not values:
        return NO_SCORE
    part = "" if len(values) == domains else f" ({len(values)} of {domains})"
    return f"**{harmonic_mean(values.values()):.1f}**{part}"

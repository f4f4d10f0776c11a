"""Leave-one-out scores as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from semla_ros.evaluation.leave_one_out import Score

NO_SCORE = "–"


def as_json(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Converts scores to values that JSON can hold.

    Args:
        scores: Method to score.

    Returns:
        Method to ``per_domain``, ``h_mean`` and ``per_class``, in percent; ``h_mean`` is None without any domain.
    """
    return {
        method: asdict(score) | {"h_mean": None if math.isnan(score.h_mean) else score.h_mean}
        for method, score in scores.items()
    }


def as_table(scores: Mapping[str, Score]) -> str:
    """Formats scores as a Markdown table: one row per domain, one column per method, harmonic means in the last row.

    Args:
        scores: Method to score.
    """
    domains = list(dict.fromkeys(domain for score in scores.values() for domain in score.per_domain))
    rows = [["mIoU, %", *scores], ["---", *("---:" for _ in scores)]]
    for domain in domains:
        values = (score.per_domain.get(domain) for score in scores.values())
        rows.append([domain, *(NO_SCORE if value is None else f"{value:.1f}" for value in values)])
    means = (_mean(score, len(domains)) for score in scores.values())
    rows.append(["**h-mean**", *means])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _mean(score: Score, domains: int) -> str:
    """The harmonic mean, with the number of domains if it is not the mean over all of them."""
    if not score.per_domain:
        return NO_SCORE
    part = "" if len(score.per_domain) == domains else f" ({len(score.per_domain)} of {domains})"
    return f"**{score.h_mean:.1f}**{part}"

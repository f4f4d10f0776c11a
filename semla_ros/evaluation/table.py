"""Leave-one-out scores for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from semla_ros.evaluation.leave_one_out import Score

ABSENT = "–"


def as_json(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Method to ``per_domain``, ``h_mean`` and ``per_class``, in percent."""
    return {method: asdict(score) for method, score in scores.items()}


def as_table(scores: Mapping[str, Score]) -> str:
    """Markdown: a row a domain, a column a method, the harmonic means last."""
    domains = list(dict.fromkeys(domain for score in scores.values() for domain in score.per_domain))
    rows = [["mIoU, %", *scores], ["---", *("---:" for _ in scores)]]
    for domain in domains:
        values = (score.per_domain.get(domain) for score in scores.values())
        rows.append([domain, *(ABSENT if value is None else f"{value:.1f}" for value in values)])
    means = (_mean(score, len(domains)) for score in scores.values())
    rows.append(["**h-mean**", *means])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _mean(score: Score, domains: int) -> str:
    """The harmonic mean, and over how many domains where not over all."""
    if not score.per_domain:
        return ABSENT
    some = "" if len(score.per_domain) == domains else f" ({len(score.per_domain)} of {domains})"
    return f"**{score.h_mean:.1f}**{some}"

"""Leave-one-out scores for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from semla_ros.evaluation.leave_one_out import Score


def as_json(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Method to ``per_domain`` and ``h_mean``, mIoU in percent."""
    return {method: asdict(score) for method, score in scores.items()}


def as_table(scores: Mapping[str, Score]) -> str:
    """Markdown: a row a domain, a column a method, the harmonic means last."""
    rows = [["mIoU, %", *scores], ["---", *("---:" for _ in scores)]]
    for domain in next(iter(scores.values())).per_domain:
        rows.append([domain, *(f"{score.per_domain[domain]:.1f}" for score in scores.values())])
    rows.append(["**h-mean**", *(f"**{score.h_mean:.1f}**" for score in scores.values())])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)

"""The benchmark's figures as tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rich.table import Table

TARGETS: dict[tuple[str, str], tuple[str, Callable[[float], bool]]] = {
    ("vitb16", "peft_over_fuse"): ("at least 6", lambda ratio: ratio >= 6),
    ("vitb16", "swap_over_forward"): ("at most 0.2", lambda ratio: ratio <= 0.2),
    ("vitb16", "forward_after_swap"): ("1.00 ± 0.02", lambda ratio: abs(ratio - 1) <= 0.02),
    ("vitb16", "reference_over_forward"): ("at least 4", lambda ratio: ratio >= 4),
    ("streetworld", "adapting_share"): ("at most 0.03", lambda ratio: ratio <= 0.03),
}
MEANING = {
    "peft_over_fuse": "PEFT's add + set + delete over our retrieve + fuse",
    "swap_over_forward": "retrieve + fuse + text over our forward",
    "forward_after_swap": "our forward after a swap over the bare one",
    "reference_over_forward": "the reference's forward over ours",
    "peft_forward_over_forward": "the reference's forward with PEFT's adapter over ours",
    "reference_text_over_text": "encoding prompts one by one over ours",
    "embed_over_forward": "the navigator over our forward",
    "adapting_share": "share of time: one embedding per navigator period, one swap per minimum interval",
}


def tables(figures: dict[str, Any]) -> Iterator[Table]:
    """Yields three tables per size: ratios, times, estimates."""
    for size, measured in figures["sizes"].items():
        yield _ratios(size, measured, figures["machine"]["processor"])
        yield _times(size, measured)
        yield _estimates(size, measured)


def _ratios(size: str, measured: dict[str, Any], processor: str) -> Table:
    table = Table("ratio", "", "measured", "target", title=f"{size}, {measured['classes']} classes, {processor}")
    for name, ratio in measured["ratios"].items():
        target, met = TARGETS.get((size, name), ("", lambda ratio: True))
        verdict = "" if not target else " ✓" if met(ratio) else " [red]missed[/red]"
        table.add_row(name, MEANING[name], f"{ratio:.3g}", target + verdict)
    for name, half in measured["halves"].items():
        agreement = half["agreement"]
        agree = "random weights" if agreement is None else f"{agreement:.2f} % of pixels agree"
        table.add_row(f"{name}_forward", f"float32 forward over {name}'s", f"{half['speedup']:.2f}", agree)
    return table


def _times(size: str, measured: dict[str, Any]) -> Table:
    table = Table("row", "median, ms", "spread", "roofline, ms", "over it", title=f"{size}: times")
    for name, timing in measured["stages_ms"].items():
        roofline = measured["rooflines"].get(name)
        low = (f"{roofline['roofline_ms']:.1f}", f"{roofline['over_roofline']:.2f}") if roofline else ("", "")
        table.add_row(name, f"{timing['median']:.2f}", f"± {timing['spread']:.2f}", *low)
    if isinstance(measured["cuda"], str):
        table.add_row("CUDA", measured["cuda"], "", "", "")
    memory = ", ".join(f"{name.replace('_', ' ')} {mib:.0f}" for name, mib in measured["memory_mib"].items())
    table.caption = f"MiB: {memory}; largest difference from the reference's logits: " + ", ".join(
        f"{what} {value:.1e}" for what, value in measured["differences"].items()
    )
    return table


def _estimates(size: str, measured: dict[str, Any]) -> Table:
    rows = list(measured["rooflines"])
    table = Table("not measured", *(f"{row}, ms" for row in rows), title=f"{size}: estimates, from data sheets")
    for board, precisions in measured["estimates_ms"].items():
        for precision, least in precisions.items():
            table.add_row(f"{board}, {precision}", *(f"{least[row]:.1f}" for row in rows))
    table.caption = "operations and bytes at the board's peak: a lower bound; expect two to three times as much"
    return table

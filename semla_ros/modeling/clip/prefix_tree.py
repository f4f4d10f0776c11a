"""Prompts as a tree of their common beginnings.

A causal encoder computes the same for the same beginning, and class prompts begin alike: "a photo of a". In the tree
every distinct beginning is one node, so that it is computed once; a node sees itself and its ancestors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixTree:
    """A tree of tokens, parents before children.

    Attributes:
        tokens: Token of each node, (L,) int64.
        depths: Its place in the prompt, from 0, (L,) int64.
        sees: Whether a node (row) attends to another (column): to itself and its ancestors, (L, L) bool.
        ends: Node of each prompt's end mark, (N,) int64.
    """

    tokens: Tensor
    depths: Tensor
    sees: Tensor
    ends: Tensor

    @classmethod
    def of(cls, prompts: Tensor) -> PrefixTree:
        """Builds the tree.

        Args:
            prompts: (N, context_length) int64; the end mark has the highest id, what follows it is left out.
        """
        nodes: dict[tuple[int, int], int] = {}
        lines: list[list[int]] = []  # node to its ancestors and itself
        ends = []
        for prompt, end in zip(prompts.tolist(), prompts.argmax(-1).tolist(), strict=True):
            node = -1
            for token in prompt[: end + 1]:
                parent, node = node, nodes.setdefault((node, token), len(nodes))
                if node == len(lines):
                    lines.append([*(lines[parent] if parent >= 0 else ()), node])
            ends.append(node)
        sees = torch.zeros(len(lines), len(lines), dtype=torch.bool)
        for node, line in enumerate(lines):
            sees[node, line] = True
        tokens, depths = torch.tensor([token for _, token in nodes]), sees.sum(1) - 1
        there = prompts.device
        return cls(tokens.to(there), depths.to(there), sees.to(there), torch.tensor(ends).to(there))

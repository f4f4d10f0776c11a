"""Prompts as a tree of their common prefixes.

In a causal encoder a token depends only on the tokens before it, and class prompts begin alike: "a photo of a". Each
distinct prefix is one node of the tree and is encoded once. A node attends to itself and to its ancestors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixTree:
    """A tree of tokens. Parents come before their children.

    Attributes:
        tokens: Token of each node, (L,) int64.
        depths: Position of each node in its prompt, from 0, (L,) int64.
        mask: Whether a node (row) attends to another one (column): to itself and its ancestors, (L, L) bool.
        ends: Node of the end token of each prompt, (N,) int64.
    """

    tokens: Tensor
    depths: Tensor
    mask: Tensor
    ends: Tensor

    @classmethod
    def of(cls, prompts: Tensor) -> PrefixTree:
        """Builds the tree.

        Args:
            prompts: Tokens (N, context_length) int64. The end token has the highest id; tokens after it are ignored.
        """
        nodes: dict[tuple[int, int], int] = {}  # (parent, token) to node
        paths: list[list[int]] = []  # node to its ancestors and itself
        ends = []
        for prompt, end in zip(prompts.tolist(), prompts.argmax(-1).tolist(), strict=True):
            node = -1
            for token in prompt[: end + 1]:
                parent, node = node, nodes.setdefault((node, token), len(nodes))
                if node == len(paths):
                    paths.append([*(paths[parent] if parent >= 0 else ()), node])
            ends.append(node)
        mask = torch.zeros(len(paths), len(paths), dtype=torch.bool)
        for node, path in enumerate(paths):
            mask[node, path] = True
        tokens, depths = torch.tensor([token for _, token in nodes]), mask.sum(1) - 1
        device = prompts.device
        return cls(tokens.to(device), depths.to(device), mask.to(device), torch.tensor(ends).to(device))

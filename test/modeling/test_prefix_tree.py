from __future__ import annotations

import torch
from torch import Tensor

from semla_ros.modeling.clip.prefix_tree import PrefixTree

END = 99
PROMPTS = torch.tensor([[1, 2, 3, END, 0, 0], [1, 2, 4, 5, END, 0], [1, 2, 3, 6, END, 7]])


def attended_from(tree: PrefixTree, node: Tensor) -> list[int]:
    """Tokens that a node attends to, in the order of the prompt."""
    path = tree.mask[node].nonzero()[:, 0]
    assert tree.depths[path].tolist() == list(range(len(path)))
    return tree.tokens[path].tolist()


def test_an_end_token_attends_to_its_own_prompt_and_to_nothing_else() -> None:
    tree = PrefixTree.of(PROMPTS)
    assert [attended_from(tree, end) for end in tree.ends] == [[1, 2, 3, END], [1, 2, 4, 5, END], [1, 2, 3, 6, END]]


def test_common_prefixes_are_stored_once() -> None:
    tree = PrefixTree.of(PROMPTS)
    assert len(tree.tokens) == 9  # 1 2 3 END, 4 5 END, 6 END
    assert tree.mask.shape == (9, 9)


def test_a_repeated_prompt_is_stored_once() -> None:
    tree = PrefixTree.of(PROMPTS[[0, 0]])
    assert len(tree.tokens) == 4
    assert tree.ends.tolist() == [3, 3]

"""The reference, our network and PEFT give the same numbers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny import CLASSES, random_navigator, random_network

from semla_ros.bench.peer import PeftPeer
from semla_ros.bench.reference import reference_logits, reference_text
from semla_ros.bench.subject import Options, Subject


@pytest.fixture
def subject() -> Subject:
    return Subject(random_network(), random_navigator(), CLASSES, Options(adapters=4, k=3, rank=2, repeats=1))


@torch.no_grad()
def test_our_network_equals_the_reference(subject: Subject) -> None:
    network, pixels = subject.segmenter.network, subject.pixels()
    text = reference_text(network.clip, subject.segmenter.tokens)
    assert torch.allclose(text, subject.segmenter.text, atol=1e-6)
    assert torch.allclose(reference_logits(network, pixels, text), network(pixels, text), atol=1e-5)


@torch.no_grad()
def test_a_mixture_in_peft_equals_the_fused_one(subject: Subject) -> None:
    network, pixels = subject.segmenter.network, subject.pixels()
    bare = network(pixels, subject.segmenter.text)
    mixture = subject.retrieve(np.ones(8))
    peer = PeftPeer(copy.deepcopy(network), subject.adapters)
    peer.add(mixture)
    peer.activate()
    theirs = reference_logits(peer.network, pixels, reference_text(peer.network.clip, subject.segmenter.tokens))
    subject.fuse(mixture)
    subject.segmenter.refresh_text()
    ours = network(pixels, subject.segmenter.text)
    assert torch.allclose(theirs, ours, atol=1e-4)
    assert (ours - bare).abs().max() > 1e-3

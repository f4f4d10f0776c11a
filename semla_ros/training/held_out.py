"""The mIoU of a segmenter on held-out images, while it is trained."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn.utils import parametrize

from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.images.classes import UNLABELLED
from semla_ros.modeling.base import UNDEFINED, Segmenter
from semla_ros.training.images import Images


class HeldOut:
    """Scores the present weights of a segmenter. All processes share the work and get the same score.

    Args:
        segmenter: Segmenter whose network is trained.
        images: Held-out images.
        accelerator: Device and processes.
    """

    def __init__(self, segmenter: Segmenter, images: Images, accelerator: Accelerator) -> None:
        self.segmenter, self.images, self.accelerator = segmenter, images, accelerator

    def miou(self) -> float:
        """Returns the mIoU in the plain mode at the size of the label maps, percent."""
        confusion = ConfusionMatrix(len(self.segmenter.classes))
        with parametrize.cached():  # the adapted weights are computed once, not once per image
            self.segmenter.refresh_text()
            for index in range(self.accelerator.process_index, len(self.images), self.accelerator.num_processes):
                labels = self.images.labels[index]
                predicted, _ = self.segmenter.segment(self.images.images[index], "plain", labels.shape)
                confusion.add(labels, np.where(predicted == UNDEFINED, UNLABELLED, predicted))
        counts = torch.from_numpy(confusion.counts).to(self.accelerator.device)
        confusion.counts = self.accelerator.reduce(counts, "sum").cpu().numpy()
        return confusion.miou

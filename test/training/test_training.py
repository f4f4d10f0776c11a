from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ARCH
from torch import nn

from semla_ros.errors import ImageError, TrainingError
from semla_ros.modeling.catseg.loss import SegmentationLoss
from semla_ros.modeling.catseg.network import CatSeg, cost_volume
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.streetworld.dataset import write_dataset
from semla_ros.training.card import write_card
from semla_ros.training.clip import navigator_arch, new_clip
from semla_ros.training.device import accelerator_on
from semla_ros.training.fitting import fit_adapter
from semla_ros.training.images import Images
from semla_ros.training.presets import PRESETS
from semla_ros.training.rendered import RenderedFolders
from semla_ros.training.schedule import Schedule
from semla_ros.training.segmenter import NAMES, backbone

CLASSES = ("road", "sky")


@pytest.fixture(scope="module")
def images() -> Images:
    """Half white above, half black below: sky and road."""
    images = np.zeros((8, ARCH.image_size, ARCH.image_size, 3), np.uint8)
    labels = np.zeros((8, 16, 16), np.uint8)
    images[:, : ARCH.image_size // 2], labels[:, :8] = 255, 1
    return Images(images, labels)


@pytest.fixture
def network() -> CatSeg:
    """A network whose features and texts are not zero."""
    torch.manual_seed(0)
    network = CatSeg(ARCH)
    nn.init.normal_(network.clip.visual.proj)
    nn.init.normal_(network.clip.text_projection)
    return network


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero():
    schedule = Schedule(steps=100, batch=1, lr=1.0, warmup=10)
    rates = [schedule.rate(step) for step in range(100)]
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    ("preset", "share"), [("small", 0.946), ("acdc", 0.526), ("muses", 0.75), ("full", 0.75), ("recyclelora", 1.0)]
)
def test_the_cosine_lowers_the_largest_learning_rate_and_the_polynomial_without_warm_up_does_not(preset, share):
    schedule = PRESETS[preset].schedule
    assert schedule.peak == pytest.approx(share * schedule.lr, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        ({"warmup_factor": 0.01}, (0.109, 1.0, 0.0)),
        ({"decay": "poly", "warmup": 0}, (1.0, 0.91, 0.016)),
    ],
)
def test_published_schedules_begin_and_end_as_published(changes, rates):
    schedule = replace(Schedule(steps=100, batch=1, lr=1.0, warmup=10), **changes)
    assert [schedule.rate(step) for step in (0, 9, 99)] == pytest.approx(rates, abs=0.03)


def test_a_changed_number_of_steps_keeps_the_proportions_of_a_preset():
    preset = PRESETS["acdc"].changed(steps=200, lr=0.5)
    assert (preset.schedule.warmup, preset.validate_every, preset.schedule.lr) == (100, 5, 0.5)
    assert PRESETS["acdc"].changed() == PRESETS["acdc"]


def test_every_synonym_of_a_class_is_drawn():
    loss = SegmentationLoss(CatSeg(ARCH), ("car, automobile, vehicle",))
    drawn = {tuple(loss.draw_prompts(torch.Generator().manual_seed(seed))[0].tolist()) for seed in range(40)}
    assert len(drawn) == 3


def test_streetworlds_classes_have_synonyms_in_training():
    assert "car, automobile, vehicle" in NAMES
    assert len(NAMES) == 12


def test_the_backbone_computes_the_same_text_embeddings_as_the_pretrained_clip():
    torch.manual_seed(0)
    clip = new_clip(ARCH).eval()
    tokens = tokenize(["a road"], ARCH.context_length)
    network = backbone(ARCH, clip.state_dict())
    theirs = nn.functional.normalize(clip.encode_text(tokens), dim=-1)
    assert torch.allclose(network.clip.encode_text(tokens), theirs, atol=1e-5)


def test_the_navigator_has_the_image_size_of_the_pretraining():
    arch = navigator_arch(ARCH)
    assert arch.image_size == ARCH.position_grid * ARCH.patch_size


def test_unlabelled_pixels_do_not_contribute_to_the_loss(images, network):
    loss = SegmentationLoss(network, CLASSES)
    prompts = loss.draw_prompts(torch.Generator())
    pixels, labels, _ = images.draw(2, torch.Generator().manual_seed(0))
    assert loss(pixels, torch.full_like(labels, 255), prompts) == 0
    assert loss(pixels, labels, prompts) > 0


def test_rare_classes_count_more_in_a_balanced_loss(network):
    plain, balanced = SegmentationLoss(network, CLASSES), SegmentationLoss(network, CLASSES, balance=0.5)
    prompts = plain.draw_prompts(torch.Generator())
    pixels, labels = torch.randint(0, 255, (2, 32, 32, 3), dtype=torch.uint8), torch.zeros(2, 32, 32, dtype=torch.int64)
    labels[:, :, 24:], labels[:, 0] = 1, 255  # a quarter of the labelled pixels is sky
    logits = network(normalised(pixels), network.clip.encode_text(prompts))
    logits = nn.functional.interpolate(logits, (32, 32), mode="bilinear")[:, :, 1:]
    targets = nn.functional.one_hot(labels[:, 1:], 2).permute(0, 3, 1, 2).float()
    for loss, weights in ((plain, (1.0, 1.0)), (balanced, (1.5**-0.5, 0.5**-0.5))):
        pos_weight = torch.tensor(weights)[:, None, None]
        labelled = nn.functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight)
        assert loss(pixels, labels, prompts).item() == pytest.approx(labelled.item() * 31 / 32, rel=1e-4)


def test_the_loss_of_the_patches_compares_each_patch_with_the_classes_of_its_own_pixels(network):
    plain, with_patches = SegmentationLoss(network, CLASSES), SegmentationLoss(network, CLASSES, patch_weight=0.5)
    prompts = plain.draw_prompts(torch.Generator())
    pixels = torch.randint(0, 255, (1, 32, 32, 3), dtype=torch.uint8)
    labels = torch.randint(0, 2, (1, 32, 32))
    labels[:, :10] = 255  # the first row of patches, and a part of the second
    dense = network.image_features(normalised(pixels)).dense
    logits = 1 / 0.07 * cost_volume(dense, network.clip.encode_text(prompts))[0]  # (2, H, W)
    total, side = 0.0, 32 // logits.shape[1]
    for y, x in np.argwhere(labels[0].numpy() < 255):
        total += nn.functional.cross_entropy(logits[None, :, y // side, x // side], labels[:, y, x]).item()
    difference = with_patches(pixels, labels, prompts) - plain(pixels, labels, prompts)
    assert difference.item() == pytest.approx(0.5 * total / (32 * 22), rel=1e-3)
    assert with_patches(pixels, torch.full_like(labels, 255), prompts) == 0


@pytest.mark.parametrize("method", ["lora", "recyclelora", "full"])
def test_training_an_adapter_lowers_the_loss_and_keeps_the_base_weights(images, tmp_path, method):
    torch.manual_seed(0)
    network = backbone(ARCH, new_clip(ARCH).state_dict()).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    preset = PRESETS["small"].changed(
        steps=40, batch=4, lr={"lora": 1e-2, "recyclelora": 5e-2, "full": 1e-3}[method], rank=4
    )
    loss, accelerator = SegmentationLoss(network, CLASSES), accelerator_on("cpu")
    adapter, _ = fit_adapter("half", method, loss, network.adapted_layers(), images, preset, tmp_path, 0, accelerator)
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    losses = [float(line.split(",")[1]) for line in (tmp_path / "half.csv").read_text().splitlines()[1:]]
    assert losses[-1] < losses[0]
    assert any(up.abs().max() > 0 for _, up in adapter.factors.values()) or method == "full"
    assert bool(adapter.difference) is (method == "full")


def test_data_sets_are_loaded_in_order_and_at_the_requested_sizes(tmp_path):
    write_dataset(tmp_path / "fog_day", "fog_day", 2, 0, (48, 64))
    write_dataset(tmp_path / "corridor", "corridor", 3, 0, (48, 64))
    folders = RenderedFolders(tmp_path, {"fog_day": 2, "corridor": 2})
    images = Images.read(folders, 32, 16)
    assert images.images.shape == (4, 32, 32, 3)
    assert images.labels.shape == (4, 16, 16)
    assert folders.captions[0] == (tmp_path / "fog_day/captions.txt").read_text().splitlines()[0]
    assert set(np.unique(images.labels)) <= set(range(12))


def test_images_are_mirrored_together_with_their_labels(images):
    left = Images(images.images.copy(), images.labels.copy())
    left.images[:] = 0
    left.labels[:] = 0
    left.images[:, :, : ARCH.image_size // 2], left.labels[:, :, :8] = 255, 1
    pixels, labels, _ = left.draw(8, torch.Generator().manual_seed(1))
    bright = nn.functional.adaptive_avg_pool2d(pixels.float().mean(-1), 16) > 127
    assert torch.equal(bright.long(), labels)
    assert len({bool(label[0, 0]) for label in labels}) == 2


def test_the_model_card_has_the_first_and_the_last_loss(tmp_path):
    log = tmp_path / "clip.csv"
    log.write_text("step,loss,learning_rate,miou,seconds\n19,4.5,1e-3,,3\n39,2.5,1e-4,,6\n")
    write_card(tmp_path / "README.md", "A stand-in.", 7, "8 images", "hinge", {"clip": (log, Schedule(40, 16, 1e-3))})
    text = (tmp_path / "README.md").read_text()
    assert "| clip | 40 | 16 | 0.001 | 4.5 | 2.5 | 6 |" in text
    assert "seed 7" in text
    assert "captions,\nhinge for the other stages" in text


def test_samples_without_a_caption_are_incomplete_and_not_loaded(tmp_path):
    write_dataset(tmp_path, "dusk", 2, 0, (48, 64))
    captions = (tmp_path / "captions.txt").read_text().splitlines()
    (tmp_path / "captions.txt").write_text(f"{captions[0]}\n")
    folders = RenderedFolders(tmp_path.parent, {tmp_path.name: 2})
    assert len(Images.read(folders, 32, 16)) == len(folders.captions) == 1


def test_a_folder_without_samples_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=rf"no complete data set.*{tmp_path.name}"):
        RenderedFolders(tmp_path.parent, {tmp_path.name: 2})


def test_a_damaged_training_image_is_refused_by_name(tmp_path):
    write_dataset(tmp_path, "dusk", 2, 0, (48, 64))
    file = tmp_path / "labels/000001.png"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ImageError, match=r"cannot be read.*labels/000001\.png"):
        Images.read(RenderedFolders(tmp_path.parent, {tmp_path.name: 2}), 32, 16)


def test_processes_share_a_batch_without_overlap(images):
    numbered = Images(images.images + np.arange(8, dtype=np.uint8)[:, None, None, None], images.labels)
    whole, labels, chosen = numbered.draw(6, torch.Generator().manual_seed(2))
    for rank in range(2):
        part = numbered.draw(6, torch.Generator().manual_seed(2), slice(rank, None, 2))
        assert all(torch.equal(mine, every[rank::2]) for mine, every in zip(part, (whole, labels, chosen), strict=True))


def test_the_last_images_are_held_out(images):
    train, held_out = images.split(0.3)
    assert (len(train), len(held_out)) == (6, 2)
    assert np.shares_memory(held_out.images, images.images[6:])

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import NAVIGATOR, image, random_navigator

from semla_ros.errors import BundleError
from semla_ros.modeling.navigators.clip import ClipNavigator, ClipNavigatorArch, centre


@pytest.fixture(scope="module")
def navigator() -> ClipNavigator:
    return random_navigator()


def test_an_embedding_is_a_vector_of_doubles_and_the_same_every_time(navigator: ClipNavigator) -> None:
    embedding = navigator.embed(image("red"))
    assert (embedding.shape, embedding.dtype) == ((8,), np.float64)
    assert (navigator.embed(image("red")) == embedding).all()


def test_embeddings_are_not_normalised(navigator: ClipNavigator) -> None:
    lengths = [np.linalg.norm(navigator.embed(image(domain))) for domain in ("red", "green", "blue")]
    assert np.ptp(lengths) > 1e-3
    assert not np.isclose(lengths, 1.0).any()


def test_an_image_is_resized_bicubically_and_normalised(navigator: ClipNavigator) -> None:
    rgb = image("green", height=90, width=48)
    small = np.asarray(Image.fromarray(rgb).resize((16, 16), Image.Resampling.BICUBIC), np.float32) / 255
    pixels = torch.from_numpy((small - np.float32(NAVIGATOR.mean)) / np.float32(NAVIGATOR.std)).permute(2, 0, 1)
    with torch.inference_mode():
        expected = navigator.network(pixels[None])[0].double().numpy()
    assert navigator.embed(rgb) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (480, 640)])
def test_an_image_of_any_size_is_embedded(navigator: ClipNavigator, size: tuple[int, int]) -> None:
    assert np.isfinite(navigator.embed(image("blue", height=size[0], width=size[1]))).all()


@pytest.mark.parametrize("size", [(3000, 1), (1, 3001)])
def test_memory_for_a_very_long_image_is_that_of_its_centre(size: tuple[int, int], monkeypatch: Any) -> None:
    resize, pixels = Image.Image.resize, []

    def counted(image: Image.Image, size: tuple[int, int], *args: Any) -> Image.Image:
        pixels.append(size[0] * size[1])
        return resize(image, size, *args)

    monkeypatch.setattr(Image.Image, "resize", counted)
    ramp = np.zeros((*size, 3), np.uint8)
    ramp[:] = np.linspace(100, 160, max(size)).astype(np.uint8).reshape(*size, 1)
    square = np.asarray(centre(Image.fromarray(ramp), 224))
    assert square.shape == (224, 224, 3)
    assert ((square >= 129) & (square <= 131)).all()
    assert max(pixels) <= 16 * 224 * 224


def test_similar_images_have_closer_embeddings_than_different_ones(navigator: ClipNavigator) -> None:
    red, again, blue = (navigator.embed(image(*what)) for what in (("red", 0), ("red", 1), ("blue", 0)))
    assert np.linalg.norm(red - again) < 0.3 * np.linalg.norm(red - blue)


def test_the_network_is_in_evaluation_mode_without_gradients(navigator: ClipNavigator) -> None:
    assert not navigator.network.training
    assert not any(parameter.requires_grad for parameter in navigator.network.parameters())


def test_an_architecture_is_written_and_read_unchanged() -> None:
    assert ClipNavigatorArch.from_dict(NAVIGATOR.to_dict()) == NAVIGATOR


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("activation", "relu", "quick_gelu or gelu"), ("resize_mode", "longest", "shortest or squash"), ("heads", 3, "16"),
     ("heads", 0, "16")],
)  # fmt: skip
def test_values_that_are_not_supported_are_refused(field: str, value: object, expected: str) -> None:
    with pytest.raises(BundleError, match=f"navigator.{field}.*got {value}.*{expected}"):
        ClipNavigatorArch.from_dict({**NAVIGATOR.to_dict(), field: value})


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(BundleError, match=r"architecture does not fit \(ClipNavigatorArch.*depth"):
        ClipNavigatorArch.from_dict({**NAVIGATOR.to_dict(), "depth": 3})

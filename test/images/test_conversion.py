from __future__ import annotations

import array
import io
import struct
import sys
import textwrap
import tracemalloc
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from semla_ros.errors import ImageError
from semla_ros.images import bridge
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.classes import class_table
from semla_ros.images.conversion import colorize, decode, decode_compressed, decode_file, overlay, to_mono8
from semla_ros.images.encodings import ENCODINGS

HEIGHT, WIDTH = 6, 8
RGB = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = RGB[..., 0]
OPAQUE = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
GREY_AS_RGB = np.repeat(GREY[..., None], 3, axis=2)
PIXELS = {
    "rgb8": (RGB, RGB),
    "bgr8": (RGB[..., ::-1], RGB),
    "8UC3": (RGB[..., ::-1], RGB),
    "rgba8": (np.dstack([RGB, OPAQUE]), RGB),
    "bgra8": (np.dstack([RGB[..., ::-1], OPAQUE]), RGB),
    "mono8": (GREY, GREY_AS_RGB),
    "8UC1": (GREY, GREY_AS_RGB),
    "mono16": (GREY.astype("<u2") * 257, GREY_AS_RGB),
    "16UC1": (GREY.astype("<u2") * 257, GREY_AS_RGB),
}
RED_IN_YUV = {"yuv422": (90, 81, 240, 81), "yuv422_yuy2": (81, 90, 81, 240)}  # BT.601, studio range
RED_IN_YUV |= {"uyvy": RED_IN_YUV["yuv422"], "yuyv": RED_IN_YUV["yuv422_yuy2"]}


def message(encoding: str, pixels: np.ndarray, padding: int = 0, **changes: Any) -> SimpleNamespace:
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    fields = {"height": len(pixels), "width": pixels.shape[1], "encoding": encoding, "is_bigendian": 0}
    return SimpleNamespace(**(fields | {"step": padded.shape[1], "data": padded.ravel()} | changes))


def compressed(data: bytes, form: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(format=form, data=np.frombuffer(data, np.uint8))


def encoded(rgb: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, rgb[..., ::-1].copy() if rgb.ndim == 3 else rgb)[1].tobytes()


def smooth_image() -> np.ndarray:
    rows, columns = np.mgrid[0:48, 0:64]
    return np.dstack([rows * 5, columns * 4, rows + columns]).astype(np.uint8)


@pytest.fixture(params=["opencv", "cv_bridge"])
def converter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test once with OpenCV alone and once with the installed cv_bridge."""
    if request.param == "opencv":
        monkeypatch.setattr(bridge, "correct_encodings", frozenset)
    elif not bridge.correct_encodings():
        pytest.skip("cv_bridge is not installed, or not sound, on this machine")
    return str(request.param)


@pytest.mark.usefixtures("converter")
class TestBothConverters:
    @pytest.mark.parametrize("encoding", PIXELS)
    @pytest.mark.parametrize("padding", [0, 5, 24])
    def test_every_encoding_gives_the_same_rgb_image_with_and_without_row_padding(
        self, encoding: str, padding: int
    ) -> None:
        stored, expected = PIXELS[encoding]
        rgb = decode(message(encoding, stored, padding))
        assert rgb.dtype == np.uint8
        np.testing.assert_array_equal(rgb, expected)

    @pytest.mark.parametrize("encoding", RED_IN_YUV)
    def test_yuv_pairs_of_pixels_become_their_colour(self, encoding: str) -> None:
        pixels = np.tile(np.array(RED_IN_YUV[encoding], np.uint8).reshape(1, 2, 2), (HEIGHT, WIDTH // 2, 1))
        rgb = decode(message(encoding, pixels)).astype(int)
        assert np.abs(rgb - (255, 0, 0)).max() <= 2

    @pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
    def test_a_bayer_mosaic_of_one_colour_becomes_that_colour(self, pattern: str) -> None:
        color = {"r": 200, "g": 100, "b": 50}
        tile = np.array([color[letter] for letter in pattern], np.uint8).reshape(2, 2)
        rgb = decode(message(f"bayer_{pattern}8", np.tile(tile, (HEIGHT // 2, WIDTH // 2)), padding=3))
        np.testing.assert_array_equal(rgb, np.broadcast_to((200, 100, 50), (HEIGHT, WIDTH, 3)))

    def test_mono16_of_a_big_endian_sender_gives_the_same_image(self) -> None:
        swapped = (GREY.astype(np.uint16) * 257).astype(">u2")
        np.testing.assert_array_equal(decode(message("mono16", swapped, is_bigendian=1)), GREY_AS_RGB)

    def test_mono16_is_scaled_from_the_full_range_and_rounded(self) -> None:
        pixels = np.array([[0, 128, 129, 32768, 65535, 65280]], "<u2")
        assert decode(message("mono16", pixels))[0, :, 0].tolist() == [0, 0, 1, 128, 255, 254]

    @pytest.mark.parametrize("container", [bytes, list, lambda data: array.array("B", data), memoryview])
    def test_any_container_of_bytes_is_accepted(self, container: Any) -> None:
        data = container(RGB[..., ::-1].tobytes())
        np.testing.assert_array_equal(decode(message("bgr8", RGB, data=data)), RGB)


def test_images_of_14_bits_are_scaled_by_the_bit_depth_of_their_stream() -> None:
    depth = BitDepth()
    pixels = np.array([[0, 2**13, 2**14 - 1]], "<u2")
    assert decode(message("mono16", pixels), depth)[0, :, 0].tolist() == [0, 128, 255]
    assert decode(message("16UC1", pixels // 16), depth)[0, :, 0].tolist() == [0, 8, 16]
    data = encoded(np.array([[0, 2**12, 2**13]], np.uint16))
    assert decode_compressed(compressed(data, "mono16; png compressed"), depth)[0, :, 0].tolist() == [0, 64, 128]


def test_an_rgb8_image_is_a_view_of_the_message_and_not_a_copy() -> None:
    source = message("rgb8", RGB, padding=6)
    assert np.shares_memory(decode(source), source.data)


def test_an_rgb8_image_of_read_only_bytes_is_copied_so_that_it_can_be_written() -> None:
    rgb = decode(message("rgb8", RGB, data=RGB.tobytes()))
    assert rgb.flags.writeable
    np.testing.assert_array_equal(rgb, RGB)


def test_is_bigendian_may_be_a_bool() -> None:
    pixels = GREY.astype("<u2") * 257
    np.testing.assert_array_equal(decode(message("mono16", pixels, is_bigendian=False)), GREY_AS_RGB)


def refusal(source: SimpleNamespace) -> str:
    with pytest.raises(ImageError) as caught:
        decode(source)
    return str(caught.value)


def test_the_error_for_an_unknown_encoding_names_it_and_the_known_ones() -> None:
    text = refusal(message("32FC1", RGB))
    assert "unknown encoding" in text
    assert "'32FC1'" in text
    assert all(name in text for name in ENCODINGS)


def test_an_encoding_of_a_million_characters_is_not_quoted_whole() -> None:
    text = refusal(message("x" * 1_000_000, RGB))
    assert "'xxxx" in text
    assert "(1000000 characters)" in text
    assert len(text) < 500


def test_a_format_of_a_million_characters_is_not_quoted_whole() -> None:
    with pytest.raises(ImageError) as caught:
        decode_compressed(compressed(encoded(RGB), "compressedDepth" + "x" * 1_000_000))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("height", "width"), [(0, 8), (6, 0), (0, 0)])
def test_the_error_for_an_image_without_pixels_names_its_size(height: int, width: int) -> None:
    text = refusal(message("rgb8", RGB, height=height, width=width))
    assert "empty image" in text
    assert f"{width}x{height}" in text


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_error_for_a_truncated_image_names_both_sizes(encoding: str) -> None:
    row = WIDTH * ENCODINGS[encoding].pixel_bytes
    source = message(encoding, np.zeros((HEIGHT, row), np.uint8), width=WIDTH)
    source.data = source.data[:-1]
    text = refusal(source)
    assert "truncated" in text
    assert f"{row * HEIGHT - 1} bytes" in text
    assert f"{row * HEIGHT} for {WIDTH}x{HEIGHT}" in text


def test_an_image_of_no_bytes_is_refused_as_truncated() -> None:
    assert "got 0 bytes" in refusal(message("rgb8", RGB, data=b""))


@pytest.mark.parametrize("step", [0, WIDTH, 3 * WIDTH - 1])
def test_the_error_for_a_step_shorter_than_a_row_names_both(step: int) -> None:
    text = refusal(message("rgb8", RGB, step=step))
    assert "step too small" in text
    assert f"got {step}" in text
    assert "expected 24 bytes" in text


def test_a_too_large_size_is_refused_before_memory_is_allocated() -> None:
    text = refusal(message("mono8", GREY, height=2**32 - 1, width=2**32 - 1, step=2**32 - 1))
    assert "image too large" in text
    assert "4294967295x4294967295" in text


def test_an_odd_width_is_refused_where_columns_share_their_colour() -> None:
    assert "odd width" in refusal(message("uyvy", np.zeros((4, 7, 2), np.uint8)))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp"])
def test_lossless_files_are_decoded_exactly(suffix: str) -> None:
    flags = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    data = cv2.imencode(suffix, RGB[..., ::-1].copy(), flags)[1].tobytes()
    np.testing.assert_array_equal(decode_compressed(compressed(data, "whatever")), RGB)


def test_a_decoded_jpeg_is_close_to_the_original_and_in_rgb_order() -> None:
    image = smooth_image()
    rgb = decode_compressed(compressed(encoded(image, ".jpg"), "rgb8; jpeg compressed bgr8"))
    assert np.abs(rgb.astype(int) - image).mean() < 3


@pytest.mark.parametrize("form", ["16UC1; png compressed ", "mono16; png compressed mono16"])
def test_a_png_of_sixteen_bits_is_scaled_to_eight(form: str) -> None:
    data = encoded(GREY.astype(np.uint16) * 257)
    rgb = decode_compressed(compressed(data, form))
    assert np.abs(rgb.astype(int) - GREY_AS_RGB).max() <= 1


def test_a_file_of_floating_point_values_is_refused_with_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((6, 8, 3), np.float32))  # some versions read such TIFFs
    with pytest.raises(ImageError, match="unsupported pixel type: got float32"):
        decode_file(encoded(RGB))


def test_compressed_depth_is_refused() -> None:
    with pytest.raises(ImageError, match=r"depth image has no colours .*compressedDepth png"):
        decode_compressed(compressed(encoded(RGB), "16UC1; compressedDepth png"))


def test_an_empty_compressed_image_is_refused() -> None:
    with pytest.raises(ImageError, match="empty image: got 0 bytes"):
        decode_compressed(compressed(b""))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6, 0.95])
def test_the_error_for_a_truncated_file_names_its_size(suffix: str, kept: float) -> None:
    data = encoded(smooth_image(), suffix)
    part = data[: int(kept * len(data))]
    with pytest.raises(ImageError, match=f"got {len(part)} bytes"):
        decode_compressed(compressed(part))


def test_a_truncated_jpeg_is_refused_even_if_opencv_fills_it_with_grey(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(smooth_image(), ".jpg")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ImageError, match="truncated"):
        decode_compressed(compressed(data[:-100]))


def test_bytes_that_are_no_image_are_refused() -> None:
    with pytest.raises(ImageError, match=r"(not an|truncated or damaged) image: got 100 bytes"):
        decode_compressed(compressed(bytes(range(100))))


@pytest.mark.parametrize("side", [17_000, 100_000, 2**31 - 1])
def test_a_small_file_that_announces_a_huge_image_is_refused(side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, 8 if side == 17_000 else side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="image too large") as caught:
        decode_compressed(compressed(data))
    assert "sides of at most 16384 pixels" in str(caught.value)
    assert "DOS attack" not in str(caught.value)  # Pillow's words


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff"])
def test_damaged_files_raise_image_errors_and_nothing_else(suffix: str) -> None:
    generator = np.random.default_rng(2)
    data = encoded(smooth_image(), suffix)
    refused = 0
    for _ in range(100):
        damaged = bytearray(data)
        for position in generator.integers(0, min(len(data), 200), 4):
            damaged[position] = generator.integers(0, 256)
        try:
            decode_compressed(compressed(bytes(damaged)))
        except ImageError:
            refused += 1
    assert refused > 10


def turned_photo() -> bytes:
    photo, exif = Image.fromarray(smooth_image()), Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by a quarter
    photo.save(out := io.BytesIO(), "JPEG", exif=exif)
    return out.getvalue()


def test_the_exif_orientation_is_applied_to_files_but_not_to_camera_messages() -> None:
    assert decode_file(turned_photo()).shape == (64, 48, 3)
    assert decode_compressed(compressed(turned_photo())).shape == (48, 64, 3)


CLASSES = class_table(["road", "sky", "car"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_have_the_colours_of_their_classes_and_unknown_ids_are_black(dtype: type) -> None:
    unlabelled = np.iinfo(dtype).max
    image = colorize(np.array([[0, 1, 2], [3, 200, unlabelled]], dtype), CLASSES)
    assert image.dtype == np.uint8
    assert image.tolist() == [[[128, 64, 128], [70, 130, 180], [0, 0, 142]], [[0, 0, 0]] * 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_painting_a_large_label_image_takes_little_more_memory_than_its_result(dtype: type) -> None:
    labels = np.zeros((2048, 2048), dtype)
    tracemalloc.start()
    try:
        image = colorize(labels, CLASSES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * image.nbytes


def test_every_row_of_a_large_label_image_is_painted() -> None:
    labels = (np.arange(1000)[:, None] % 3 * np.ones((1, 5))).astype(np.uint8)
    colors = np.array([info.color for info in CLASSES], np.uint8)
    np.testing.assert_array_equal(colorize(labels, CLASSES), colors[labels])


@pytest.mark.parametrize("opacity", [0.0, 0.25, 1.0])
def test_the_overlay_blends_by_opacity_and_leaves_unlabelled_pixels_alone(opacity: float) -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 4:] = 255
    blend = overlay(RGB, labels, CLASSES, opacity)
    expected = (1 - opacity) * RGB + opacity * np.array(CLASSES[0].color)
    assert np.abs(blend[:, :4] - expected[:, :4]).max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(blend[:, 4:], RGB[:, 4:])


def test_an_overlay_of_another_size_is_refused() -> None:
    with pytest.raises(ImageError, match=r"got \(3, 4\), expected \(6, 8\)"):
        overlay(RGB, np.zeros((3, 4), np.uint8), CLASSES)


SOUND = """
import cv2, numpy as np
class CvBridge:
    def imgmsg_to_cv2(self, message, desired):
        assert desired == "rgb8"
        channels = len(message.encoding) - 1  # bgr8, rgba8, bgra8
        pixels = np.asarray(message.data).reshape(message.height, -1, channels)[:, : message.width]
        code = {"bgr8": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_RGBA2RGB, "bgra8": cv2.COLOR_BGRA2RGB}[message.encoding]
        return cv2.cvtColor(np.ascontiguousarray(pixels), code)
"""
MIXES_CHANNELS = SOUND.replace("COLOR_BGR2RGB", "COLOR_BGR2BGRA").replace("COLOR_BGRA2RGB", "COLOR_BGRA2BGR")
CRASHES = "class CvBridge:\n    def imgmsg_to_cv2(self, message, desired):\n        import os; os.abort()\n"
DOES_NOT_IMPORT = "raise ImportError('numpy.core.multiarray failed to import')"


@pytest.fixture
def install(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a stand-in for cv_bridge where this process and its children find it first."""

    def put(source: str) -> None:
        (tmp_path / "cv_bridge.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *filter(None, sys.path)]))
        monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
        forget()

    def forget() -> None:
        bridge.correct_encodings.cache_clear()
        bridge._cv_bridge.cache_clear()

    yield put
    forget()
    sys.modules.pop("cv_bridge", None)


def test_a_sound_cv_bridge_is_used_for_the_encodings_it_handles(install: Any) -> None:
    install(SOUND)
    assert bridge.correct_encodings() == {"bgr8", "rgba8", "bgra8"}
    assert bridge.handles(message("bgr8", RGB))
    np.testing.assert_array_equal(decode(message("bgr8", RGB[..., ::-1], padding=6)), RGB)
    np.testing.assert_array_equal(decode(message("mono8", GREY)), GREY_AS_RGB)


def test_rows_that_cv_bridge_cannot_split_are_converted_by_opencv(install: Any) -> None:
    install(SOUND)
    assert not bridge.handles(message("bgr8", RGB, padding=5))
    np.testing.assert_array_equal(decode(message("bgr8", RGB[..., ::-1], padding=5)), RGB)


@pytest.mark.parametrize("broken", [CRASHES, DOES_NOT_IMPORT])
def test_a_cv_bridge_that_crashes_or_does_not_import_is_never_used(install: Any, broken: str) -> None:
    install(broken)
    assert bridge.correct_encodings() == frozenset()
    np.testing.assert_array_equal(decode(message("bgr8", RGB[..., ::-1])), RGB)


def test_a_cv_bridge_that_hangs_is_never_used(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "PROBE_S", 0.5)
    install("import time\ntime.sleep(600)")
    assert bridge.correct_encodings() == frozenset()


def test_encodings_whose_channels_cv_bridge_confuses_are_converted_by_opencv(install: Any) -> None:
    install(MIXES_CHANNELS)
    assert bridge.correct_encodings() == {"rgba8"}
    np.testing.assert_array_equal(decode(message("bgra8", np.dstack([RGB[..., ::-1], OPAQUE]))), RGB)


def test_confidences_are_rounded_to_255_steps_and_saturate() -> None:
    confidence = np.array([[0.0, 0.5 / 255 + 1e-4, 0.5, 1.0, 1.0 + 1e-6]], np.float32)
    assert to_mono8(confidence).tolist() == [[0, 1, 128, 255, 255]]
    assert to_mono8(confidence).dtype == np.uint8

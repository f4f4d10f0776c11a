"""The camera image of a rendered scene in given weather: atmosphere, rain, snow, lens and sensor."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld.layers import Layers
from semla_ros.streetworld.lighting import emission, horizon_color, radiance
from semla_ros.streetworld.weather import Weather, apply_fog

Array = NDArray[np.float32]


def capture(layers: Layers, weather: Weather, rng: np.random.Generator, lens_seed: int = 0) -> NDArray[np.uint8]:
    """Computes the camera image.

    Args:
        layers: Geometry and surfaces in view.
        weather: Light, weather, lens and sensor.
        rng: Random generator of raindrops, snowflakes and sensor noise.
        lens_seed: Seed of the stains on the lens. It is constant during a drive, so the stains do not move.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    light = apply_atmosphere(radiance(layers, weather), layers, weather)
    light += _lamp_bloom(layers, weather)
    airlight = horizon_color(weather)
    if weather.rain > 0.02:
        _add_rain_streaks(light, weather, airlight, rng)
    if weather.flakes > 0.02:
        _add_snowflakes(light, weather, airlight, rng)
    light = _apply_lens(light, weather, lens_seed)
    return _apply_sensor(light, weather, rng)


def apply_atmosphere(scene: Array, layers: Layers, weather: Weather) -> Array:
    """Adds fog by Koschmieder's law and, at night, the light that fog scatters back from the headlights.

    Args:
        scene: Radiance of the surfaces, linear light, (H, W, 3) float32.
        layers: Geometry in view.
        weather: Light and weather.

    Returns:
        Radiance at the lens, linear light, (H, W, 3) float32.
    """
    if layers.layout.ceiling:
        return scene
    hazy = apply_fog(scene, layers.depth, weather.fog, horizon_color(weather))
    glare = weather.night * min(weather.fog / 0.04, 1.0)
    if glare > 0.02:
        cone = np.exp(-((layers.ray_right / 0.55) ** 2) - ((layers.ray_up + 0.16) / 0.2) ** 2)
        lit = 1.0 - np.exp(np.float32(-3 * weather.fog) * np.minimum(layers.depth, 40.0))
        hazy += (np.float32(0.11 * glare) * cone * lit)[..., None]
    return hazy


def _lamp_bloom(layers: Layers, weather: Weather) -> Array:
    """Glow around bright lamps: small in clear air, large in fog and rain."""
    height, width = layers.depth.shape
    haze = min(weather.fog / 0.03, 1.0)
    transmission = np.exp(np.float32(-0.6 * weather.fog) * layers.depth)[..., None]
    small = cv2.resize(
        emission(layers, weather) * transmission, (width // 4, height // 4), interpolation=cv2.INTER_AREA
    )
    spread = cv2.GaussianBlur(small, (0, 0), (1.2 + 3.0 * haze) * width / 384)
    gain = 0.25 + 0.5 * haze + 0.2 * weather.rain
    wide: Array = cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(gain)
    return wide


def _add_rain_streaks(light: Array, weather: Weather, airlight: Array, rng: np.random.Generator) -> None:
    """Draws falling raindrops as faint streaks that are brighter than the background. Changes ``light`` in place."""
    height, width = light.shape[:2]
    count = int(420 * weather.rain * height * width / 92160)
    x, y = rng.uniform(0, width, count), rng.uniform(-0.1 * height, height, count)
    length, slant = rng.uniform(0.03, 0.13, count) * height, rng.normal(0.12, 0.05, count)
    ends = np.stack([x + slant * length, y + length], axis=1)
    lines = np.round(np.stack([np.stack([x, y], axis=1), ends], axis=1) * 16).astype(np.int32)
    drops = np.zeros((height, width), np.uint8)
    for tone in range(3):
        cv2.polylines(drops, list(lines[tone::3]), False, 70 + 70 * tone, 1, cv2.LINE_AA, 4)
    strength = np.float32(0.4 / 255) * drops.astype(np.float32)
    light += strength[..., None] * (airlight * 1.1 + 0.25 * light.mean(axis=(0, 1)) + 0.02)


def _add_snowflakes(light: Array, weather: Weather, airlight: Array, rng: np.random.Generator) -> None:
    """Draws falling snow: few large flakes nearby, many small ones far away. Changes ``light`` in place."""
    height, width = light.shape[:2]
    scale = width / 384
    count = int(520 * weather.flakes * height * width / 92160)
    near = rng.random(count) ** 5
    x, y = (rng.uniform(0, width, count) * 16).astype(int), (rng.uniform(0, height, count) * 16).astype(int)
    radius = ((0.35 + 2.6 * near) * scale * 16).astype(int)
    snow = np.zeros((height, width), np.uint8)
    for center_x, center_y, size in zip(x.tolist(), y.tolist(), radius.tolist(), strict=True):
        cv2.circle(snow, (center_x, center_y), size, 235, -1, cv2.LINE_AA, 4)
    veil = cv2.GaussianBlur(snow, (0, 0), 0.8 * scale).astype(np.float32)[..., None] * np.float32(0.9 / 255)
    color = airlight * (1.25 + 2.0 * weather.night) + np.float32(0.1 * weather.night + 0.06)
    light += (color - light) * veil


def _apply_lens(light: Array, weather: Weather, seed: int) -> Array:
    """Blurs the image and adds stains on the lens."""
    width = light.shape[1]
    sharp = weather.blur * width / 384
    if sharp > 0.2:
        cv2.GaussianBlur(light, (0, 0), sharp, dst=light)
    return _apply_stains(light, weather.dirt, seed) if weather.dirt > 0.02 else light


def _apply_stains(light: Array, dirt: float, seed: int) -> Array:
    """Blurs and tints the image behind randomly placed stains."""
    rng = np.random.default_rng(seed)
    height, width = light.shape[:2]
    stain = np.zeros((height, width), np.float32)
    blots = []
    for _ in range(int(10 + 34 * dirt)):
        center = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = rng.integers(width // 60, width // 11, 2).tolist()
        turn = float(rng.uniform(0, 180))
        blots.append((float(rng.uniform(0.55, 1.0)), center, axes, turn))
    for strength, center, axes, turn in sorted(blots):
        cv2.ellipse(stain, center, axes, turn, 0, 360, strength, -1)
    stain = cv2.GaussianBlur(stain, (0, 0), width / 70)[..., None] * np.float32(min(1.0, 0.4 + 0.6 * dirt))
    soft = cv2.GaussianBlur(light, (0, 0), width / 45)
    mud = np.array(rng.uniform(0.8, 1.0) * np.array([0.5, 0.42, 0.3]), np.float32)
    behind = soft * mud * 0.7 + np.float32(0.1) * light.mean(axis=(0, 1)) * mud
    out: Array = light + (behind - light) * stain
    return out


def _apply_sensor(light: Array, weather: Weather, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Applies exposure, shot and read noise and a gamma of 2, and quantises to 8 bits."""
    light = np.maximum(light * np.float32(weather.exposure), 0)
    grain = _standard_noise(light.shape, rng)
    light += grain * (np.float32(weather.noise) * (0.35 + 2.5 * cv2.sqrt(light)))
    shown = cv2.sqrt(np.clip(light, 0.0, 1.0)) * np.float32(255)
    rounded: NDArray[np.uint8] = (shown + np.float32(0.5)).astype(np.uint8)
    return rounded


def _standard_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Standard normal noise: a random crop of one cached array, because drawing new noise costs more than rendering."""
    height, width = shape[:2]
    row, column = rng.integers(0, 64, 2)
    grain: Array = _noise_sheet(height + 64, width + 64)[row : row + height, column : column + width]
    return grain


@lru_cache(maxsize=2)
def _noise_sheet(height: int, width: int) -> Array:
    return np.random.default_rng(11).standard_normal((height, width, 3), np.float32)

"""Radiance of the surfaces before fog and rain: sunlight, sky, lamps, headlights, snow and wet ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld.layers import Layers
from semla_ros.streetworld.mesh import Facing
from semla_ros.streetworld.texture import noise
from semla_ros.streetworld.weather import Weather

Array = NDArray[np.float32]


def radiance(layers: Layers, weather: Weather) -> Array:
    """Radiance of every surface towards the camera, J in Koschmieder's law: linear light, (H, W, 3) float32."""
    albedo = _albedo_under_snow(layers, weather)
    light = _daylight(layers, weather)
    if weather.night > 0.02:
        light += weather.night * _night_lights(layers, weather)
    if weather.indoor > 0.02 and layers.layout.ceiling:
        light += weather.indoor * _ceiling_lights(layers)
    scene = albedo * light + emission(layers, weather)
    sky = layers.sky
    scene[sky] = sky_light(layers, weather)
    return _with_reflections(scene, layers, weather) if weather.wet > 0.02 else scene


def emission(layers: Layers, weather: Weather) -> Array:
    """Light emitted by lamps, windows and signals, linear, (H, W, 3) float32."""
    gain = np.where(layers.always_lit, np.float32(0.7), np.float32(weather.lamps))
    glow: Array = layers.glow * gain[..., None]
    return glow


def daylight_color(weather: Weather) -> tuple[Array, Array]:
    """Colour of the ambient light and of the direct sunlight, linear RGB, (3,) float32 each."""
    day = (1 - weather.night) * (1 - weather.indoor)
    cast = np.array([1 + 0.12 * weather.hue, 1.0, 1 - 0.15 * weather.hue])
    grey, sunny = np.array([0.62, 0.64, 0.68]), np.array([0.24, 0.29, 0.38])
    low = np.array([0.17, 0.13, 0.17])
    ambient = (1 - weather.sun) * grey + weather.sun * sunny
    ambient = (1 - weather.dusk) * ambient + weather.dusk * low
    direct = (1 - weather.dusk) * np.array([1.4, 1.3, 1.1]) + weather.dusk * np.array([1.0, 0.42, 0.12])
    moon = np.array([0.005, 0.006, 0.011]) * weather.night
    return (cast * ambient * day + moon).astype(np.float32), (cast * direct * weather.sun * day).astype(np.float32)


def horizon_color(weather: Weather) -> Array:
    """Colour of the sky at the horizon, used as airlight A in Koschmieder's law, linear RGB, (3,) float32."""
    bright = np.array([0.52, 0.67, 0.9]) * (1 - weather.cloud) + np.array([0.66, 0.68, 0.7]) * weather.cloud
    warm = np.array([0.85, 0.36, 0.14])
    veil = min(weather.fog / 0.02, 1.0)
    day = (1 - weather.dusk) * bright + weather.dusk * ((1 - veil) * warm + veil * np.array([0.4, 0.3, 0.28]))
    dark = np.array([0.007, 0.0065, 0.009]) * (1 + 5.0 * veil)
    indoors = np.array([0.35, 0.35, 0.34])
    outdoors = (1 - weather.night) * day * (1 - 0.35 * weather.rain) + weather.night * dark
    return ((1 - weather.indoor) * outdoors + weather.indoor * indoors).astype(np.float32)


def sky_light(layers: Layers, weather: Weather) -> Array:
    """Radiance of the N pixels in the sky, linear light, (N, 3) float32."""
    up = np.maximum(layers.ray_up[layers.sky], 0.004)
    horizon = horizon_color(weather)
    day = (1 - weather.dusk) * np.array([0.1, 0.27, 0.72]) + weather.dusk * np.array([0.1, 0.11, 0.26])
    zenith = (1 - weather.night) * day + weather.night * np.array([0.002, 0.003, 0.008])
    sky = horizon + (zenith.astype(np.float32) - horizon) * np.minimum(up * 2.6, 1.0)[:, None] ** 0.7
    u, _, s = (axis[layers.sky] for axis in layers.street)
    where = noise(0.35 * u / (up * 1000 + 90), 0.35 * s / (up * 1000 + 90) + 0.01 * layers.layout.grain, 0.35)
    cloud = np.clip((where - 0.72 + 0.6 * weather.cloud) * 4.5, 0, 1) * min(1.0, 1.6 * weather.cloud)
    shade = horizon * np.float32(1.12 - 0.12 * weather.rain)
    grain = 0.75 + 0.45 * where
    clouded: Array = sky + (shade * grain[:, None] - sky) * cloud[:, None]
    return clouded


def _albedo_under_snow(layers: Layers, weather: Weather) -> Array:
    """Reflectance with snow on it; wet surfaces are darker."""
    if weather.snow <= 0.01:
        return layers.albedo * np.float32(1 - 0.35 * weather.wet) if weather.wet else layers.albedo
    share = np.clip((layers.snow_cover - (1 - weather.snow)) / 0.25, 0, 0.97) * (layers.snow_cover > 0)
    lumps = 0.72 + 0.2 * noise(layers.street[0], layers.street[2], 0.13)
    white = lumps[..., None] * np.array([0.94, 0.97, 1.0], np.float32)
    snowed: Array = layers.albedo + (white - layers.albedo) * share[..., None]
    return snowed


def _daylight(layers: Layers, weather: Weather) -> Array:
    """Irradiance by sun and sky with shadows of houses, trees, cars and people, (H, W, 3)."""
    ambient, direct = daylight_color(weather)
    side, cot = weather.sun_side, max(weather.sun_cot, 0.2)
    height = 1.0 / np.sqrt(1.0 + cot * cot)
    share = np.zeros(len(Facing), np.float32)
    share[Facing.UP] = height
    share[Facing.LEFT], share[Facing.RIGHT] = 0.9 * max(-side, 0.0), 0.9 * max(side, 0.0)
    share[Facing.CAMERA], share[Facing.ROUND] = 0.3 + 0.35 * weather.sun_front, 0.6
    sunlit = share[layers.facing]
    if side:
        limit = layers.shadow_limit[0 if side < 0 else 1]
        sunlit *= np.clip(0.5 + 3.0 * (limit - cot * abs(side)), 0.0, 1.0)
    if weather.canopy > 0.01:
        u, h, s = layers.street
        sunlit *= 1 - weather.canopy * (noise(u + 0.6 * h, s + h, 0.14) < 0.5)
    shelter = layers.contact_shade[..., None]
    light: Array = (ambient + sunlit[..., None] * direct) * shelter
    light *= np.float32(1 - 0.3 * weather.canopy)
    return light


def _night_lights(layers: Layers, weather: Weather) -> Array:
    """Irradiance by the car's headlights, which falls with depth, and by street lamps, (H, W, 3)."""
    low = 1.0 / (1.0 + np.exp(np.clip((layers.ray_up + 0.012) / 0.02, -20, 20)))
    cone = np.exp(-((layers.ray_right / 0.5) ** 2)) * (0.11 + 0.89 * low) * 1.9 / (1.0 + (layers.depth / 13.0) ** 2)
    light: Array = cone[..., None] * np.array([1.0, 0.97, 0.88], np.float32)
    if layers.layout.place == "street":
        sodium = np.array([0.17, 0.115, 0.05], np.float32)
        light += _lamp_pools(layers)[..., None] * sodium * np.float32(weather.lamps)
    return light


def _lamp_pools(layers: Layers) -> Array:
    """Irradiance by street lamps, (H, W). Each side has a lamp every 24 m, where `lots` places the post."""
    u, h, s = layers.street
    pools = np.zeros_like(h)
    for side, phase in ((-1, 6.0), (1, 18.0)):
        ds = np.mod(s - np.float32(phase) + 12.0, 24.0) - 12.0
        du = u - np.float32(side * (layers.layout.road - 1.0))
        pools += np.exp(-(ds * ds + du * du) / 34.0)
    lit: Array = pools * (np.exp(-np.maximum(h, 0) / 5.0) * ~layers.sky)
    return lit


def _ceiling_lights(layers: Layers) -> Array:
    """Irradiance by ceiling lamps that repeat every two cells, (H, W, 3)."""
    period = 2 * layers.layout.cell
    wave = 0.5 + 0.5 * np.cos((layers.street[2] - np.float32(2.0)) * np.float32(2 * np.pi / period))
    light = (0.3 + 0.5 * wave) * layers.contact_shade
    tinted: Array = light[..., None] * np.array([1.0, 0.97, 0.9], np.float32)
    return tinted


def _with_reflections(scene: Array, layers: Layers, weather: Weather) -> Array:
    """Adds reflections on wet ground: the mirrored image above the horizon, blurred, stronger at grazing angles."""
    height, width = layers.depth.shape
    column = layers.ray_up[:, width // 2]
    rows = np.arange(height)
    horizon = float(np.interp(0.0, -column, rows))
    source = np.clip(np.round(2 * horizon - rows), 0, height - 1).astype(np.int32)
    mirror = cv2.blur(scene[source], (3, max(3, height // 14)))
    below = slice(max(int(horizon), 0), None)
    u, _, s = layers.street[:, below]
    puddles = np.clip((noise(u, s, 0.06) - 0.42) * 5, 0, 1)
    share = layers.ground[below] * (0.1 + 0.75 * puddles) * (0.3 + 0.7 * np.exp(layers.ray_up[below] * 4.0))
    share *= np.float32(weather.wet * (1 - weather.snow))
    scene[below] += (mirror[below] - scene[below] * 0.6) * share[..., None]
    return scene

"""Everything of a synthetic picture that is not the face: light, background, sensor, and where the head is.

A domain is the ranges that they are drawn from. The faces of all domains are built and acted by the same rules, so that
a network trained in one meets other pictures in another, but no other meaning of the labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from affectdata.synthetic.brush import Colour, Picture
from affectdata.synthetic.shape import Pose

Range = tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """Everything around the face: light, background, sensor.

    Attributes:
        gain: Brightness factor.
        slope: Change of brightness from the middle to the image's right and lower edge, as a share.
        tint: Gain of each colour channel.
        background: Two RGB colours, blended from left to right.
        texture: Amplitude of the slow blotches, grey levels.
        noise: Standard deviation of the sensor noise, grey levels.
        blur: Standard deviation of the optical blur, as a share of the picture's side.
        grey: Whether the picture has no colour.
        seed: Seeds texture and noise.
    """

    gain: float = 1.0
    slope: tuple[float, float] = (0.0, 0.0)
    tint: Colour = (1.0, 1.0, 1.0)
    background: tuple[Colour, Colour] = ((150, 160, 170), (150, 160, 170))
    texture: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    grey: bool = False
    seed: int = 0

    def mirrored(self) -> Scene:
        """The scene that the mirror shows; texture and noise stay as they are."""
        return replace(self, slope=(-self.slope[0], self.slope[1]), background=self.background[::-1])


@dataclass(frozen=True)
class Domain:
    """What the pictures of one set have in common.

    Attributes:
        roll, yaw: Standard deviation of the head's angles and their limit, degrees; `Pose`.
        scale: Lowest and highest `Pose.scale`.
        gain, texture, noise, blur: Lowest and highest of the `Scene`'s.
        slope: Largest change of brightness to the right and to the lower edge.
        grey: Share of pictures without colour.
    """

    roll: Range
    yaw: Range
    scale: Range
    gain: Range
    slope: Range
    texture: Range
    noise: Range
    blur: Range
    grey: float


PLAIN = Domain(
    roll=(6, 15),
    yaw=(8, 18),
    scale=(0.19, 0.245),
    gain=(0.75, 1.12),
    slope=(0.25, 0.15),
    texture=(0, 5),
    noise=(1, 6),
    blur=(0, 0.005),
    grey=0.15,
)
"""Even light, a sharp lens, a head that looks into the camera."""

DIM = Domain(
    roll=(8, 18),
    yaw=(11, 20),
    scale=(0.175, 0.225),
    gain=(0.55, 0.85),
    slope=(0.45, 0.25),
    texture=(3, 9),
    noise=(5, 10),
    blur=(0.004, 0.008),
    grey=0.4,
)
"""A dim room, uneven light, a noisy sensor behind a soft lens; the head is farther away and turned more."""


def draw_pose(rng: np.random.Generator, domain: Domain = PLAIN) -> Pose:
    """One head pose at random, the whole face inside the picture."""
    (roll, most_roll), (yaw, most_yaw) = domain.roll, domain.yaw
    return Pose(
        roll=float(np.clip(rng.normal(0, roll), -most_roll, most_roll)),
        yaw=float(np.clip(rng.normal(0, yaw), -most_yaw, most_yaw)),
        scale=float(rng.uniform(*domain.scale)),
        dx=float(rng.uniform(-0.06, 0.06)),
        dy=float(rng.uniform(-0.04, 0.03)),
    )


def draw_scene(rng: np.random.Generator, domain: Domain = PLAIN) -> Scene:
    """One light, background and sensor at random."""
    across, down = domain.slope
    return Scene(
        gain=float(rng.uniform(*domain.gain)),
        slope=(float(rng.uniform(-across, across)), float(rng.uniform(-down, down))),
        tint=tuple(rng.uniform(0.93, 1.05, 3).tolist()),
        background=(draw_colour(rng), draw_colour(rng)),
        texture=float(rng.uniform(*domain.texture)),
        noise=float(rng.uniform(*domain.noise)),
        blur=float(rng.uniform(*domain.blur)),
        grey=bool(rng.random() < domain.grey),
        seed=int(rng.integers(2**63)),
    )


def draw_colour(rng: np.random.Generator) -> Colour:
    """A colour of cloth or wall at random."""
    grey = rng.uniform(30, 225)
    return tuple(np.clip(grey + rng.normal(0, 30, 3), 5, 250).tolist())


def background(scene: Scene, size: int) -> Picture:
    """What lies behind the head: uint8 RGB [size, size, 3]."""
    left, right = (np.array(colour, np.float32) for colour in scene.background)
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    row = np.rint(left * (1 - ramp) + right * ramp).astype(np.uint8)
    return np.repeat(row[None], size, axis=0)


def lit(picture: Picture, scene: Scene) -> Picture:
    """Light, texture, blur and noise over the painted picture."""
    size = len(picture)
    rng = np.random.default_rng(scene.seed)
    if scene.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), max(0.3, scene.blur * size))
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    light = scene.gain * (1 + scene.slope[0] * axis[None, :] + scene.slope[1] * axis[:, None])
    bright = cv2.multiply(picture, cv2.merge([light * np.float32(gain) for gain in scene.tint]), dtype=cv2.CV_32F)
    if scene.texture > 0:
        blotches = rng.normal(0, scene.texture, (9, 9)).astype(np.float32)
        bright += cv2.merge([cv2.resize(blotches, (size, size), interpolation=cv2.INTER_CUBIC)] * 3)
    if scene.grey:
        bright = cv2.cvtColor(cv2.cvtColor(bright, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    # A grey picture has one noise for all channels, as a grey sensor has.
    noise = rng.standard_normal((size, size, 1 if scene.grey else 3), np.float32) * np.float32(scene.noise)
    if scene.grey:
        noise = cv2.merge([noise] * 3)
    exposed: Picture = cv2.add(bright, noise, dtype=cv2.CV_8U)
    return exposed

"""Parametric faces whose action units, expression, valence-arousal and 68 landmarks agree by construction.

`render(parameters)` paints one face; `draw_parameters(rng)` draws a person, a pose, a light and an acting, each
independently of the others, so that nothing but the face itself tells the label.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.actions import DRAWN_AUS, Acting, acting, draw_acting, valence_arousal
from affectdata.synthetic.brush import Colour, Picture
from affectdata.synthetic.head import HAIR_STYLES, HAIRS, IRISES, SKINS, Look, stage
from affectdata.synthetic.paint import paint_face
from affectdata.synthetic.scene import PLAIN, Domain, Scene, background, draw_colour, draw_pose, draw_scene, lit
from affectdata.synthetic.shape import Build, Pose, acted_shape, placed, resting_shape
from manifests.vocabulary import LANDMARK_MIRROR

LEAST_CANVAS = 128
"""Smaller pictures are painted at a whole multiple of their size, at least this, and averaged down."""


@dataclass(frozen=True)
class Identity:
    """One person: bones and look."""

    build: Build = field(default_factory=Build)
    look: Look = field(default_factory=Look)

    def mirrored(self) -> Identity:
        """The person that the mirror shows."""
        return Identity(self.build.mirrored(), self.look.mirrored())


@dataclass(frozen=True)
class Parameters:
    """All that one picture is made from."""

    acting: Acting = field(default_factory=lambda: acting("neutral", {}))
    identity: Identity = field(default_factory=Identity)
    pose: Pose = field(default_factory=Pose)
    scene: Scene = field(default_factory=Scene)
    gaze: tuple[float, float] = (0.0, 0.0)

    def mirrored(self) -> Parameters:
        """Parameters of the mirrored picture; the acting is two-sided and stays."""
        return Parameters(
            self.acting,
            self.identity.mirrored(),
            self.pose.mirrored(),
            self.scene.mirrored(),
            (-self.gaze[0], self.gaze[1]),
        )


@dataclass(frozen=True)
class Face:
    """One picture and everything that is true of it.

    Attributes:
        image: uint8 RGB [size, size, 3].
        landmarks: float32 [68, 2], iBUG order, pixels, 0-based, pixel centres at integers.
        acting: The AUs and the category acted.
        valence, arousal: In [-1, 1], by the synthetic rule of `actions.valence_arousal`.
    """

    image: Picture
    landmarks: NDArray[np.float32]
    acting: Acting
    valence: float
    arousal: float

    @property
    def aus(self) -> dict[int, float]:
        """AU -> intensity 0-5 of the 17 drawn AUs; 0 is absent."""
        return {au: self.acting.intensity(au) for au in DRAWN_AUS}

    @property
    def expression(self) -> str | None:
        """The basic expression; None where a compound one is acted."""
        return self.acting.expression

    @property
    def compound(self) -> str:
        """The category of the compound vocabulary, which holds neutral and the basic ones too."""
        return self.acting.category


def landmarks_of(parameters: Parameters, size: int = 160) -> NDArray[np.float32]:
    """The 68 landmarks of a face without painting it: float32 [68, 2], pixels of a `size` x `size` picture."""
    points = acted_shape(resting_shape(parameters.identity.build), parameters.acting)
    return placed(points, parameters.pose, size).astype(np.float32)


def render(parameters: Parameters, size: int = 160) -> Face:
    """Paint one face into a square picture of `size` pixels; the same parameters give the same bytes."""
    factor = -(-LEAST_CANVAS // size)
    canvas = size * factor
    build = parameters.identity.build
    picture = background(parameters.scene, canvas)
    points = acted_shape(resting_shape(build), parameters.acting)
    on = stage(points, build, parameters.gaze, parameters.pose, canvas)
    paint_face(picture, on, parameters.identity.look, parameters.acting)
    if factor > 1:
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    picture = lit(picture, parameters.scene)
    valence, arousal = valence_arousal(parameters.acting)
    return Face(picture, landmarks_of(parameters, size), parameters.acting, valence, arousal)


def mirrored_landmarks(landmarks: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Landmarks after the picture is mirrored: x -> size - 1 - x, and the iBUG permutation."""
    mirror = landmarks[list(LANDMARK_MIRROR)].copy()
    mirror[:, 0] = size - 1 - mirror[:, 0]
    return mirror


def draw_identity(rng: np.random.Generator) -> Identity:
    """One person at random."""

    def around(middle: float, spread: float) -> float:
        return float(np.clip(rng.normal(middle, spread), middle - 2 * spread, middle + 2 * spread))

    build = Build(
        face_width=around(1.0, 0.05),
        jaw_width=around(0.97, 0.07),
        chin=around(0.0, 0.07),
        forehead=around(1.0, 0.06),
        eye_size=around(1.0, 0.07),
        eye_spacing=around(0.0, 0.02),
        eye_tilt=around(0.04, 0.08),
        brow_height=around(0.0, 0.03),
        brow_arch=around(0.0, 0.015),
        nose_width=around(1.0, 0.1),
        nose_length=around(1.0, 0.05),
        mouth_width=around(1.0, 0.07),
        mouth_height=around(0.0, 0.03),
        lip_fullness=around(1.0, 0.12),
        brow_asymmetry=around(0.0, 0.012),
        mouth_asymmetry=around(0.0, 0.012),
    )
    look = Look(
        skin=_pick(rng, SKINS, 8),
        hair=_pick(rng, HAIRS, 10),
        iris=_pick(rng, IRISES, 10),
        lips=float(rng.uniform(0, 1)),
        hair_style=HAIR_STYLES[rng.choice(len(HAIR_STYLES), p=(0.12, 0.36, 0.22, 0.30))],
        parting=float(rng.uniform(-1, 1)),
        brow_thickness=around(1.0, 0.15),
        age=float(rng.uniform(0, 1)),
        glasses=bool(rng.random() < 0.1),
        shirt=draw_colour(rng),
    )
    return Identity(build, look)


def draw_parameters(
    rng: np.random.Generator, category: str | None = None, identity: Identity | None = None, domain: Domain = PLAIN
) -> Parameters:
    """Everything of one picture at random; label, person, pose and scene are drawn independently.

    Args:
        category: A name of `COMPOUNDS`; None draws neutral or a basic expression.
        identity: The person; None draws one.
        domain: Where the picture is taken.
    """
    return Parameters(
        acting=draw_acting(rng, category),
        identity=identity if identity is not None else draw_identity(rng),
        pose=draw_pose(rng, domain),
        scene=draw_scene(rng, domain),
        gaze=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.01))),
    )


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...], spread: float) -> Colour:
    """Between two neighbours of a palette, a little off."""
    place = rng.uniform(0, len(colours) - 1)
    low = int(place)
    mix = np.array(colours[low]) * (1 - (place - low)) + np.array(colours[low + 1]) * (place - low)
    return tuple(np.clip(mix + rng.normal(0, spread, 3), 8, 255).tolist())

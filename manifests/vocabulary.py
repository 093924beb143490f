"""The only place where a label name or code has a meaning.

Every reader maps its dataset's names and codes to these names; every layer stores the names; networks
use the position of a name in its tuple as the class index.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from manifests.errors import UnknownNameError

TASKS = ("expression", "compound", "mental_state", "va", "au", "au_intensity", "landmarks")
"""Tasks that a sample can be labelled for; each has `mask_<task>` and `<task>_source` in the manifest."""

EXPRESSIONS = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
    "other",
)
"""Canonical expression order (methods.md 0.1): seven basic, then contempt, then other."""

VOTES = (*EXPRESSIONS, "unknown", "not_a_face")
"""What a rater could choose where a dataset releases vote counts (FER+ adds the last two)."""

EXPRESSION_SPACES = {
    "expr7": EXPRESSIONS[:7],
    "expr8-contempt": EXPRESSIONS[:8],
    "expr8-other": (*EXPRESSIONS[:7], "other"),
    "expr6": EXPRESSIONS[1:7],
    "expr7-contempt": EXPRESSIONS[1:8],
}
"""Class spaces that a recipe may choose: the seven basic expressions, alone and with one more; then those of protocols
without neutral, Oulu-CASIA's six and CK+'s seven (metrics.md 7). The latter stand last: names alone are read as of the
first space that holds them, for who never says neutral is wrong about neutral faces all the same."""

COMPOUNDS = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "happily_surprised",
    "happily_disgusted",
    "happily_sad",
    "happily_fearful",
    "sadly_fearful",
    "sadly_angry",
    "sadly_surprised",
    "sadly_disgusted",
    "fearfully_angry",
    "fearfully_surprised",
    "fearfully_disgusted",
    "angrily_surprised",
    "angrily_disgusted",
    "disgustedly_surprised",
    "appalled",
    "hatred",
    "awed",
)
"""The 23 categories of Du et al. 2014 and Benitez-Quiroz et al. 2016 (EmotioNet), and neutral."""

COMPOUND_SPACES = {
    "rafdb11": (
        "happily_surprised", "happily_disgusted", "sadly_fearful", "sadly_angry", "sadly_surprised", "sadly_disgusted",
        "fearfully_angry", "fearfully_surprised", "angrily_surprised", "angrily_disgusted", "disgustedly_surprised",
    ),
    "emotionet16": (
        "happiness", "sadness", "surprise", "fear", "disgust", "anger", "happily_surprised", "happily_disgusted",
        "sadly_angry", "sadly_disgusted", "fearfully_angry", "fearfully_surprised", "angrily_surprised",
        "angrily_disgusted", "appalled", "awed",
    ),
    "sjmt8": (
        "angrily_disgusted", "angrily_surprised", "fearfully_angry", "fearfully_surprised", "happily_disgusted",
        "happily_surprised", "sadly_angry", "sadly_disgusted",
    ),
    "cexpr7": (
        "happily_surprised", "sadly_fearful", "sadly_angry", "sadly_surprised", "fearfully_surprised",
        "angrily_surprised", "disgustedly_surprised",
    ),
}  # fmt: skip
"""Compound classes of RAF-DB, of EmotioNet's expression track (the list is unverified), of Pons & Masip 2018, and of
C-EXPR-DB in the ABAW challenges."""

MENTAL_STATES = (
    "happy",
    "anger",
    "sad",
    "fear",
    "surprise",
    "anxious",
    "arrogant",
    "thinking",
    "helpless",
    "suspicious",
    "hesitant",
    "questioning",
    "indifferent",
)
"""LSEMSW's 13 emotions and mental states: those of table 2 of Hu et al. 2018, which prints fear as scared. They are
unverified against the release."""

FACE_STATUSES = ("ok", "not_a_face", "uncertain", "none_of_these")
ROLES = ("train", "val", "test", "ignore")
UNITS = ("frame", "clip", "sequence")
"""What one label was given for: a single picture, a clip, or a sequence whose frames inherit it."""

GENDERS = ("female", "male")

AUS = tuple(range(1, 83))
"""Every AU column, contiguous, so that no dataset's number can be lost for want of a column."""

AU_NAMES = {
    1: "Inner Brow Raiser", 2: "Outer Brow Raiser", 4: "Brow Lowerer", 5: "Upper Lid Raiser",
    6: "Cheek Raiser", 7: "Lid Tightener", 8: "Lips Toward Each Other", 9: "Nose Wrinkler",
    10: "Upper Lip Raiser", 11: "Nasolabial Deepener", 12: "Lip Corner Puller", 13: "Sharp Lip Puller",
    14: "Dimpler", 15: "Lip Corner Depressor", 16: "Lower Lip Depressor", 17: "Chin Raiser",
    18: "Lip Pucker", 19: "Tongue Show", 20: "Lip Stretcher", 21: "Neck Tightener", 22: "Lip Funneler",
    23: "Lip Tightener", 24: "Lip Pressor", 25: "Lips Part", 26: "Jaw Drop", 27: "Mouth Stretch",
    28: "Lip Suck", 29: "Jaw Thrust", 30: "Jaw Sideways", 31: "Jaw Clencher", 32: "Lip Bite",
    33: "Cheek Blow", 34: "Cheek Puff", 35: "Cheek Suck", 36: "Tongue Bulge", 37: "Lip Wipe",
    38: "Nostril Dilator", 39: "Nostril Compressor", 41: "Lid Droop", 42: "Slit", 43: "Eyes Closed",
    44: "Squint", 45: "Blink", 46: "Wink", 51: "Head Turn Left", 52: "Head Turn Right", 53: "Head Up",
    54: "Head Down", 55: "Head Tilt Left", 56: "Head Tilt Right", 57: "Head Forward", 58: "Head Back",
    61: "Eyes Turn Left", 62: "Eyes Turn Right", 63: "Eyes Up", 64: "Eyes Down",
}  # fmt: skip
"""Display names (datasets/facs.md). An AU is identified by its number, never by its name."""

AU_SIDES = ("both", "left", "right", "top", "bottom")
"""FACS side prefixes: L, R (the subject's), T and B (lips)."""

AU_DIRECTIONAL_PAIRS = ((51, 52), (55, 56), (61, 62))
"""AUs that name a direction and swap when the picture is mirrored (alignment.md 3)."""

AU_MIRROR = {au: au for au in AUS} | {a: b for pair in AU_DIRECTIONAL_PAIRS for a, b in (pair, pair[::-1])}

AU_SPACES = {
    "emotionet11": (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26),
    "emotionet12": (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26, 43),
    "emotionet23": (1, 2, 4, 5, 6, 9, 10, 12, 15, 17, 18, 20, 24, 25, 26, 28, 43, 51, 52, 53, 54, 55, 56),
    "disfa12": (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
    "disfa8": (1, 2, 4, 6, 9, 12, 25, 26),
    "bp4d12": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "fera2015_11": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23),
    "affwild2_12": (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26),
    "fbn17": (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26),
}  # fmt: skip
"""Named AU sets of the challenges and papers (relatedness.json; `fbn17` with medium confidence; `fera2015_11`: page
bp4d.md)."""

LANDMARK_PARTS = {
    "jaw": range(0, 17),
    "left_brow": range(17, 22),
    "right_brow": range(22, 27),
    "nose_bridge": range(27, 31),
    "nose_base": range(31, 36),
    "left_eye": range(36, 42),
    "right_eye": range(42, 48),
    "outer_lip": range(48, 60),
    "inner_lip": range(60, 68),
}
"""68-point iBUG order, 0-based; left and right are IMAGE sides (datasets/landmarks68.md)."""

LANDMARK_MIRROR = (
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
    26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
    27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""Mirror permutation: new[i] = old[LANDMARK_MIRROR[i]], with x -> W - 1 - x. An involution."""

FIVE_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Order of five detector points, image sides."""

FIVE_POINTS_MIRROR = (1, 0, 2, 4, 3)


def _synonyms(**groups: str) -> dict[str, str]:
    return {alias: name for name, aliases in groups.items() for alias in (name, *aliases.split())}


_EXPRESSION_SYNONYMS = _synonyms(
    neutral="ne neutrality",
    happiness="happy happily ha joy joyful happines",
    sadness="sad sadly sa sadnes",
    surprise="surprised su suprise suprised surprize surprisingly",
    fear="fearful fearfully fe afraid scared",
    disgust="disgusted disgustedly di digust",
    anger="angry angrily an",
    contempt="contemptuous co comtempt",
    other="others else",
)

_COMPOUND_SYNONYMS = {alias: name for alias, name in _EXPRESSION_SYNONYMS.items() if name in COMPOUNDS} | _synonyms(
    **dict.fromkeys(COMPOUNDS[7:21], ""), appalled="", hatred="hate hated", awed="awe"
)

_MENTAL_STATE_SYNONYMS = _synonyms(
    happy="happiness",
    anger="angry",
    sad="sadness",
    fear="scared",
    surprise="surprised suprise",
    **dict.fromkeys(MENTAL_STATES[5:], ""),
)


@dataclass(frozen=True)
class Vocabulary:
    """The names of one task, their order, and the spellings that datasets use for them."""

    task: str
    names: tuple[str, ...]
    synonyms: dict[str, str]

    def canonical(self, name: str) -> str:
        """The canonical name for a dataset's spelling, ignoring case, blanks, hyphens and underscores at ends.

        Raises:
            UnknownNameError: The spelling is not known; the message lists the names that are.
        """
        key = re.sub(r"[\s\-_]+", "_", name.strip().lower()).strip("_")
        try:
            return self.synonyms[key]
        except KeyError:
            raise UnknownNameError(f"{self.task} name", name, self.names) from None

    def code(self, name: str) -> int:
        """Class index of a canonical name or of any known spelling of it."""
        return self.names.index(self.canonical(name))


EXPRESSION = Vocabulary("expression", EXPRESSIONS, _EXPRESSION_SYNONYMS)
COMPOUND = Vocabulary("compound", COMPOUNDS, _COMPOUND_SYNONYMS)
MENTAL_STATE = Vocabulary("mental_state", MENTAL_STATES, _MENTAL_STATE_SYNONYMS)
VOCABULARIES = {v.task: v for v in (EXPRESSION, COMPOUND, MENTAL_STATE)}


@dataclass(frozen=True)
class CodedAU:
    """One AU as a coder wrote it: its number and the side it was seen on."""

    number: int
    side: str = "both"


_AU_TOKEN = re.compile(r"^(?P<side>[LRTB])?(?:AU|AD)?\s*0*(?P<number>[0-9]{1,2})$", re.IGNORECASE)
_SIDE_PREFIX = {None: "both", "L": "left", "R": "right", "T": "top", "B": "bottom"}


def parse_au(token: str) -> CodedAU:
    """Number and side of one AU token: `12`, `AU12`, `au04`, `L12`, `AD19`.

    Raises:
        UnknownNameError: The token names no AU of FACS (1-82). Display names ("Cheek Puffer") are refused:
            lists disagree about them.
    """
    match = _AU_TOKEN.match(token.strip())
    if match is None or int(match["number"]) not in AU_MIRROR:
        raise UnknownNameError("action unit", token, [f"{au}" for au in AU_NAMES])
    side = match["side"].upper() if match["side"] else None
    return CodedAU(int(match["number"]), _SIDE_PREFIX[side])


def au_column(au: int, what: str = "") -> str:
    """Column name of an AU: `au12`, or `au12_<what>` for side, intensity, weight and source."""
    if au not in AU_MIRROR:
        raise UnknownNameError("action unit", au, [f"{n}" for n in AU_NAMES])
    return f"au{au:02d}" + (f"_{what}" if what else "")

"""Where the parts of Aff-Wild2 lie: the annotations of one edition, folders of frames, raw videos."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from affectdata.datasets.affwild2_files import known_header
from affectdata.datasets.frame_lines import cut_header
from affectdata.datasets.reading import Folder
from manifests.errors import DatasetError

EDITIONS = ("abaw0", "abaw1", "abaw2", "abaw3", "abaw4", "abaw5", "abaw6", "abaw7", "abaw8", "abaw10")
"""`abaw0` is the release of 2019 before the first ABAW."""

MEDIA = ("aligned", "cropped", "video")
TASKS = {
    "va_set": "va",
    "va_estimation_challenge": "va",
    "expr_set": "expression",
    "expression_set": "expression",
    "expr_classification_challenge": "expression",
    "expr_recognition_challenge": "expression",
    "au_set": "au",
    "au_detection_challenge": "au",
}
SPLITS = {"train_set": "train", "training_set": "train", "validation_set": "val", "test_set": "test"}
_MTL_LISTS = {
    "training_set_annotations.txt": "train",
    "validation_set_annotations.txt": "val",
    "mtl_challenge/train_set.txt": "train",
    "mtl_challenge/validation_set.txt": "val",
}
_ORDINAL = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
_FRAME = re.compile(r"[0-9]{5}\.jpg")
_TEST_LIST = re.compile(r"(?i)(.*test_set.*|.*_sample|.*_example|mtl)\.txt")


@dataclass
class Edition:
    """The annotation files of one edition.

    Args:
        top: Folder that holds the task folders or the multi-task lists.
        files: `<task>/<split>` -> files; task is va, expression, au or mtl.
        shapes: Names of the task folders, lower case, by which editions differ.
    """

    top: str
    files: dict[str, list[str]] = field(default_factory=dict)
    shapes: set[str] = field(default_factory=set)

    def add(self, task: str, split: str, paths: Iterable[str], shape: str) -> None:
        """Take in the files of one task and split."""
        self.files.setdefault(f"{task}/{split}", []).extend(paths)
        self.shapes.add(shape)

    def first(self, task: str) -> str:
        """One file of a task, or nothing."""
        return next((paths[0] for key, paths in sorted(self.files.items()) if key.startswith(task) and paths), "")


def editions(folder: Folder) -> list[Edition]:
    """Every edition whose annotations lie below the folder."""
    found: dict[str, Edition] = {}
    for path in folder.files.tree():
        if ignored(path):
            continue
        parts = path.split("/")
        # The release of 2019 holds annotations and videos of a task side by side.
        depth = 3 if parts[-2:-1] and parts[-2].lower() == "annotations" and len(parts) > 2 else 2
        task, split = TASKS.get(parts[-depth].lower() if len(parts) >= depth else ""), SPLITS.get(parts[-1].lower())
        if task and split:
            texts = [name for name in folder.files.names(path, "*.txt") if not name.startswith("._")]
            if texts and known_header(task, cut_header(folder.head(f"{path}/{texts[0]}", 1024))[0]):
                edition = found.setdefault("/".join(parts[:-depth]), Edition("/".join(parts[:-depth])))
                edition.add(task, split, (f"{path}/{name}" for name in texts), "/".join(parts[-depth:]).lower())
        _add_lists(folder, path, found)
    return [found[top] for top in sorted(found)]


def _add_lists(folder: Folder, path: str, found: dict[str, Edition]) -> None:
    """The multi-task lists directly in a folder."""
    for name in folder.files.names(path, "*.txt") if not _is_frames(folder, path) else ():
        tail = name.lower() if name.lower() in _MTL_LISTS else f"{path.rpartition('/')[2]}/{name}".lower()
        if tail in _MTL_LISTS and known_header("mtl", cut_header(folder.head(_joined(path, name), 1024))[0]):
            top = path.rpartition("/")[0] if "/" in tail else path
            found.setdefault(top, Edition(top)).add("mtl", _MTL_LISTS[tail], [_joined(path, name)], tail)


def edition_of(folder: Folder, edition: Edition) -> tuple[str, ...]:
    """Names of the editions that have this shape; an ordinal in the name of its folder decides between them."""
    shapes = edition.shapes
    names = {shape.partition("/")[0] for shape in shapes}
    if any("/annotations/" in shape for shape in shapes) or "expression_set" in names:
        fits = ["abaw0"]
    elif names & {"va_set", "expr_set", "au_set"}:
        header = cut_header(folder.head(edition.first("au"), 1024))[0] if edition.first("au") else ()
        older = len(header) == 8 if header else any(shape.endswith("/training_set") for shape in shapes)
        fits = ["abaw1"] if older else ["abaw2"]
    elif "mtl_challenge" in names:
        fits = ["abaw3"]
    elif "expr_recognition_challenge" in names:
        fits = ["abaw6", "abaw8", "abaw10"]
    elif "expr_classification_challenge" in names:
        fits = ["abaw3", "abaw5"]
    elif names & {"va_estimation_challenge", "au_detection_challenge"}:
        fits = ["abaw3", "abaw5", "abaw6", "abaw8", "abaw10"]
    else:
        fits = ["abaw4", "abaw7"]
    said = f"abaw{_ordinal(folder.root.name + '/' + edition.top)}"
    return (said,) if said in fits else tuple(fits)


def _ordinal(path: str) -> int | None:
    for word in reversed(re.split(r"[^0-9a-z]+", path.lower())):
        number = re.fullmatch(r"([0-9]{1,2})(st|nd|rd|th)|abaw([0-9]{1,2})", word)
        if number:
            return int(number[1] or number[3])
        if word in _ORDINAL:
            return _ORDINAL[word]
    return None


def choose(folder: Folder, found: list[Edition], asked: str) -> tuple[Edition, str, tuple[str, ...]]:
    """The edition to read, its name (empty: cannot be told), and the names that its tree allows.

    Raises:
        DatasetError: Several editions and none was asked for, or one that is not there.
    """
    fits = [(edition, edition_of(folder, edition)) for edition in found]
    said = "; ".join(f"{edition.top or '.'}: {' or '.join(names)}" for edition, names in fits)
    right = [(edition, names) for edition, names in fits if not asked or asked in names]
    if len(right) != 1:
        raise DatasetError(
            f"affwild2 at {folder.root}: " + ("several editions side by side" if right else f"no edition {asked}"),
            found=said,
            expected="one edition: labels of the same frame differ between them, so they are never merged",
            then="name the edition with --edition, or ingest each folder under a --name of its own",
        )
    [(edition, names)] = right
    return edition, asked or (names[0] if len(names) == 1 else ""), names


@dataclass(frozen=True)
class Places:
    """Where the pictures of each track lie.

    Args:
        frames: Kind (aligned, cropped) -> track -> folder of its frames.
        videos: Video id -> raw video.
    """

    frames: Mapping[str, Mapping[str, str]]
    videos: Mapping[str, str]

    def kind(self, track: str, asked: str) -> str:
        """The first kind of media that a track has; the kind that was asked for, whether it has it or not."""
        kinds = [kind for kind in ("aligned", "cropped") if track in self.frames[kind]]
        kinds += ["video"] if video_of(track) in self.videos else []
        return asked or next(iter(kinds), "")

    def first_kind(self) -> str:
        """The first kind of which there is anything."""
        return next((kind for kind in ("aligned", "cropped") if self.frames[kind]), "video")


def places(folder: Folder) -> Places:
    """Folders whose files are named like frames, and videos; of two copies the first by path counts."""
    frames: dict[str, dict[str, str]] = {"aligned": {}, "cropped": {}}
    videos: dict[str, str] = {}
    for path in folder.files.tree():
        if ignored(path):
            continue
        above, _, track = path.rpartition("/")
        if track and _is_frames(folder, path):
            frames["aligned" if "aligned" in above.lower() else "cropped"].setdefault(track, path)
            continue
        for name in (*folder.files.names(path, "*.mp4"), *folder.files.names(path, "*.avi")):
            if not name.startswith("._"):
                videos.setdefault(name.rpartition(".")[0], _joined(path, name))
    return Places(frames, videos)


def test_lists(folder: Folder) -> list[str]:
    """Lists of what is to be predicted; their constant values look like labels and are none."""
    return [
        _joined(path, name)
        for path in folder.files.tree()
        if not ignored(path) and not _is_frames(folder, path) and path.rpartition("/")[2].lower() not in SPLITS
        for name in folder.files.names(path, "*.txt")
        if _TEST_LIST.fullmatch(name) and not name.startswith("._")
    ]


def video_of(track: str) -> str:
    """The video that a track is cut from: its name without one `_left` or `_right`."""
    return re.sub(r"_(left|right)$", "", track)


def ignored(path: str) -> bool:
    """Whether a folder is what archive tools of macOS leave behind."""
    return "__macosx" in path.lower()


def _is_frames(folder: Folder, path: str) -> bool:
    return any(_FRAME.fullmatch(name) for name in folder.files.unsorted_names(path))


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name

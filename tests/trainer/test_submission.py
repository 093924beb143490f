"""A challenge file has the frames of the organisers' list, in their order, and a prediction behind each."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectdata.challenges import CHALLENGES, Answers, Submission, challenge, submit
from manifests.errors import ChallengeError, UnknownNameError
from trainer.answers import answers_in

FRAMES = ["a_left/00001.jpg", "a_left/00002.jpg", "a_left/00003.jpg", "video7/00104.jpg"]
AU_NAMES = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)


def listed(folder: Path, name: str, frames: list[str] = FRAMES) -> Path:
    """A list as the organisers write it, with a trailing comma behind every frame."""
    path = folder / "list.txt"
    path.write_text("\n".join([challenge(name).header, *(f"{frame}," for frame in frames)]) + "\n")
    return path


def predicted(folder: Path, frames: list[str] = FRAMES) -> Path:
    rows = [
        {"path": f"/data/aligned/{frame}", "valence": i / 10, "arousal": -i, "expression": ("fear", "other")[i % 2]}
        | {f"p_au{au:02d}": (i + au) % 3 / 2 for au in AU_NAMES}
        for i, frame in enumerate(frames)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "predictions.csv", index=False)
    return folder / "predictions.csv"


def made(folder: Path, name: str, frames: list[str] = FRAMES) -> tuple[Submission, list[str]]:
    found = submit(name, listed(folder, name), answers_in(predicted(folder, frames)), folder / "out.txt")
    return found, (folder / "out.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("abaw6-va", "a_left/00002.jpg,0.100000,-1.000000"),
        ("abaw6-expr", "a_left/00002.jpg,7"),
        ("abaw6-au", "a_left/00002.jpg,1,0,1,1,1,1,1,1,0,1,1,0"),
        ("abaw4-mtl", "a_left/00002.jpg,0.100000,-1.000000,7,1,0,1,1,1,1,1,1,0,1,1,0"),
    ],
)
def test_the_lines_are_those_of_the_labels(tmp_path: Path, name: str, second: str) -> None:
    found, lines = made(tmp_path, name)
    assert lines[0] == challenge(name).header
    assert [line.split(",")[0] for line in lines[1:]] == FRAMES
    assert lines[2] == second
    assert (found.lines, found.filled, found.tracks) == (4, 0, 2)


def test_a_frame_without_a_prediction_takes_that_of_the_one_before(tmp_path: Path) -> None:
    found, lines = made(tmp_path, "abaw6-va", ["a_left/00002.jpg", "video7/00104.jpg"])
    assert found.filled == 2
    assert lines[1:] == [
        "a_left/00001.jpg,0.000000,0.000000",  # none before it: the first that follows
        "a_left/00002.jpg,0.000000,0.000000",
        "a_left/00003.jpg,0.000000,0.000000",
        "video7/00104.jpg,0.100000,-1.000000",
    ]


@given(known=st.sets(st.sampled_from(range(1, 30)), min_size=1), last=st.integers(1, 30))
def test_every_frame_of_the_list_is_answered_by_itself_or_by_its_nearest_before(
    tmp_path_factory: pytest.TempPathFactory, known: set[int], last: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    frames = [f"t/{n:05d}.jpg" for n in range(1, last + 1)]
    there = sorted(n for n in known if n <= last)
    if not there:
        return
    answers = Answers({f"t/{n:05d}.jpg": i for i, n in enumerate(there)}, expression=pd.Series(there).to_numpy() % 8)
    submit("abaw6-expr", listed(folder, "abaw6-expr", frames), answers, folder / "out.txt")
    said = [int(line.split(",")[1]) for line in (folder / "out.txt").read_text().splitlines()[1:]]
    expected = [max((k for k in there if k <= n), default=there[0]) % 8 for n in range(1, last + 1)]
    assert said == expected


def test_a_track_without_any_prediction_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ChallengeError, match="1 of 2 tracks have no prediction at all") as caught:
        made(tmp_path, "abaw6-va", FRAMES[:3])
    assert "video7" in str(caught.value)
    assert not (tmp_path / "out.txt").exists()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    answers = answers_in(predicted(tmp_path))
    with pytest.raises(UnknownNameError, match="abaw6-va"):
        submit("abaw9-va", tmp_path / "list.txt", answers, tmp_path / "out.txt")
    with pytest.raises(ChallengeError, match="not the list of abaw6-va"):
        submit("abaw6-va", listed(tmp_path, "abaw6-au"), answers, tmp_path / "out.txt")
    with pytest.raises(ChallengeError, match="asks for au"):
        submit("abaw6-au", listed(tmp_path, "abaw6-au"), Answers(answers.frames, answers.va), tmp_path / "out.txt")
    (tmp_path / "out.txt").write_text("mine")
    with pytest.raises(ChallengeError, match="exists"):
        submit("abaw6-va", listed(tmp_path, "abaw6-va"), answers, tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "mine"
    with pytest.raises(ChallengeError, match="frame twice"):
        answers_in(predicted(tmp_path, [FRAMES[0], FRAMES[0]]))
    contempt = pd.read_csv(predicted(tmp_path)).assign(expression="contempt")
    contempt.to_csv(tmp_path / "predictions.csv", index=False)
    with pytest.raises(ChallengeError, match="contempt"):
        answers_in(tmp_path / "predictions.csv")


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["clip.mp4"] * 3, "clip.mp4"),  # as affect predict names the frames of a video
        (["clip.mp4"], "clip.mp4"),
        (["00001.jpg", "00002.jpg"], "00001.jpg, 00002.jpg"),  # predicted inside a track, not above it
        (["a_left/00001.jpg", "clip.mp4", "clip.mp4"], "clip.mp4"),
    ],
)
def test_paths_that_are_no_frames_of_tracks_are_refused_as_such(tmp_path: Path, paths: list[str], found: str) -> None:
    rows = pd.DataFrame({"path": paths, "frame": range(len(paths)), "valence": 0.1, "arousal": 0.2})
    rows.to_csv(tmp_path / "clip.csv", index=False)
    with pytest.raises(ChallengeError, match="names no frames of tracks") as caught:
        answers_in(tmp_path / "clip.csv")
    assert caught.value.found == found
    assert "<track>/<5 digits>.jpg" in caught.value.expected
    assert "affect predict RUN FOLDER" in caught.value.then


def test_another_picture_among_the_frames_is_left_alone(tmp_path: Path) -> None:
    assert "a_left/cover.png" in answers_in(predicted(tmp_path, [*FRAMES, "a_left/cover.png"])).frames


def test_every_challenge_says_how_sure_its_header_is() -> None:
    assert all(each.sure for each in CHALLENGES.values())

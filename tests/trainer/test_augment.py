"""Labels move with their pictures, and the random numbers of a picture are its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manifests import vocabulary as voc
from trainer.augment import Augmenter, moved, normalised, uniforms, warped, with_channels
from trainer.settings import Augment, Input
from trainer.targets import AuTarget, Batch, LandmarkTarget, Targets, flipped

AUS = voc.AU_SPACES["emotionet23"]


def targets(rows: int, seed: int = 0) -> Targets:
    random = torch.Generator().manual_seed(seed)
    au = AuTarget(
        torch.randint(-1, 2, (rows, len(AUS)), generator=random).float(),
        torch.rand(rows, len(AUS), generator=random),
    )
    return Targets(au=au, landmarks=LandmarkTarget(torch.rand(rows, 68, 2, generator=random) * 20, torch.ones(rows)))


def batch(rows: int, keys: torch.Tensor | None = None) -> Batch:
    keys = torch.arange(rows) * 7919 if keys is None else keys
    index = torch.arange(rows)
    return Batch(torch.zeros(rows, 24, 24, 1, dtype=torch.uint8), keys, index, index % 2, targets(rows))


ALL = Augment(flip=True, shift=0.1, rotate=20, scale=0.2, brightness=0.2, contrast=0.3, erase=0.5)


def test_a_picture_is_changed_alike_wherever_it_stands() -> None:
    images, whole = torch.rand(16, 1, 24, 24) * 255, batch(16)
    augment = Augmenter(ALL, seed=3, aus=AUS)
    order = torch.randperm(16)
    together, labels = augment(images, whole, 5)
    shuffled, shuffled_labels = augment(images[order], whole.at(order), 5)
    assert torch.allclose(shuffled, together[order], atol=1e-3)
    assert labels.landmarks is not None
    assert shuffled_labels.landmarks is not None
    assert torch.allclose(shuffled_labels.landmarks.points, labels.landmarks.points[order], atol=1e-4)
    other_epoch, _ = augment(images, whole, 6)
    assert not torch.allclose(other_epoch, together, atol=1)


def test_positions_are_exact_under_autocast() -> None:
    images, carrier, augment = torch.rand(4, 1, 224, 224) * 255, batch(4), Augmenter(ALL, seed=3, aus=AUS)
    plain, labels = augment(images, carrier, 1)
    with torch.autocast("cpu", torch.bfloat16):
        half, half_labels = augment(images, carrier, 1)
    assert torch.equal(half, plain)
    assert labels.landmarks is not None
    assert half_labels.landmarks is not None
    assert torch.equal(half_labels.landmarks.points, labels.landmarks.points)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.integers(0, 2**31), st.integers(0, 999))
def test_numbers_lie_in_the_unit_interval_and_repeat(keys: list[int], seed: int, epoch: int) -> None:
    drawn = uniforms(torch.tensor(keys), seed, epoch)
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert torch.equal(drawn.flip(0), uniforms(torch.tensor(keys[::-1]), seed, epoch))


def test_numbers_are_uniform_and_unrelated() -> None:
    drawn = uniforms(torch.arange(20000), 1, 0)
    assert torch.allclose(drawn.mean(0), torch.tensor(0.5), atol=0.01)
    assert torch.allclose(drawn.var(0), torch.tensor(1 / 12), atol=0.003)
    off_diagonal = np.corrcoef(drawn.numpy().T) - np.eye(drawn.shape[1])
    assert abs(off_diagonal).max() < 0.03


def test_two_flips_are_none() -> None:
    before, every = targets(6), torch.ones(6, dtype=torch.bool)
    after = flipped(flipped(before, every, 24, AUS), every, 24, AUS)
    assert before.au is not None
    assert after.au is not None
    assert before.landmarks is not None
    assert after.landmarks is not None
    kept = torch.tensor([voc.AU_MIRROR[a] in AUS for a in AUS])
    assert torch.equal(after.au.present[:, kept], before.au.present[:, kept])
    assert torch.equal(after.au.weight[:, kept], before.au.weight[:, kept])
    assert torch.allclose(after.landmarks.points, before.landmarks.points, atol=1e-5)


def test_a_flip_swaps_sides_and_directions() -> None:
    before = targets(4)
    flip = torch.tensor([True, False, True, False])
    after = flipped(before, flip, 24, AUS)
    assert before.au is not None
    assert after.au is not None
    assert before.landmarks is not None
    assert after.landmarks is not None
    left, right = AUS.index(51), AUS.index(52)
    assert after.au.present[0, left] == before.au.present[0, right]
    assert after.au.present[0, right] == before.au.present[0, left]
    assert torch.equal(after.au.present[1], before.au.present[1])
    corner, other = 36, 45  # outer eye corners
    assert after.landmarks.points[0, corner, 0] == pytest.approx(float(23 - before.landmarks.points[0, other, 0]))
    assert torch.equal(after.landmarks.points[1], before.landmarks.points[1])


def test_a_direction_without_its_partner_becomes_unknown() -> None:
    before = Targets(au=AuTarget(torch.ones(2, 2), torch.ones(2, 2)))
    after = flipped(before, torch.tensor([True, False]), 24, (12, 51))
    assert after.au is not None
    assert after.au.present.tolist() == [[1, -1], [1, 1]]


def test_a_drawn_dot_stays_under_its_landmark() -> None:
    points = torch.tensor([[30.0, 20.0], [10.0, 40.0], [45.0, 44.0]])
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    dots = torch.stack([torch.exp(-((x - px) ** 2 + (y - py) ** 2) / 4) for px, py in points])[:, None] * 255
    spread = torch.full((3, 68, 2), torch.nan)
    spread[:, 0] = points
    before = Targets(landmarks=LandmarkTarget(spread, torch.ones(3)))
    settings = Augment(flip=True, shift=0.1, rotate=25, scale=0.2)
    three = torch.arange(3)
    carrier = Batch(torch.zeros(3, 64, 64, 1, dtype=torch.uint8), three, three, three * 0, before)
    seen = 0
    for epoch in range(12):
        images, after = Augmenter(settings, seed=1)(dots, carrier, epoch)
        assert after.landmarks is not None
        for image, landmarks in zip(images[:, 0], after.landmarks.points, strict=True):
            candidates = landmarks[torch.isfinite(landmarks).all(1)]  # a flip moves point 0 to its mirror index
            assert len(candidates) == 1
            if candidates.min() < 6 or candidates.max() > 57:
                continue  # the border cuts the dot
            seen += 1
            centre = torch.stack(((image * x).sum(), (image * y).sum())) / image.sum()
            assert torch.dist(centre, candidates[0]) < 0.3
    assert seen > 20


def test_the_identity_changes_nothing() -> None:
    images = torch.rand(2, 3, 17, 23) * 255
    matrix = torch.eye(2, 3).expand(2, 2, 3)
    assert torch.allclose(warped(images, matrix), images, atol=1e-3)
    assert moved(Targets(), matrix) == Targets()


def test_channels_repeat_or_become_luma() -> None:
    gray = torch.randint(0, 256, (2, 5, 4, 1), dtype=torch.uint8)
    repeated = with_channels(gray, 3)
    assert repeated.shape == (2, 3, 5, 4)
    assert torch.equal(repeated[:, 0], repeated[:, 2])
    again = with_channels(repeated.permute(0, 2, 3, 1).to(torch.uint8), 1)
    assert torch.allclose(again[:, 0], gray[..., 0].float(), atol=1e-3)


def test_normalisation_is_per_channel() -> None:
    images = torch.full((1, 3, 2, 2), 100.0)
    out = normalised(images, Input(mean=(100, 50, 0), std=(1, 50, 100)))
    assert out[0, :, 0, 0].tolist() == [0, 1, 1]


def test_erasing_leaves_the_share_of_pictures_it_should() -> None:
    images = torch.full((400, 1, 24, 24), 200.0)
    out, _ = Augmenter(Augment(erase=0.25), seed=1, mean=(7.0,))(images, batch(400), 0)
    hit = (out == 7).flatten(1).any(1).float().mean()
    assert 0.18 < hit < 0.32
    area = (out == 7).flatten(1).float().mean(1)
    assert area.max() <= 0.27


def test_a_picture_cut_out_of_a_wider_one_keeps_its_dots_under_their_landmarks() -> None:
    given = batch(200)
    given.targets.landmarks.points[:] = 12.0  # type: ignore[union-attr]  # there are landmarks
    images = torch.zeros(200, 1, 24, 24)
    images[:, :, 12, 12] = 255
    pictures, moved = Augmenter(Augment(pad=4), 1)(images, given, 0)
    x, y = moved.landmarks.points[:, 0].long().T  # type: ignore[union-attr]  # as above
    assert (pictures[torch.arange(200), 0, y, x] == 255).all()
    assert set(x.tolist()) == set(y.tolist()) == set(range(8, 17))


def test_a_dataset_with_changes_of_its_own_gets_those_alone() -> None:
    given, images = batch(64), torch.rand(64, 1, 24, 24) * 255
    both, labels = Augmenter(Augment(flip=True), 1, own={1: Augment(noise=0.1)})(images, given, 0)
    flip, flipped_labels = Augmenter(Augment(flip=True), 1)(images, given, 0)
    noise, _ = Augmenter(Augment(noise=0.1), 1)(images, given, 0)
    assert torch.equal(both[::2], flip[::2])
    assert torch.equal(both[1::2], noise[1::2])
    points, expected = labels.landmarks.points, flipped_labels.landmarks.points  # type: ignore[union-attr]  # as above
    assert torch.equal(points[::2], expected[::2])
    assert torch.equal(points[1::2], given.targets.landmarks.points[1::2])  # type: ignore[union-attr]  # as above


def test_noise_has_its_deviation_and_half_of_the_pictures_move() -> None:
    given, images = batch(64), torch.full((64, 1, 24, 24), 127.5)
    noisy, _ = Augmenter(Augment(noise=0.05), 1)(images, given, 0)
    assert float(noisy.std()) == pytest.approx(0.05 * 255, rel=0.03)
    draw = torch.rand(64, 1, 24, 24)
    turned, _ = Augmenter(Augment(rotate=20, moved=0.5), 1)(draw, given, 0)
    same = torch.tensor([torch.allclose(a, b, atol=1e-4) for a, b in zip(turned, draw, strict=True)])
    assert 20 <= int(same.sum()) <= 44


def test_each_picture_may_be_normalised_by_itself() -> None:
    images = torch.rand(3, 3, 8, 8) * torch.tensor([255.0, 20, 0]).reshape(3, 1, 1, 1)
    out = normalised(images, Input(per_image=True))
    torch.testing.assert_close(out[:2].mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out[:2].std((1, 2, 3), correction=0), torch.ones(2))
    assert (out[2] == 0).all()


def test_labels_without_moving_parts_stay_the_same_object() -> None:
    labels = replace(targets(2), au=None, landmarks=None)
    out, after = Augmenter(ALL, seed=1)(torch.rand(2, 1, 24, 24), replace(batch(2), targets=labels), 0)
    assert after == labels
    assert out.shape == (2, 1, 24, 24)


def test_ten_degrees_turn_a_point_and_its_blob_about_the_middle_of_100_pixels() -> None:
    """methods.md 4.11: (80, 30) goes to (82.9228, 35.5925), about (49.5, 49.5)."""
    matrix = Augmenter(Augment(rotate=10), seed=1)._motion(torch.tensor([[1.0, 0.5, 0.5, 0.5]]), 100, 100)
    points = torch.full((1, 68, 2), torch.nan)
    points[0, 0] = torch.tensor([80.0, 30.0])
    after = moved(Targets(landmarks=LandmarkTarget(points, torch.ones(1))), matrix)
    assert after.landmarks is not None
    assert after.landmarks.points[0, 0].tolist() == pytest.approx([82.9228, 35.5925], abs=5e-5)
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    blob = warped(torch.exp(-((x - 80) ** 2 + (y - 30) ** 2) / 8)[None, None], matrix)[0, 0]
    assert [float((blob * axis).sum() / blob.sum()) for axis in (x, y)] == pytest.approx([82.9228, 35.5925], abs=0.05)


def test_a_flip_without_swapped_points_as_released_with_cmcnn_is_not_ours() -> None:
    points = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0)) * 100
    after = flipped(Targets(landmarks=LandmarkTarget(points, torch.ones(1))), torch.tensor([True]), 100, ())
    assert after.landmarks is not None
    released = torch.stack((100 - points[..., 0], points[..., 1]), -1)
    assert after.landmarks.points[0, 36, 0] == pytest.approx(float(99 - points[0, 45, 0]))
    assert (after.landmarks.points - released).abs().amax(-1).median() > 1

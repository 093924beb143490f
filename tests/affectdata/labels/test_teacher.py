"""Predictions as labels: only where nobody has labelled, and only as sure as was asked for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from affectdata.labels.teacher import Known, Predicted, TeacherRule, teacher_labels
from manifests.vocabulary import au_column

CLASSES, AUS = ("neutral", "fear", "anger"), (1, 12)

floats = st.floats(0, 1, width=32)


def arrays(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, shape, elements=floats)


predictions = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.builds(
            Predicted,
            st.just(pa.array([f"toy/{i}" for i in range(n)])),
            st.just(CLASSES),
            st.just(AUS),
            expression=st.none() | arrays((n, 3)),
            va=st.none() | arrays((n, 2)),
            au=st.none() | arrays((n, 2)),
            landmarks=st.none() | arrays((n, 68, 2)),
        ),
        st.builds(Known, *(hnp.arrays(bool, shape) for shape in ((n,), (n,), (n, 2), (n,)))),
    )
)
rules = st.builds(TeacherRule, st.sampled_from(["hard", "soft", "release_exact"]), floats, st.sampled_from([1.0, 0.5]))


@settings(max_examples=50, deadline=None)
@given(predictions, rules)
def test_no_cell_that_is_known_and_no_unsure_one_gets_a_label_and_every_other_one_does(
    said: tuple[Predicted, Known], rule: TeacherRule
) -> None:
    predicted, known = said
    table, gained = teacher_labels(predicted, known, rule)
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    for n, name in enumerate(predicted.ids.to_pylist()):
        row = rows.get(name, {})
        if predicted.expression is not None:
            sure = predicted.expression[n].max() >= rule.min_confidence
            assert (row.get("expression") is not None) == (sure and not known.expression[n])
        if predicted.au is not None:
            for k, au in enumerate(AUS):
                p = predicted.au[n, k]
                sure = max(p, 1 - p) >= rule.min_confidence
                assert (row.get(au_column(au)) is not None) == (sure and not known.au[n, k])
        for task, column in (("va", "valence"), ("landmarks", "landmarks")):
            if getattr(predicted, task) is not None:
                assert (row.get(column) is not None) == (not getattr(known, task)[n])
    wanted = {"expression": "expression", "va": "valence", "landmarks": "landmarks"}
    for task, column in wanted.items():
        if task in gained:
            assert gained[task] == len(table) - table[column].null_count


def au_labels(rule: TeacherRule, probability: np.ndarray) -> np.ndarray:
    """What a rule makes of probabilities [N] of AU12, where nobody has labelled."""
    count = len(probability)
    predicted = Predicted(pa.array([f"toy/{n:03}" for n in range(count)]), aus=(12,), au=probability[:, None])
    nothing = np.zeros(count, bool)
    table, _ = teacher_labels(predicted, Known(nothing, nothing, nothing[:, None], nothing), rule)
    return table["au12"].to_numpy()


def test_release_exact_and_hard_differ_exactly_on_au_logits_above_0_up_to_one_half() -> None:
    logits = np.round(np.arange(-2, 2.001, 0.01), 2).astype(np.float32)
    assert {0.0, 0.5} < set(logits.tolist())
    probability = torch.sigmoid(torch.from_numpy(logits)).numpy()
    hard, release = (au_labels(TeacherRule(mode), probability) for mode in ("hard", "release_exact"))
    assert np.array_equal(hard != release, (logits > 0) & (logits <= 0.5))
    assert np.array_equal(release == 1, logits > 0.5)


def test_an_au_as_likely_as_not_is_absent_and_a_cut_of_its_own_is_present() -> None:
    even = np.array([0.5], np.float32)
    assert au_labels(TeacherRule("hard"), even) == 0
    assert au_labels(TeacherRule("soft"), even) == 0
    assert au_labels(TeacherRule("hard", cuts={12: 0.5}), even) == 1

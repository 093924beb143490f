"""Predictions as labels: only where nobody has labelled, and only as sure as was asked for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
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
rules = st.builds(TeacherRule, st.sampled_from(["hard", "soft"]), floats, st.sampled_from([1.0, 0.5]))


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

"""A tree is named by the readers that know it, also by one that knows it and cannot read it without an option."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from affectdata.datasets import card, recognise
from affectdata.datasets.listing import list_files
from manifests.errors import DatasetError


def reader(answer: object, *, of_anything: bool = False) -> SimpleNamespace:
    """A reader that answers so where there are files; or wherever it is asked."""

    def find(folder) -> object:
        if isinstance(answer, Exception) and (of_anything or len(folder.files)):
            raise answer
        return answer if len(folder.files) else None

    return SimpleNamespace(CARD=card("rafdb"), find=find)


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ({"a": reader("found"), "b": reader(DatasetError("which of two?"))}, ["a"]),
        ({"a": reader(None), "b": reader(DatasetError("which of two?"))}, ["b"]),
        ({"a": reader(None), "b": reader(DatasetError("name a map"), of_anything=True)}, []),
    ],
)
def test_a_reader_that_wants_an_option_is_named_where_none_reads_the_tree_as_it_is(
    answers: dict[str, SimpleNamespace], named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.txt").write_text("x")
    monkeypatch.setattr(recognise, "registry", lambda: answers)
    assert recognise.likely_datasets(tmp_path, list_files(tmp_path)) == named

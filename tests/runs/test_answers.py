"""What nilearn answered is asked once, and workers are told."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from support import FIXTURES

from nidecomp.config.science import Denoising
from nidecomp.runs import answers
from nidecomp.runs.nuisance import build_nuisance_model


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_ANSWERS", {})


def test_each_question_is_asked_once() -> None:
    asked: list[int] = []
    for _ in range(2):
        assert answers.answer_to("how many", lambda: asked.append(1) or 7) == 7
    assert len(asked) == 1
    assert answers.answers() == {"how many": 7}


def test_what_was_told_is_not_asked_and_the_oldest_answers_go() -> None:
    answers.learn({f"question {number}": number for number in range(100)})
    assert list(answers.answers()) == [f"question {number}" for number in range(36, 100)]
    assert answers.answer_to("question 99", lambda: pytest.fail("it is known")) == 99
    assert answers.answer_to("question 0", lambda: "again") == "again"


def test_errors_are_not_kept() -> None:
    with pytest.raises(ZeroDivisionError):
        answers.answer_to("x", lambda: 1 / 0)
    assert answers.answers() == {}


@pytest.mark.parametrize("strategy", ["simple", "scrubbing"])
def test_a_process_that_was_told_gets_the_same_model_without_nilearn(
    strategy: str, tmp_path: Path
) -> None:
    table = next(FIXTURES.glob("rest/sub-01/**/*_desc-confounds_timeseries.tsv"))
    n_volumes = len(table.read_text().splitlines()) - 1
    told = (table, n_volumes, 2.0, Denoising(denoise_strategy=strategy))
    model = build_nuisance_model(*told)
    (tmp_path / "told").write_bytes(pickle.dumps((told, answers.answers())))
    other = (
        "import pickle, sys; from nidecomp.runs import answers, nuisance\n"
        "told, known = pickle.load(open(sys.argv[1], 'rb')); answers.learn(known)\n"
        "model = nuisance.build_nuisance_model(*told)\n"
        "assert 'nilearn' not in sys.modules and 'sklearn' not in sys.modules\n"
        "print(model.kept.tolist(), model.nuisance.tobytes().hex())"
    )
    command = [sys.executable, "-c", other, str(tmp_path / "told")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{model.kept.tolist()} {model.nuisance.tobytes().hex()}\n"

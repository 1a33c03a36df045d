"""The command line: arguments, start-up time and exit codes."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any, NoReturn

import pytest

import nidecomp
from nidecomp import start
from nidecomp.cli import build_parser, main, parse
from nidecomp.config.parse import settings_from_options
from nidecomp.config.settings import SECTIONS, Settings, declared_options
from nidecomp.core import errors
from nidecomp.core.inventory import FailedRun, Inventory
from nidecomp.core.records import RunKey
from nidecomp.outputs.result import Outcome

ROOT = Path(__file__).resolve().parents[1]
WORDS = ["in", "out", "group"]
OPTIONS = [declared for _, declared in declared_options()]
HEAVY = {
    "numpy",
    "scipy",
    "pandas",
    "nibabel",
    "nilearn",
    "sklearn",
    "numba",
    "isal",
    "bids",
    "tqdm",
    "sqlalchemy",
}
MESSAGE = "something is wrong here; do this about it."


def python(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=60, cwd=cwd, check=False
    )


def seconds_of_cpu(*words: str) -> float:
    """Return the processor time of a command, which is the same on a busy machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert python(*words).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sample(declared: Field[Any]) -> str | None:
    """Return a valid value for an option, or None for a flag."""
    if isinstance(declared.default, bool):
        return None
    return {
        "bids_filter_file": "{}",
        "cluster_threshold": "0.001",
        "compare": "maps",
        "compare_stat": "z",
        "datasets": "B=there",
        "dataset_weights": "equal",
        "denoise_strategy": "none",
        "executor": "dask",
        "level": "minimal",
        "methods": "canica",
        "n_components": "2",
        "max_components": "2",
        "pca_weighting": "unit",
        "connectomes": "partial",
        "holdout": "0.5",
        "n_permutations": "1000",
        "nbs_threshold": "0.001",
        "structures": "cortex",
        "threshold": "p:0.01",
    }.get(declared.name, "1")


def run_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(settings: Settings, command: Sequence[str]) -> NoReturn:
        raise error

    monkeypatch.setattr(start, "carry_out", run)


# ---------------------------------------------------------------- speed
@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_answer_at_once(word: str) -> None:
    assert min(seconds_of_cpu("-m", "nidecomp", word) for _ in range(3)) < 0.5


@pytest.mark.parametrize("words", [["--help"], ["--version"], [*WORDS, "--alpha", "0"], ["oops"]])
def test_nothing_heavy_is_imported_before_the_words_are_understood(words: list[str]) -> None:
    code = (
        "import sys\nfrom nidecomp.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = python("-c", code)
    assert result.stdout.splitlines()[-1] == "HEAVY []", result.stdout + result.stderr


# ---------------------------------------------------------------- entry points
def test_run_py_works_from_a_clone_that_is_not_installed(tmp_path: Path) -> None:
    """-S hides site-packages, and with it any installed copy."""
    result = python("-S", str(ROOT / "run.py"), "--version", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout == f"nidecomp {nidecomp.__version__}\n"


def test_the_module_is_the_command() -> None:
    result = python("-m", "nidecomp", "--version")
    assert result.stdout == f"nidecomp {nidecomp.__version__}\n"


def test_the_installed_command_is_the_module() -> None:
    command = Path(sys.executable).with_name("nidecomp")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"nidecomp {nidecomp.__version__}\n"


def test_wrong_usage_ends_a_process_with_2_and_no_traceback() -> None:
    result = python("-m", "nidecomp", *WORDS, "--n-components", "1")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("nidecomp: --n-components")
    assert len(result.stderr.splitlines()) == 1


# ---------------------------------------------------------------- help
@pytest.fixture
def help_text(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "100000")
    return build_parser().format_help()


@pytest.mark.parametrize("declared", OPTIONS, ids=lambda declared: declared.name)
def test_every_option_stands_in_the_help_with_its_sentence(
    help_text: str, declared: Field[Any]
) -> None:
    sentence = declared.metadata["help"]
    assert len(sentence) > 5
    before, _, _ = " ".join(help_text.split()).partition(sentence)
    assert re.findall(r"--[a-z-]+", before)[-1] == "--" + declared.name.replace("_", "-")


@pytest.mark.parametrize("declared", OPTIONS, ids=lambda declared: declared.name)
def test_an_option_that_takes_a_value_names_it(declared: Field[Any]) -> None:
    assert bool(declared.metadata["metavar"]) != isinstance(declared.default, bool)


def test_the_help_names_the_exit_codes(help_text: str) -> None:
    codes = help_text[help_text.index("exit codes") :]
    every = [errors.NidecompError, *errors.NidecompError.__subclasses__()]
    assert all(str(kind.exit_code) in codes for kind in every)


def test_the_examples_in_the_help_can_be_parsed(help_text: str) -> None:
    lines = help_text[help_text.index("examples:") :].splitlines()[1:]
    commands = [line.split() for line in lines if line.split()[:1] == ["nidecomp"]]
    assert len(commands) >= 2
    assert {parse(words[1:]).analysis_level for words in commands} == {"group", "participant"}


# ---------------------------------------------------------------- words
def test_the_command_line_alone_gives_the_defaults() -> None:
    assert parse(WORDS) == settings_from_options("in", "out", "group", {})


@pytest.mark.parametrize("declared", OPTIONS, ids=lambda declared: declared.name)
def test_hyphens_and_underscores_are_the_same(declared: Field[Any]) -> None:
    name, word = declared.name, sample(declared)
    words = [] if word is None else [word]
    hyphens = parse([*WORDS, "--" + name.replace("_", "-"), *words])
    assert hyphens == parse([*WORDS, "--" + name, *words])
    expected = {name: True if word is None else word}
    assert hyphens == settings_from_options("in", "out", "group", expected)


def test_underscores_in_values_are_left_alone() -> None:
    assert parse([*WORDS, "--work_dir", "my_dir/a-b"]).execution.work_dir == "my_dir/a-b"
    assert parse([*WORDS, "--work_dir=my_dir/a-b"]).execution.work_dir == "my_dir/a-b"
    assert parse(["in_put", "out_put", "group"]).output_dir == Path("out_put")


def test_short_options_are_the_long_ones() -> None:
    long = parse([*WORDS, "--work-dir", "w", "--verbose"])
    assert parse([*WORDS, "-w", "w", "-v"]) == long


def test_several_values_follow_one_option() -> None:
    settings = parse([*WORDS, "--n-components", "20", "40", "--participant-label", "sub-01", "02"])
    assert settings.science.decomposition.n_components == (20, 40)
    assert settings.science.selection.participant_label == ("01", "02")


def test_tests_of_a_model_add_up_and_other_options_have_the_last_values() -> None:
    words = [
        "--model",
        "group+age",
        "--test",
        "group",
        "--test",
        "age",
        "--n-components",
        "3",
        "--n-components",
        "4",
    ]
    science = parse([*WORDS, *words]).science
    assert science.comparison.test == ("age", "group")
    assert science.decomposition.n_components == (4,)


def test_the_options_of_the_engine_are_understood() -> None:
    words = (
        "--dictlearning-smoothing-fwhm 2 --map-support 0.1 --n-epochs 3 --subspace-dims 200 "
        "--level minimal --omp-nthreads 2"
    )
    settings = parse([*WORDS, *words.split()])
    assert settings.science.smoothings_fwhm == (6.0, 2.0)
    decomposition = settings.science.decomposition
    assert (decomposition.map_support, decomposition.n_epochs) == (0.1, 3)
    assert (decomposition.alpha, decomposition.subspace_dims) == (None, 200)
    assert settings.extent.level == "minimal"
    assert settings.execution.omp_nthreads == 2


def test_every_section_is_a_group_of_the_help(help_text: str) -> None:
    for section in SECTIONS:
        assert f"\n{section}:\n" in help_text


def test_a_default_that_is_not_set_is_told_nowhere_or_by_the_sentence(help_text: str) -> None:
    """--alpha has no default; that of --dictlearning-smoothing-fwhm is another option."""
    assert "None" not in help_text
    assert "(default: --smoothing-fwhm)" in help_text


def test_options_are_not_abbreviated() -> None:
    """The meaning of an abbreviation could change if an option is added."""
    with pytest.raises(SystemExit) as ended:
        parse([*WORDS, "--n-comp", "20"])
    assert ended.value.code == 2


# ---------------------------------------------------------------- config file
def test_the_command_line_wins_over_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        "[decomposition]\nn_components = [5, 6]\nalpha = 3\n"
        "[execution]\nnprocs = 4\nverbose = true\n",
        encoding="utf-8",
    )
    given = ["--config-file", str(config)]
    expected = settings_from_options(
        "in", "out", "group", {"n_components": 7, "alpha": 3, "nprocs": 4, "verbose": True}
    )
    assert parse([*WORDS, *given, "--n-components", "7"]) == expected
    assert parse([*WORDS, "--n-components", "7", *given]) == expected
    assert parse([*WORDS, *given]).science.decomposition.n_components == (5, 6)


def test_a_wrong_value_in_the_config_file_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[decomposition]\nalpha = -3\n", encoding="utf-8")
    assert main([*WORDS, "--config-file", str(config)]) == 2
    assert "--alpha -3" in capsys.readouterr().err


@pytest.mark.parametrize("is_in_file", [True, False])
def test_an_unknown_weighting_is_answered_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_in_file: bool
) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[decomposition]\npca_weighting = "cubic"\n', encoding="utf-8")
    given = ["--config-file", str(config)] if is_in_file else ["--pca-weighting", "cubic"]
    assert main([*WORDS, *given]) == 2
    assert "--pca-weighting 'cubic': must be one of sqrt, unit" in capsys.readouterr().err


# ---------------------------------------------------------------- exit codes
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["in"],
        ["in", "out"],
        ["in", "out", "subject"],
        [*WORDS, "--no-such-option"],
        [*WORDS, "more"],
        [*WORDS, "--alpha"],
        [*WORDS, "--dry-run=yes"],
    ],
)
def test_words_that_make_no_sense_end_with_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("nidecomp: ")
    assert said.count("\n") == 1
    assert "See nidecomp --help" in said


def test_a_mistyped_option_is_answered_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["in", "out", "group", "--n_component", "5"])
    assert "Did you mean --n-components?" in capsys.readouterr().err


def test_options_that_swallow_the_folders_are_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--n-components", "20", "in", "out", "group"])
    assert "before the options" in capsys.readouterr().err


def test_a_folder_that_is_not_there_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "out"), "group"]) == 2
    assert str(tmp_path / "nowhere") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_dataset_ends_with_70(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "group"]) == 70
    assert str(tmp_path / "in") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "kind", [errors.NidecompError, *errors.NidecompError.__subclasses__()], ids=lambda k: k.__name__
)
def test_our_errors_become_one_line_and_their_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: type[errors.NidecompError],
) -> None:
    run_raises(monkeypatch, kind(MESSAGE))
    assert main(WORDS) == kind.exit_code != 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"nidecomp: {MESSAGE}\n")


def test_ctrl_c_ends_with_130_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_raises(monkeypatch, KeyboardInterrupt())
    assert main(WORDS) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nidecomp: interrupted.")
    assert len(err.splitlines()) == 1


def test_what_the_system_refuses_is_one_line_with_the_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_raises(monkeypatch, PermissionError(13, "Permission denied", "/data/out"))
    assert main(WORDS) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "Permission denied: '/data/out'" in err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback is needed for a bug report."""
    run_raises(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main(WORDS)


def test_failed_runs_end_with_1_and_none_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = FailedRun(RunKey((("sub", "01"), ("task", "rest"))), Path("x"), "it broke")
    for runs, code in (((), 0), ((failed,), 1)):
        outcome = Outcome(Inventory(failed=runs), Path("out"))
        of_request = {parse(WORDS): outcome}
        monkeypatch.setattr(start, "carry_out", lambda settings, _: of_request[settings])  # noqa: B023
        assert main(WORDS) == code


def test_the_pipeline_gets_what_was_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    commands: list[Sequence[str]] = []

    def run(settings: Settings, command: Sequence[str] = ()) -> Outcome:
        seen.append(settings)
        commands.append(command)
        return Outcome(Inventory(), settings.output_dir)

    monkeypatch.setattr(start, "carry_out", run)
    words = [*WORDS, "--n-components", "7", "--smoothing-fwhm", "5"]
    assert main(words) == 0
    nidecomp.decompose("in", "out", n_components=7, smoothing_fwhm=5)
    assert seen == [parse(words)] * 2
    assert commands == [["nidecomp", *words], ()]


def test_main_reads_the_words_of_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nidecomp", *WORDS, "--alpha", "0"])
    assert main() == 2
    assert "--alpha" in capsys.readouterr().err


def test_memory_that_ends_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_raises(monkeypatch, MemoryError())
    assert main(WORDS) == 1
    err = capsys.readouterr().err
    assert err.startswith("nidecomp: out of memory.")
    assert len(err.splitlines()) == 1

"""The nuisance regressors of a run and its volumes to keep are those that nilearn selects."""

import json
import shutil
import tempfile

import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.interfaces.fmriprep.load_confounds_scrub import optimize_scrub

from nidecomp.config.science import Denoising
from nidecomp.config.values import STRATEGY_PRESETS
from nidecomp.core.errors import NidecompError, RefusedRunError, UsageError
from nidecomp.runs import answers, nuisance
from nidecomp.runs.clean import cosines, orthonormal_basis, polynomials
from nidecomp.runs.nuisance import build_nuisance_model
from nidecomp.runs.strategy import missing_columns, possible_strategies, resolve_strategy

N_VOLUMES = 60
REPETITION_TIME_S = 2.0
STEM = "sub-01_task-rest"
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]


def expanded(name, series):
    derivative = np.r_[np.nan, np.diff(series)]
    return {
        name: series,
        f"{name}_derivative1": derivative,
        f"{name}_power2": series**2,
        f"{name}_derivative1_power2": derivative**2,
    }


def fmriprep_table(seed=0, n_cosines=2, displaced=(12, 13, 40), unsteady=0):
    """Return a table with fMRIPrep's columns, with motion above 0.5 mm at `displaced` volumes."""
    rng = np.random.default_rng(seed)
    table = {}
    for name in ["global_signal", "csf", "white_matter", *MOTION]:
        table |= expanded(name, rng.standard_normal(N_VOLUMES).cumsum())
    displacement = rng.uniform(0.05, 0.3, N_VOLUMES)
    displacement[list(displaced)] = 0.9
    table["framewise_displacement"] = np.r_[np.nan, displacement[1:]]
    table["std_dvars"] = np.r_[np.nan, rng.uniform(0.8, 1.2, N_VOLUMES - 1)]
    # The periods are as long as fMRIPrep's, so that 2 minutes have few of them.
    phase = np.pi * (np.arange(N_VOLUMES) + 0.5) / N_VOLUMES
    table |= {f"cosine{k:02d}": np.cos((k + 1) * phase) for k in range(n_cosines)}
    for prefix, n in (("a", 4), ("t", 3)):
        table |= {f"{prefix}_comp_cor_{k:02d}": rng.standard_normal(N_VOLUMES) for k in range(n)}
    table |= {f"aroma_motion_{k:02d}": rng.standard_normal(N_VOLUMES) for k in (1, 5)}
    for k in range(unsteady):
        table[f"non_steady_state_outlier{k:02d}"] = (np.arange(N_VOLUMES) == k).astype(float)
    return pd.DataFrame(table)


def write(folder, table, stem=STEM):
    """Write a table and its sidecar with fMRIPrep's file names."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}_desc-confounds_timeseries.tsv"
    table.to_csv(path, sep="\t", na_rep="n/a", index=False)
    components = {
        name: {"Mask": "combined", "Method": f"{name[0]}CompCor", "Retained": True}
        for name in table.columns
        if "_comp_cor_" in str(name)
    }
    path.with_suffix(".json").write_text(json.dumps(components))
    return path


def design_of(path, strategy="simple", **denoising):
    if not isinstance(strategy, str):
        strategy = json.dumps(strategy)
    settings = Denoising(denoise_strategy=strategy, **denoising)
    return build_nuisance_model(path, N_VOLUMES, REPETITION_TIME_S, settings)


def assert_same_span(left, right):
    """Check that two sets of columns span the same space."""
    left, right = orthonormal_basis(left), orthonormal_basis(right)
    assert left.shape == right.shape
    np.testing.assert_allclose(left @ (left.T @ right), right, atol=1e-7)


@pytest.fixture
def table_path(tmp_path):
    return write(tmp_path / "func", fmriprep_table(unsteady=2))


# ---------------------------------------------------------------- nilearn's selection
@pytest.mark.parametrize("preset", STRATEGY_PRESETS)
def test_preset_removes_what_nilearn_would_remove(table_path, preset):
    desc = "smoothAROMAnonaggr" if preset == "ica_aroma" else "preproc"
    image = table_path.with_name(f"{STEM}_space-MNI152NLin2009cAsym_desc-{desc}_bold.nii.gz")
    frame, sample_mask = load_confounds_strategy(str(image), denoise_strategy=preset)
    design = design_of(table_path, preset)
    np.testing.assert_array_equal(design.kept, sample_mask)
    theirs = np.column_stack([polynomials(N_VOLUMES), frame.to_numpy()])[sample_mask]
    assert_same_span(design.nuisance, theirs)
    assert design.degrees_of_freedom == len(sample_mask) - np.linalg.matrix_rank(theirs)


def test_a_table_is_read_once_and_nilearn_is_asked_once_about_its_columns(tmp_path, monkeypatch):
    paths = [
        write(
            tmp_path / f"{seed}", fmriprep_table(seed, displaced=(), unsteady=seed).assign(**more)
        )
        for seed, more in enumerate(({}, {"motion_outlier00": 0.0}, {"a_comp_cor_04": 1.0}))
    ]
    read = []
    whole = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda path, **how: read.append(path) or whole(path, **how))
    answers._ANSWERS.clear()
    for path in paths:
        design_of(path, "simple")
    assert [path for path in read if path in paths] == paths
    assert len(read) == len(paths) + 1


@pytest.mark.parametrize("fewest", [0, 1, 2, 5])
def test_short_segments_are_those_of_nilearn(fewest):
    rng = np.random.default_rng(fewest)
    for share in np.linspace(0, 0.6, 20):
        scrubbed = rng.random(30) < share
        ours = nuisance._short_segments(scrubbed, fewest) | scrubbed
        theirs = np.flatnonzero(scrubbed)
        if fewest and len(theirs):
            theirs = optimize_scrub(theirs, len(scrubbed), fewest)
        np.testing.assert_array_equal(np.flatnonzero(ours), theirs)


@pytest.mark.parametrize("preset", STRATEGY_PRESETS)
def test_preset_resolved_twice_is_the_same(preset):
    """Shared defaults, including nilearn's own, are not modified."""
    first = resolve_strategy(Denoising(denoise_strategy=preset, fd_threshold=0.123))
    second = resolve_strategy(Denoising(denoise_strategy=preset))
    assert second == resolve_strategy(Denoising(denoise_strategy=preset))
    assert "global_signal" not in first
    assert second.get("fd_threshold") != 0.123


def test_parts_joined_by_plus_span_their_columns(table_path):
    design = design_of(table_path, "motion+global_signal")
    table = pd.read_csv(table_path, sep="\t", na_values="n/a").bfill()
    names = [f"{base}{suffix}" for base in MOTION for suffix in expanded("", np.zeros(2))]
    columns = np.column_stack([polynomials(N_VOLUMES), table[[*names, "global_signal"]]])
    assert_same_span(design.nuisance, columns[design.kept])


def test_json_strategy_is_what_load_confounds_makes_of_its_arguments(table_path):
    design = design_of(table_path, {"strategy": ["motion"], "motion": "basic"})
    table = pd.read_csv(table_path, sep="\t", na_values="n/a")
    assert_same_span(
        design.nuisance, np.column_stack([polynomials(N_VOLUMES), table[MOTION]])[design.kept]
    )


def test_no_strategy_removes_constant_and_trend_only(table_path):
    design = design_of(table_path, "none")
    assert_same_span(design.nuisance, polynomials(N_VOLUMES)[design.kept])


def test_filters_and_confounds_are_one_basis(table_path):
    design = design_of(table_path, "simple", high_pass=0.01, low_pass=0.1)
    simple = design_of(table_path, "simple")
    removed = cosines(N_VOLUMES, REPETITION_TIME_S, 0.01, 0.1)[design.kept]
    assert_same_span(design.nuisance, np.column_stack([simple.nuisance, removed]))
    n_columns = design.nuisance.shape[1]
    np.testing.assert_allclose(design.nuisance.T @ design.nuisance, np.eye(n_columns), atol=1e-10)


def test_basis_is_orthonormal_on_the_kept_volumes_and_holds_the_constant(table_path):
    design = design_of(table_path, "scrubbing", fd_threshold=0.25)
    n_columns = design.nuisance.shape[1]
    assert design.nuisance.shape[0] == len(design.kept)
    np.testing.assert_allclose(design.nuisance.T @ design.nuisance, np.eye(n_columns), atol=1e-10)
    ones = np.ones(len(design.kept))
    np.testing.assert_allclose(design.nuisance @ (design.nuisance.T @ ones), ones, atol=1e-10)


def test_runs_with_and_without_acq_in_one_folder_each_get_their_own_table(tmp_path):
    """Without a folder for the run, nilearn finds two tables and raises an error."""
    plain = write(tmp_path, fmriprep_table(1))
    with_acq = write(tmp_path, fmriprep_table(2), "sub-01_task-rest_acq-fast")
    with pytest.raises(ValueError, match="more than one confound file"):
        load_confounds_strategy(
            str(tmp_path / "sub-01_task-rest_acq-fast_space-X_desc-preproc_bold.nii.gz")
        )
    for seed, path in ((1, plain), (2, with_acq)):
        alone = write(tmp_path / f"alone{seed}", fmriprep_table(seed))
        np.testing.assert_array_equal(design_of(path).nuisance, design_of(alone).nuisance)


def test_name_of_the_table_does_not_matter(tmp_path):
    """fMRIPrep before 20.2 wrote `_regressors`; a symbolic link has any name."""
    usual = write(tmp_path, fmriprep_table())
    old = tmp_path / "sub-01_task-rest_desc-confounds_regressors.tsv"
    shutil.copy(usual, old)
    shutil.copy(usual.with_suffix(".json"), old.with_suffix(".json"))
    for preset in ("simple", "compcor"):
        np.testing.assert_array_equal(
            design_of(old, preset).nuisance, design_of(usual, preset).nuisance
        )


@pytest.mark.parametrize("preset", STRATEGY_PRESETS)
def test_name_of_the_folder_for_temporary_files_does_not_matter(
    table_path, tmp_path, monkeypatch, preset
):
    """nilearn replaces every `tsv` in the table's path by `json` to find its sidecar."""
    expected = design_of(table_path, preset)
    folder = tmp_path / "my-tsv-scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    np.testing.assert_array_equal(design_of(table_path, preset).nuisance, expected.nuisance)


def test_nothing_is_left_in_the_folder_for_temporary_files(table_path, tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    design_of(table_path)
    assert not list(folder.iterdir())


def test_sidecar_is_needed_for_nothing_but_compcor(tmp_path):
    path = write(tmp_path, fmriprep_table())
    expected = design_of(path, "scrubbing").nuisance
    path.with_suffix(".json").unlink()
    np.testing.assert_array_equal(design_of(path, "scrubbing").nuisance, expected)
    with pytest.raises(RefusedRunError, match="compcor"):
        design_of(path, "compcor")


# ---------------------------------------------------------------- which volumes are kept
@pytest.mark.parametrize("strategy", ["none", *STRATEGY_PRESETS, "motion+high_pass"])
def test_volumes_before_the_steady_state_are_dropped_with_every_strategy(tmp_path, strategy):
    path = write(tmp_path, fmriprep_table(unsteady=3, displaced=()))
    np.testing.assert_array_equal(design_of(path, strategy).kept, np.arange(3, N_VOLUMES))


@pytest.mark.parametrize(("dummy_scans", "unsteady"), [(0, 0), (5, 0), (5, 2), (2, 5)])
def test_dummy_scans_are_dropped_besides_unsteady_volumes(tmp_path, dummy_scans, unsteady):
    path = write(tmp_path, fmriprep_table(unsteady=unsteady))
    kept = design_of(path, dummy_scans=dummy_scans).kept
    np.testing.assert_array_equal(kept, np.arange(max(dummy_scans, unsteady), N_VOLUMES))


@pytest.mark.parametrize("strategy", ["none", "simple"])
def test_fd_threshold_drops_exactly_the_volumes_above_it(table_path, strategy):
    displacement = pd.read_csv(table_path, sep="\t")["framewise_displacement"].to_numpy()
    for threshold in (0.1, 0.2, 0.5, 0.9, 1.0):
        above = np.flatnonzero(displacement > threshold)
        kept = design_of(table_path, strategy, fd_threshold=threshold).kept
        np.testing.assert_array_equal(
            kept, np.setdiff1d(np.arange(2, N_VOLUMES), above), err_msg=str(threshold)
        )


def test_fd_threshold_takes_the_place_of_the_scrubbing_presets_own(table_path):
    lenient = design_of(table_path, "scrubbing", fd_threshold=1.0).kept
    preset = design_of(table_path, "scrubbing").kept
    strict = design_of(table_path, "scrubbing", fd_threshold=0.28).kept
    np.testing.assert_array_equal(lenient, np.arange(2, N_VOLUMES))
    assert set(strict) < set(preset) < set(lenient)
    displacement = pd.read_csv(table_path, sep="\t")["framewise_displacement"].to_numpy()
    assert displacement[strict].max() <= 0.28


def test_scrubbing_drops_short_stretches_between_movements_and_the_threshold_alone_does_not(
    tmp_path,
):
    path = write(tmp_path, fmriprep_table(displaced=(20, 23)))
    between = {21, 22}
    assert between.isdisjoint(design_of(path, "scrubbing").kept)
    assert between <= set(design_of(path, "simple", fd_threshold=0.5).kept)


def test_mean_displacement_is_that_of_the_whole_run_without_the_first_volume(table_path):
    displacement = pd.read_csv(table_path, sep="\t")["framewise_displacement"].to_numpy()
    mean = displacement[1:].mean()
    for strategy in ("none", "scrubbing"):
        assert design_of(table_path, strategy).mean_fd_mm == pytest.approx(mean)
    assert design_of(table_path, mean_fd_cutoff=mean * 1.01).mean_fd_mm == pytest.approx(mean)
    with pytest.raises(RefusedRunError, match=rf"{mean:.3f} mm, above --mean-fd-cutoff"):
        design_of(table_path, mean_fd_cutoff=mean * 0.99)


@pytest.mark.parametrize(
    "denoising",
    [
        {"dummy_scans": N_VOLUMES},
        {"dummy_scans": 10 * N_VOLUMES},
        {"dummy_scans": 1, "fd_threshold": 0.01},
    ],
)
def test_run_without_a_volume_left_is_refused(table_path, denoising):
    with pytest.raises(RefusedRunError, match="volumes were scrubbed or dropped"):
        design_of(table_path, **denoising)


def test_run_that_scrubbing_leaves_nothing_of_is_refused(tmp_path):
    path = write(tmp_path, fmriprep_table(displaced=range(N_VOLUMES)))
    with pytest.raises(RefusedRunError, match="volumes were scrubbed or dropped"):
        design_of(path, "scrubbing")


# ---------------------------------------------------------------- invalid tables
@pytest.mark.parametrize(
    ("dropped", "strategy"),
    [
        (["trans_x"], "simple"),
        (["rot_z_derivative1_power2", "csf"], "simple"),
        (["white_matter_power2"], "scrubbing"),
        (["std_dvars"], "scrubbing"),
        (["framewise_displacement"], "scrubbing"),
        (["global_signal"], "motion+global_signal"),
    ],
)
def test_missing_columns_are_named_with_the_strategies_that_are_possible(
    tmp_path, dropped, strategy
):
    table = fmriprep_table().drop(columns=dropped)
    with pytest.raises(RefusedRunError) as caught:
        design_of(write(tmp_path, table), strategy)
    message = str(caught.value)
    assert all(name in message for name in dropped)
    assert f"--denoise-strategy {strategy};" in message
    for possible in possible_strategies(list(table.columns)):
        assert possible in message


def test_many_missing_columns_are_not_all_listed(tmp_path):
    table = fmriprep_table()[["csf", "white_matter"]]
    with pytest.raises(RefusedRunError, match=r"trans_x, .* …, which") as caught:
        design_of(write(tmp_path, table))
    assert "rot_z" not in str(caught.value)


@pytest.mark.parametrize(("n_cosines", "kinds"), [(2, "all"), (0, "all"), (0, "few"), (0, "none")])
def test_every_strategy_that_is_said_to_be_possible_is(tmp_path, n_cosines, kinds):
    """fMRIPrep writes no cosines for runs that are shorter than its cutoff period."""
    table = fmriprep_table(n_cosines=n_cosines)
    if kinds == "few":
        table = table.drop(columns=["std_dvars", "csf"])
    if kinds == "none":
        table = table[["global_signal"]]
    path = write(tmp_path, table)
    failed = {}
    for name in possible_strategies(list(table.columns)):
        try:
            design_of(path, name)
        except Exception as error:
            failed[name] = repr(error)
    assert failed == {}


@pytest.mark.parametrize("preset", ["simple", "scrubbing", "compcor"])
def test_strategy_is_possible_exactly_where_no_column_is_missing(preset):
    arguments = resolve_strategy(Denoising(denoise_strategy=preset))
    columns = list(fmriprep_table().columns)
    assert missing_columns(columns, arguments) == []
    for base in MOTION:
        rest = [name for name in columns if name != base]
        assert missing_columns(rest, arguments) == [base]
        assert preset not in possible_strategies(rest)
    assert preset in possible_strategies(columns)
    assert possible_strategies([])[-1] == "none"


@pytest.mark.parametrize("option", ["fd_threshold", "mean_fd_cutoff"])
@pytest.mark.parametrize("strategy", ["none", "simple"])
def test_displacement_that_is_asked_for_must_be_there(tmp_path, strategy, option):
    table = fmriprep_table().drop(columns="framewise_displacement")
    with pytest.raises(RefusedRunError, match="has no framewise_displacement"):
        design_of(write(tmp_path, table), strategy, **{option: 0.5})
    with pytest.raises(RefusedRunError, match="no confounds table"):
        design_of(None, "none", **{option: 0.5})


def test_run_without_a_table_can_be_used_without_a_strategy_only():
    design = design_of(None, "none", dummy_scans=3)
    np.testing.assert_array_equal(design.kept, np.arange(3, N_VOLUMES))
    assert design.mean_fd_mm is None
    with pytest.raises(RefusedRunError, match=r"no confounds table.*--denoise-strategy simple"):
        design_of(None, "simple")


@pytest.mark.parametrize("volume", [1, 30, N_VOLUMES - 1])
def test_gap_in_a_regressor_is_told_by_its_column(tmp_path, volume):
    table = fmriprep_table()
    table.loc[volume, "rot_y"] = np.nan
    path = write(tmp_path, table)
    with pytest.raises(RefusedRunError, match=r"missing values, .* kept, in rot_y$"):
        design_of(path)
    assert len(design_of(path, "none").kept) == N_VOLUMES


def test_gap_in_a_volume_that_is_dropped_does_no_harm(tmp_path):
    table = fmriprep_table()
    table.loc[2, "rot_y"] = np.nan
    design = design_of(write(tmp_path, table), dummy_scans=5)
    assert np.isfinite(design.nuisance).all()


def test_text_in_a_column_is_told_by_its_name(tmp_path):
    table = fmriprep_table().astype({"csf": object})
    table.loc[7, "csf"] = "oops"
    with pytest.raises(RefusedRunError, match="has text in column 'csf'"):
        design_of(write(tmp_path, table))


def test_true_and_false_in_a_column_are_text(tmp_path):
    table = fmriprep_table().astype({"csf": object})
    table["csf"] = [bool(number % 2) for number in range(N_VOLUMES)]
    for strategy in ("simple", "none"):
        with pytest.raises(RefusedRunError, match="has text in column 'csf'"):
            design_of(write(tmp_path, table), strategy)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strategy", ["none", "simple", "scrubbing"])
@pytest.mark.parametrize("value", [1e308, -1e308, 1e200])
def test_a_number_that_nothing_measured_has_is_told_by_its_column(tmp_path, strategy, value):
    table = fmriprep_table()
    table.loc[7, "trans_x"] = value
    with pytest.raises(RefusedRunError, match=r"value of 1e\+\d+ in column 'trans_x'"):
        design_of(write(tmp_path, table), strategy)


@pytest.mark.filterwarnings("error")
def test_a_large_number_does_not_overflow(tmp_path):
    table = fmriprep_table()
    table.loc[7, "trans_x"] = 1e99
    assert np.isfinite(design_of(write(tmp_path, table), "none").motion).all()


def test_an_infinite_number_in_a_column_that_nobody_needs_does_no_harm(tmp_path):
    table = fmriprep_table()
    table.loc[7, "csf"] = np.inf
    assert len(design_of(write(tmp_path, table), "none").kept) == N_VOLUMES


@pytest.mark.parametrize("n_rows", [0, 1, N_VOLUMES - 1, N_VOLUMES + 1])
def test_table_of_another_length_is_refused_with_both_numbers(tmp_path, n_rows):
    table = pd.concat([fmriprep_table()] * 2).iloc[:n_rows]
    with pytest.raises(
        RefusedRunError, match=rf"has {n_rows} rows?, but its image has {N_VOLUMES}"
    ):
        design_of(write(tmp_path, table))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x81" * 50, b'a\tb\n1\t2\t3\n"'])
def test_table_that_cannot_be_read_is_refused_by_its_name(tmp_path, content):
    path = write(tmp_path, fmriprep_table())
    path.write_bytes(content)
    with pytest.raises(RefusedRunError, match=path.name):
        design_of(path)


def test_table_that_is_gone_is_refused_by_its_name(tmp_path):
    with pytest.raises(RefusedRunError, match=r"gone\.tsv cannot be read"):
        design_of(tmp_path / "gone.tsv")


@pytest.mark.parametrize(
    "content", ['{"a_comp_cor_00": ', "[" * 10_000, "[]", '{"a_comp_cor_00": null}']
)
def test_broken_sidecar_is_refused(tmp_path, content):
    path = write(tmp_path, fmriprep_table())
    path.with_suffix(".json").write_text(content)
    with pytest.raises(RefusedRunError):
        design_of(path, "compcor")


@pytest.mark.parametrize("option", ["high_pass", "low_pass"])
def test_cutoff_must_lie_below_the_nyquist_frequency(table_path, option):
    nyquist = 0.5 / REPETITION_TIME_S
    design_of(table_path, "none", **{option: 0.99 * nyquist if option == "low_pass" else 0.01})
    for cutoff in (nyquist, 2 * nyquist):
        with pytest.raises(RefusedRunError, match=r"Nyquist frequency of 0\.25 Hz \(TR 2 s\)"):
            design_of(table_path, "none", **{option: cutoff})


def test_filters_that_nobody_could_fit_are_refused_before_they_are_made():
    with pytest.raises(RefusedRunError, match="regressors for 90000 volumes"):
        build_nuisance_model(
            None, 90_000, 60.0, Denoising(denoise_strategy="none", high_pass=0.008)
        )


def test_a_table_whose_columns_would_shift_is_refused(table_path):
    header, *rows = table_path.read_text().splitlines()
    table_path.write_text("\n".join([header, *(f"{row}\t0.5" for row in rows)]) + "\n")
    with pytest.raises(RefusedRunError, match="more columns than the header"):
        design_of(table_path, "simple")


def test_a_table_that_is_none_by_its_size_is_not_read(table_path):
    with table_path.open("r+b") as file:
        file.truncate(300_000_000)
    with pytest.raises(RefusedRunError, match="its size is 300 MB"):
        design_of(table_path, "simple")


# ---------------------------------------------------------------- JSON strategies
@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"strategy": ["motion"], "motoin": "basic"}, "unknown argument 'motoin'.*motion"),
        ({"strategy": "motion"}, "'strategy' must be a list of motion"),
        ({}, 'contain a list "strategy"'),
        ({"strategy": ["motion"], "img_files": "x.nii.gz"}, "unknown argument 'img_files'"),
        ({"strategy": ["tedana"]}, "'strategy' must be a list of motion"),
        ({"strategy": ["motion", "compcor"]}, "compcor must be combined with high_pass"),
    ],
)
def test_json_that_is_no_strategy_is_wrong_usage(table_path, content, match):
    with pytest.raises(UsageError, match=match):
        design_of(table_path, content)


@pytest.mark.parametrize(
    "content",
    [
        {"strategy": ["ica_aroma_"]},
        {"strategy": [["motion"]]},
        {"strategy": []},
        {"strategy": ["motion"], "motion": "all"},
        {"strategy": ["motion"], "motion": ["full"]},
        {"strategy": ["motion", "scrub"], "fd_threshold": "high"},
        {"strategy": ["motion", "scrub"], "scrub": "five"},
        {"strategy": ["high_pass", "compcor"], "n_compcor": "five"},
    ],
    ids=json.dumps,
)
def test_json_with_values_that_nilearn_cannot_use_ends_in_a_sentence(table_path, content):
    """A mistake in the user's file gives an error message, not a traceback."""
    with pytest.raises(NidecompError):
        design_of(table_path, content)


# ---------------------------------------------------------------- motion
def test_motion_is_told_without_what_cleaning_removes(tmp_path):
    """A cleaned series is uncorrelated with parameters that were regressed out of it."""
    table = fmriprep_table()
    path = write(tmp_path, table)
    cleaned, raw = design_of(path), design_of(path, "none")
    assert cleaned.motion.shape == (len(cleaned.kept), 7)
    assert np.all(cleaned.motion[:, :6] == 0)
    displacement = cleaned.motion[:, 6]
    assert np.linalg.norm(displacement) > 0
    assert np.abs(cleaned.nuisance.T @ displacement).max() < 1e-9 * np.abs(displacement).max()
    # Without a strategy, only the constant and the trend are removed.
    whole = table["trans_x"].to_numpy()[raw.kept]
    expected = whole - raw.nuisance @ (raw.nuisance.T @ whole)
    np.testing.assert_allclose(raw.motion[:, 0], expected, atol=1e-12)


def test_motion_that_no_table_tells_has_no_columns():
    design = build_nuisance_model(
        None, N_VOLUMES, REPETITION_TIME_S, Denoising(denoise_strategy="none")
    )
    assert design.motion.shape == (N_VOLUMES, 0)


# ---------------------------------------------------------------- what each part removes
LONG = 140  # volumes; 280 s


def long_table(n_cosines=3, **changed):
    """Return a table of 280 s with cosines, and with columns replaced."""
    table = pd.concat([fmriprep_table(0, 0, ()), fmriprep_table(1, 0, ())], ignore_index=True)
    table = pd.concat([table, table.iloc[1:21]], ignore_index=True)
    table.loc[N_VOLUMES] = table.loc[N_VOLUMES].fillna(table.loc[N_VOLUMES + 1])
    phase = np.pi * (np.arange(LONG) + 0.5) / LONG
    cosine = {f"cosine{k:02d}": np.cos((k + 1) * phase) for k in range(n_cosines)}
    return table.assign(**cosine, **changed)


def long_design(path, strategy="simple", volumes=LONG, **options):
    settings = Denoising(denoise_strategy=strategy, **options)
    return build_nuisance_model(path, volumes, REPETITION_TIME_S, settings)


def test_each_part_is_counted_in_the_order_of_the_strategy(tmp_path):
    path = write(tmp_path, long_table())
    assert long_design(path).regressors == (
        ("trend", 2),
        ("high_pass", 3),
        ("motion", 24),
        ("wm_csf", 2),
    )
    assert long_design(path, "motion+wm_csf+global_signal", high_pass=0.0101).regressors == (
        ("trend", 2),
        ("filter", 5),
        ("motion", 24),
        ("wm_csf", 2),
        ("global_signal", 1),
    )
    assert long_design(path, "none", low_pass=0.2).regressors == (("trend", 2), ("filter", 27))
    assert dict(long_design(path, "compcor").regressors)["compcor"] == 4
    basic = json.dumps({"strategy": ["ica_aroma"], "ica_aroma": "basic"})
    assert long_design(path, basic).regressors == (("trend", 2), ("ica_aroma", 2))
    assert long_design(path, "none").notes == ()


def test_denoised_images_and_scrubbing_are_no_regressors(tmp_path):
    path = write(tmp_path, long_table())
    names = [name for name, _ in long_design(path, "ica_aroma").regressors]
    assert names == ["trend", "high_pass", "wm_csf"]
    scrubbed = long_design(path, "scrubbing")
    assert "scrub" not in dict(scrubbed.regressors)
    assert scrubbed.notes == ()


@pytest.mark.parametrize("strategy", ["simple", "high_pass", "motion+high_pass", "compcor"])
def test_a_long_run_without_cosines_is_refused_with_the_way_out(tmp_path, strategy):
    path = write(tmp_path, long_table(n_cosines=0))
    with pytest.raises(RefusedRunError) as caught:
        long_design(path, strategy)
    assert str(caught.value) == (
        "its confounds table has no cosine columns, although it is longer than 128 s, so that "
        f"--denoise-strategy {strategy} would remove no slow drifts: use --high-pass 0.008 for a "
        "filter by NiDecomp, or a strategy without high_pass; strategies possible with this table "
        "are motion+wm_csf, motion, wm_csf, none"
    )
    for possible in ("motion+wm_csf", "motion", "wm_csf", "none"):
        assert long_design(path, possible).notes == ()
    filtered = long_design(path, strategy, high_pass=0.008)
    assert filtered.notes == (
        "the confounds table has no cosine columns; the high-pass filter is that of --high-pass",
    )
    assert dict(filtered.regressors)["filter"] == 4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_cosines_are_none(tmp_path, value):
    path = write(tmp_path, long_table(n_cosines=0, cosine00=value, cosine01=value))
    with pytest.raises(RefusedRunError, match="has only constant cosine columns, although"):
        long_design(path)
    assert "only constant cosine" in long_design(path, high_pass=0.008).notes[0]


@pytest.mark.parametrize(("volumes", "is_short"), [(64, True), (65, False)])
def test_the_limit_is_the_duration_of_what_is_left_at_the_start(tmp_path, volumes, is_short):
    """fMRIPrep computes the cosines of the volumes in the steady state."""
    unsteady = [*[1.0] * 3, *[0.0] * (volumes - 2)]
    table = long_table(n_cosines=0).iloc[: volumes + 4]
    table["non_steady_state_outlier00"] = [*unsteady, 0.0, 0.0, 0.0][: volumes + 4]
    # Scrubbing makes a run no shorter.
    table.loc[40, "framewise_displacement"] = 5.0
    path = write(tmp_path, table)
    options = {"volumes": volumes + 4, "dummy_scans": 4, "fd_threshold": 0.5}
    if is_short:
        design = long_design(path, **options)
        assert design.notes == (
            "high_pass removes nothing, because the run is not longer than 128 s",
        )
        assert ("high_pass", 0) in design.regressors
    else:
        with pytest.raises(RefusedRunError, match="no cosine columns"):
            long_design(path, **options)


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_motion_that_is_constant_is_refused_with_the_way_out(tmp_path, value):
    constant = dict.fromkeys(MOTION, value)
    path = write(tmp_path, long_table(**constant))
    for strategy in ("simple", "motion+high_pass", "compcor"):
        with pytest.raises(RefusedRunError) as caught:
            long_design(path, strategy)
        assert str(caught.value) == (
            "its six rigid-body parameters (trans_x … rot_z) are constant, as after a motion "
            f"estimate that failed, but are required by --denoise-strategy {strategy}: exclude the "
            "run, or use a strategy without motion; strategies possible with this table are "
            "wm_csf+high_pass, high_pass, none"
        )
    for possible in ("wm_csf+high_pass", "high_pass", "none"):
        assert long_design(path, possible).notes == ()


def test_columns_that_are_constant_are_named(tmp_path):
    still = {name: 0.0 for name in long_table() if name.startswith("rot_z")}
    design = long_design(write(tmp_path / "rot", long_table(**still)))
    assert design.notes == ("rot_z (part of motion) is constant and removes nothing",)
    assert dict(design.regressors)["motion"] == 20

    design = long_design(write(tmp_path / "csf", long_table(csf=0.0)))
    assert design.notes == ("csf (part of wm_csf) is constant and removes nothing",)
    assert dict(design.regressors)["wm_csf"] == 1


def test_a_part_that_removes_nothing_is_named_with_its_columns(tmp_path):
    components = {f"a_comp_cor_{k:02d}": 0.0 for k in range(4)}
    zero = {"csf": 0.0, "white_matter": 0.0, "global_signal": 3.0, **components}
    path = write(tmp_path, long_table(**zero))
    assert long_design(path).notes == (
        "wm_csf removes nothing, because csf, white_matter are constant",
    )
    assert long_design(path, "motion+global_signal").notes == (
        "global_signal removes nothing, because global_signal is constant",
    )
    design = long_design(path, "compcor")
    assert "compcor removes nothing, because a_comp_cor_00, a_comp_cor_01" in design.notes[0]
    assert ("compcor", 0) in design.regressors


def test_what_is_constant_in_the_volumes_kept_removes_nothing(tmp_path):
    csf = np.r_[np.arange(10.0), np.full(LONG - 10, 9.0)]
    path = write(tmp_path, long_table(csf=csf))
    assert long_design(path).notes == ()
    assert long_design(path, dummy_scans=9).notes == (
        "csf (part of wm_csf) is constant and removes nothing",
    )


# ---------------------------------------------------------------- displacement
def test_displacement_of_zero_is_unknown(tmp_path):
    path = write(tmp_path, long_table(framewise_displacement=[np.nan, *[0.0] * (LONG - 1)]))
    design = long_design(path)
    assert design.mean_fd_mm is None
    assert design.notes == (
        "the mean framewise displacement is unknown: framewise_displacement is 0 at all volumes, "
        "as after a motion estimate that failed",
    )
    scrubbing = "--denoise-strategy scrubbing"
    for strategy, options, needed in (
        ("simple", {"fd_threshold": 0.5}, "--fd-threshold"),
        ("simple", {"mean_fd_cutoff": 0.5}, "--mean-fd-cutoff"),
        ("scrubbing", {}, scrubbing),
        ("scrubbing", {"mean_fd_cutoff": 0.5}, f"--mean-fd-cutoff and {scrubbing}"),
    ):
        with pytest.raises(RefusedRunError) as caught:
            long_design(path, strategy, **options)
        assert str(caught.value) == (
            "its framewise_displacement is 0 at all volumes, as after a motion estimate that "
            f"failed, but is required by {needed}: exclude the run, or do without {needed}"
        )


def test_displacement_that_is_not_there_is_unknown(tmp_path):
    path = write(tmp_path, long_table(framewise_displacement=np.nan))
    design = long_design(path)
    assert design.mean_fd_mm is None
    assert design.notes == (
        "the mean framewise displacement is unknown: framewise_displacement is n/a at all volumes",
    )
    with pytest.raises(RefusedRunError, match="n/a for 139 of the volumes that are kept, but is "):
        long_design(path, fd_threshold=0.5)
    with pytest.raises(RefusedRunError, match=r"without any number .* framewise_displacement"):
        long_design(path, "scrubbing")


def test_displacement_need_not_be_known_in_volumes_that_are_dropped(tmp_path):
    table = long_table()
    known = table["framewise_displacement"].to_numpy(copy=True)
    known[:4] = np.nan
    path = write(tmp_path, table.assign(framewise_displacement=known))
    options = {"fd_threshold": 0.5, "mean_fd_cutoff": 1.0}
    design = long_design(path, dummy_scans=4, **options)
    assert design.mean_fd_mm == pytest.approx(np.nanmean(known))
    assert design.notes == ()
    # The first volume that is kept may have none either, if it was computed without those before.
    assert long_design(path, dummy_scans=3, **options).notes == ()
    for strategy in ("simple", "scrubbing"):
        with pytest.raises(RefusedRunError, match="n/a for 1 of the volumes that are kept"):
            long_design(path, strategy, dummy_scans=2, **options)
    known[2] = 0.1
    path = write(tmp_path, table.assign(framewise_displacement=known))
    with pytest.raises(RefusedRunError, match="n/a for 1 of the volumes that are kept"):
        long_design(path, dummy_scans=3, **options)
    assert long_design(path).notes == (
        "the mean framewise displacement leaves out volumes where framewise_displacement is n/a",
    )


def test_scrubbing_needs_to_know_the_change_of_the_image(tmp_path):
    dvars = long_table()["std_dvars"].to_numpy(copy=True)
    dvars[50] = np.nan
    path = write(tmp_path, long_table(std_dvars=dvars))
    with pytest.raises(RefusedRunError, match=r"std_dvars is n/a for 1 .* by --denoise-strategy "):
        long_design(path, "scrubbing", fd_threshold=0.5)
    assert long_design(path, fd_threshold=0.5).notes == ()


# ---------------------------------------------------------------- empty columns
def test_an_empty_column_is_called_empty_and_possible_strategies_do_without_it(tmp_path):
    path = write(tmp_path, long_table(csf=np.nan))
    with pytest.raises(RefusedRunError) as caught:
        long_design(path)
    assert str(caught.value) == (
        "its confounds table has a column without any number (all n/a), csf, which is required by "
        "--denoise-strategy simple; strategies possible with this table are compcor, "
        "motion+high_pass, high_pass, none"
    )
    path = write(tmp_path, long_table(csf=np.nan, white_matter=np.nan, std_dvars=np.nan))
    with pytest.raises(RefusedRunError, match=r"columns without .* csf, white_matter, std_dvars, "):
        long_design(path, "scrubbing")


def test_an_empty_component_is_called_empty(tmp_path):
    path = write(tmp_path, long_table(a_comp_cor_02=np.nan))
    with pytest.raises(RefusedRunError, match=r"without any number \(all n/a\), a_comp_cor_02"):
        long_design(path, "compcor")


# ---------------------------------------------------------------- JSON files of the table
def test_compcor_without_its_sidecar_names_the_file(tmp_path):
    path = write(tmp_path, long_table())
    path.with_suffix(".json").unlink()
    with pytest.raises(RefusedRunError) as caught:
        long_design(path, "compcor")
    assert str(caught.value) == (
        f"the sidecar of its confounds table, {path.stem}.json, is missing; it is required for "
        "compcor, because it describes the components: copy it from fMRIPrep's output, or use "
        "another --denoise-strategy"
    )
    path = write(tmp_path, long_table(csf=np.nan))
    path.with_suffix(".json").unlink()
    with pytest.raises(RefusedRunError, match=r"table are motion\+high_pass, high_pass, none$"):
        long_design(path)


def test_inherited_sidecars_are_merged_and_the_most_specific_counts(tmp_path):
    path = write(tmp_path, long_table())
    whole = long_design(path, "compcor")
    described = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").unlink()
    wrong = {name: {"Mask": "WM"} for name in described}
    general, specific = tmp_path / "desc-confounds.json", tmp_path / "sub-01.json"
    general.write_text(json.dumps(wrong))
    specific.write_text(json.dumps(described))
    settings = Denoising(denoise_strategy="compcor")
    for sidecars in ((specific,), (general, specific)):
        design = build_nuisance_model(path, LONG, REPETITION_TIME_S, settings, sidecars=sidecars)
        np.testing.assert_array_equal(design.nuisance, whole.nuisance)
    with pytest.raises(RefusedRunError, match=r"confounds table, gone\.json cannot be read"):
        build_nuisance_model(
            path, LONG, REPETITION_TIME_S, settings, sidecars=(tmp_path / "gone.json",)
        )


# ---------------------------------------------------------------- why volumes are dropped
def test_each_dropped_volume_is_counted_once(tmp_path):
    table = long_table(non_steady_state_outlier00=[0.0, 0.0, 1.0, *[0.0] * (LONG - 3)])
    table.loc[[1, 2, 50, 60], "framewise_displacement"] = 5.0
    path = write(tmp_path, table)
    settings = Denoising(denoise_strategy="simple", fd_threshold=0.5, dummy_scans=2)
    design = build_nuisance_model(
        path, LONG, REPETITION_TIME_S, settings, also_dropped=(0, 50, 70, 71)
    )
    assert design.dropped == (
        ("dummy", 2),
        ("non-steady state", 1),
        ("displacement", 2),
        ("empty", 2),
    )
    assert set(range(LONG)) - set(design.kept) == {0, 1, 2, 50, 60, 70, 71}
    assert design.nuisance.shape[0] == len(design.kept) == len(design.motion)
    assert long_design(path).dropped == (("non-steady state", 1),)


def test_scrubbed_volumes_are_counted_by_what_scrubbed_them(tmp_path):
    table = long_table(non_steady_state_outlier00=[1.0, *[0.0] * (LONG - 1)])
    table.loc[[50, 60], "framewise_displacement"] = 0.6
    table.loc[[50, 54, 66], "std_dvars"] = 1.6
    path = write(tmp_path, table)
    # Between 50 and 54 are 3 volumes; between 54 and 60, and between 60 and 66, are 5.
    expected = {"non-steady state": 1, "displacement": 2, "DVARS": 2, "short segments": 3}
    design = long_design(path, "scrubbing")
    assert dict(design.dropped) == expected
    assert set(range(LONG)) - set(design.kept) == {0, 50, 51, 52, 53, 54, 60, 66}
    # The rules are those of nilearn's preset, whose defaults hold for other strategies with scrub.
    assert long_design(path, "motion+scrub").dropped == design.dropped
    longer = json.dumps({"strategy": ["motion", "scrub"], "scrub": 6, "std_dvars_threshold": 2})
    assert dict(long_design(path, longer).dropped) == {"non-steady state": 1, "displacement": 2}
    few = json.dumps({"strategy": ["motion", "scrub"], "scrub": 0, "fd_threshold": 0.7})
    assert dict(long_design(path, few).dropped) == {"non-steady state": 1, "DVARS": 3}
    # Without scrub in the strategy, DVARS and segments do not count.
    alone = long_design(path, "motion", fd_threshold=0.55).dropped
    assert dict(alone) == {"non-steady state": 1, "displacement": 2}


def test_empty_volumes_refuse_a_run_only_if_none_is_left(table_path):
    settings = Denoising(denoise_strategy="simple")
    design = build_nuisance_model(
        table_path, N_VOLUMES, REPETITION_TIME_S, settings, also_dropped=range(N_VOLUMES - 1)
    )
    assert design.kept.tolist() == [N_VOLUMES - 1]
    with pytest.raises(RefusedRunError, match="all of its 60 volumes were scrubbed or dropped"):
        build_nuisance_model(
            table_path, N_VOLUMES, REPETITION_TIME_S, settings, also_dropped=range(N_VOLUMES)
        )


# ---------------------------------------------------------------- what a review found
def test_a_negative_displacement_is_damage(tmp_path):
    path = write(tmp_path, long_table(framewise_displacement=-0.1))
    with pytest.raises(RefusedRunError, match="has a negative framewise_displacement"):
        long_design(path)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    path = write(tmp_path, long_table())
    lines = path.read_text().splitlines()
    lines = [f"{line}\t{'trans_x' if number == 0 else 0.5}" for number, line in enumerate(lines)]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RefusedRunError, match="has the column 'trans_x' twice"):
        long_design(path)


def test_cosines_that_do_not_fit_the_duration_are_noted(tmp_path):
    """A repetition time that is five times too long asks for many more cosines."""
    path = write(tmp_path, long_table())
    note = (
        "the number of cosine columns does not fit the duration of the run: check its repetition "
        "time"
    )
    assert note not in long_design(path).notes
    right = build_nuisance_model(path, len(long_table()), 20.0, Denoising())
    assert note in right.notes


def test_fewer_compcor_components_than_asked_for_are_noted(tmp_path):
    path = write(tmp_path, long_table())
    strategy = '{"strategy": ["high_pass", "compcor"], "n_compcor": %d}'
    assert long_design(path, strategy % 1).notes == ()
    assert long_design(path, strategy % 50).notes == (
        "the table has fewer CompCor components than n_compcor 50",
    )

"""The methods section: every setting that changes a number has its sentence, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from comparison_example import add_comparison, of_options

from nidecomp.annotation.thresholds import parse_rule, rule_in_words
from nidecomp.config.parse import settings_from_options
from nidecomp.config.science import Science
from nidecomp.outputs.report.citation import citation_files
from nidecomp.outputs.report.methods import methods_text
from nidecomp.outputs.report.methods_runs import dropped_volumes
from nidecomp.outputs.report.references import REFERENCES, Reference, with_citations
from nidecomp.outputs.report.results import read_results

Options = dict[str, Any]
INVENTORY = (
    "run", "status", "n_volumes", "n_volumes_kept", "dropped", "resampled", "n_nonfinite_voxels",
    "n_constant_voxels",
)  # fmt: skip
METRICS = ("component", "label_r", "csf_share", "high_frequency_share", "motion_r", "dominance")
RUNS = [
    ("sub-01_task-rest", "used", "100", "90", "dummy 4, displacement 6", "false", "0", "0"),
    ("sub-01_task-nback", "used", "100", "83", "displacement 1, DVARS 7, short segments 9",
     "true", "3", "0"),
    ("sub-02_task-rest", "used", "1000", "1000", "n/a", "true", "0", "12"),
    ("sub-03_task-rest", "refused", "n/a", "n/a", "n/a", "n/a", "n/a", "n/a"),
]  # fmt: skip


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(*rows: tuple[str, ...]) -> str:
    return "\n".join("\t".join(row) for row in rows) + "\n"


def make(root: Path, runs: list[tuple[str, ...]] | None = None, **options: Any) -> Path:
    """An output folder as an analysis with these options writes it, as far as the text needs it."""
    settings = settings_from_options(".", ".", "group", options)
    science = settings.science
    write(root / "logs" / "settings.toml", tomli_w.dumps(settings.as_tables()))
    write(root / "logs" / "inventory.tsv", table(INVENTORY, *(RUNS if runs is None else runs)))
    for method in science.decomposition.methods:
        for scale in science.decomposition.model_orders or (5,):
            add_decomposition(root, science, method, scale)
    if science.comparison.is_asked:
        add_comparison(root, of_options(science.comparison, ("one", "two", "three")))
    return root


def add_decomposition(root: Path, science: Science, method: str, scale: int) -> None:
    evidence = science.evidence
    entities = f"atlas-A_seg-{method}_scale-{scale}"
    stem = root / "tpl-T" / "func" / f"tpl-T_task-rest_{entities}"
    described: dict[str, Any] = {
        "Method": method,
        "NumberOfComponents": scale,
        "NumberOfRuns": 3,
        "NumberOfParticipants": 2,
        "NumberOfVoxels": 54321,
        "SoftwareVersions": {"nidecomp": "9.9", "nilearn": "0.14"},
        "Evidence": {"Splits": evidence.n_splits, "SplitVoxels": 20000, "Trace": 0.61},
    }
    if evidence.holdout:
        described["Evidence"] |= {"HeldOutParticipants": ["sub-08", "sub-09"]}
        described["Evidence"] |= {"ExplainedVarianceHoldout": 0.125}
    if science.decomposition.is_auto:
        described["OrderChoice"] = {"Reason": "Participants share 5 dimensions."}
    if science.projection.maps is None:
        write(Path(f"{stem}_decomposition.json"), json.dumps(described))
    write(Path(f"{stem}_components.nii.gz"), "")
    write(Path(f"{stem}_components.json"), json.dumps({"ComponentNames": ["one"]}))
    write(Path(f"{stem}_desc-thresholded_components.nii.gz"), "")
    write(Path(f"{stem}_desc-regions_probseg.json"), json.dumps({"Rule": "pieces of 5 mm^3"}))
    write(Path(f"{stem}_stat-tangent_relmat.tsv"), "")
    columns = dict.fromkeys(METRICS, "0.5") | {"component": "one"}
    if method == "canica":
        columns["restart_stability"] = "0.9"
    if evidence.n_bootstraps:
        columns["bootstrap_r"] = "0.8"
    if evidence.label_atlas:
        columns["atlas_label_r"] = "0.7"
    write(Path(f"{stem}_metrics.tsv"), table(tuple(columns), tuple(columns.values())))
    run = root / "sub-01" / "func"
    write(run / f"sub-01_task-rest_{entities}_timeseries.tsv", "one\n1\n")
    if science.projection.regress_out:
        how = "aggr" if science.projection.aggressive else "nonaggr"
        removed = {"RemovedComponents": {f"{method}04": "flag csf"}}
        write(run / f"sub-01_task-rest_desc-{method}{scale}{how}_bold.json", json.dumps(removed))


def text_of(root: Path) -> str:
    return methods_text(read_results(root))[0]


# ---------------------------------------------------------------- each setting
_RUNS = "chooses runs, which logs/inventory.tsv lists; the text has their number"
NO_SENTENCE = {
    "selection.participant_label": _RUNS,
    "selection.exclude_participant_label": _RUNS,
    "selection.session_label": _RUNS,
    "selection.task_id": _RUNS,
    "selection.run_id": _RUNS,
    "selection.bids_filter_file": _RUNS,
    "masking.surfaces_dir": "the sidecars of maps have the surfaces",
    "decomposition.atlas_label": "names files",
    "projection.connectomes": "the kinds that were written are named",
    "comparison.participants_file": "logs/sources.tsv has the table; the text has its variables",
    "comparison.model_file": "the text has the formula and the tests that it gives",
}
COMPARED: Options = {"model": "group + age + mean_fd"}
# Option to the value that is set, what the text then has, and what is set in any case.
SENTENCES: dict[str, tuple[Any, str, Options]] = {
    "selection.space": ("MNI152NLin6Asym", "in the space MNI152NLin6Asym", {}),
    "selection.res": ("2", "(res-2, desc-preproc)", {}),
    "selection.den": ("91k", "(den-91k, desc-preproc)", {}),
    "selection.desc_label": ("mine", "(desc-mine)", {}),
    "denoising.denoise_strategy": ("compcor", "all CompCor components", {}),
    "denoising.high_pass": (0.01, "frequencies below 0.01 Hz", {}),
    "denoising.low_pass": (0.1, "frequencies above 0.1 Hz", {}),
    "denoising.smoothing_fwhm": (8, "full width at half maximum: 8 mm)", {}),
    "denoising.dictlearning_smoothing_fwhm": (
        4,
        "maximum: 6 mm for CanICA and 4 mm for dictionary learning)",
        {},
    ),
    "denoising.fd_threshold": (0.3, "framewise displacement above 0.3 mm were dropped", {}),
    "denoising.min_volumes": (50, "Runs with fewer than 50 volumes left were excluded", {}),
    "denoising.mean_fd_cutoff": (
        0.4,
        "Runs with a mean framewise displacement above 0.4 mm were excluded",
        {},
    ),
    "denoising.dummy_scans": (4, "The first 4 volumes of each run were dropped", {}),
    "masking.mask": ("/somewhere/cortex.nii.gz", "54,321 voxels of the mask cortex.nii.gz", {}),
    "masking.mask_threshold": (0.8, "brain masks of at least 80 % of the participants", {}),
    "masking.structures": ("cortex", "54,321 voxels of the cortex that", {}),
    "decomposition.methods": (
        ("canica", "dictlearning"),
        "Dictionary learning (Mensch et al. 2016) started from these maps",
        {"methods": "canica"},
    ),
    "decomposition.n_components": ((5, 7), "leading 10 and 14 principal components", {}),
    "decomposition.max_components": (30, "of at most 30", {"n_components": "auto"}),
    "decomposition.pca_weighting": (
        "unit",
        "leading 20 principal components, one for each component of the decomposition",
        {},
    ),
    "decomposition.dataset_weights": (
        "equal",
        "so that every dataset had the same weight",
        {"datasets": {"T": "t"}},
    ),
    "decomposition.n_init": (3, "Of 3 random starts", {}),
    "decomposition.map_support": (0.2, "covers 20 % of the voxels", {}),
    "decomposition.alpha": (2.5, "the sparsity penalty was 2.5", {}),
    "decomposition.batch_size": (50, "in batches of 50 voxels", {}),
    "decomposition.n_epochs": (4, "at most 4 passes over the voxels", {}),
    "decomposition.subspace_dims": (250, "the leading 250 dimensions were kept", {}),
    "decomposition.random_seed": (7, "The random seed was 7.", {}),
    "evidence.n_splits": (3, "split into random halves 3 times", {}),
    "evidence.n_bootstraps": (9, "9 bootstrap samples of the participants", {}),
    "evidence.holdout": (0.25, "2 others (25 %), drawn at random, were held out", {}),
    "evidence.threshold": ("p:0.01", rule_in_words(parse_rule("p:0.01"), "voxels"), {}),
    "evidence.label_atlas": ("/x/mine.nii.gz", "the regions of mine.nii.gz", {}),
    "projection.maps": ("/x/yeo.nii.gz", "template maps (yeo.nii.gz)", {}),
    "projection.normalise_time_courses": (True, "They were scaled to unit variance.", {}),
    "projection.regress_out": (("csf",), "components selected as csf", {}),
    "projection.aggressive": (True, "(aggressive regression)", {"regress_out": "csf"}),
    "comparison.model": (
        "group + age + mean_fd",
        "26 participants were compared in the linear model group + age + mean_fd, with 22",
        {},
    ),
    "comparison.test": (("age",), "Tested was age (two-sided t test).", COMPARED),
    "comparison.blocks": ("site", "exchanged only within blocks of the same site.", COMPARED),
    "comparison.within": (
        "ses-post - ses-pre",
        "Of each participant, the difference ses-post - ses-pre was compared.",
        {},
    ),
    "comparison.compare": (
        ("amplitudes",),
        "What was compared were the amplitudes of components (the standard deviations of their",
        COMPARED,
    ),
    "comparison.compare_stat": ("z", "their maps of dual regression (z values)", COMPARED),
    "comparison.n_permutations": (200, "by 200 permutations of participants", COMPARED),
    "comparison.n_tfce_permutations": (100, "in the first 100 of these.", COMPARED),
    "comparison.cluster_threshold": (
        0.001,
        "Clusters of voxels, formed at an uncorrected p of 0.001, were also tested",
        COMPARED,
    ),
    "comparison.nbs_threshold": (
        0.01,
        "formed at an uncorrected p of 0.01, were tested by the number of their edges",
        COMPARED,
    ),
}


def test_every_option_that_changes_results_has_a_sentence_or_a_reason_to_have_none() -> None:
    options = {
        f"{section.name}.{option.name}"
        for section in dataclasses.fields(Science)
        for option in dataclasses.fields(getattr(Science(), section.name))
    }
    assert SENTENCES.keys() | NO_SENTENCE.keys() == options
    assert not SENTENCES.keys() & NO_SENTENCE.keys()


@pytest.mark.parametrize("name", SENTENCES)
def test_a_setting_is_told_where_it_is_set_and_nowhere_else(tmp_path: Path, name: str) -> None:
    value, sentence, always = SENTENCES[name]
    option = name.partition(".")[2]
    assert sentence in text_of(make(tmp_path / "with", **always | {option: value}))
    assert sentence not in text_of(make(tmp_path / "without", **always))


# ---------------------------------------------------------------- cleaning
@pytest.mark.parametrize(
    ("strategy", "parts"),
    [
        (
            "scrubbing",
            [
                "displacement above 0.5 mm or a standardised DVARS above 1.5 were dropped",
                "segments of fewer than 5 volumes between them (scrubbing) (Power et al. 2014)",
                "white matter and CSF, their derivatives and the squares of both",
            ],
        ),
        (
            {"strategy": ["motion", "scrub"], "motion": "derivatives", "scrub": 3},
            ["segments of fewer than 3 volumes", "the six motion parameters and their derivatives"],
        ),
        ("ica_aroma", ["denoised by ICA-AROMA, non-aggressively (Pruim et al. 2015)"]),
        (
            {"strategy": ["ica_aroma"], "ica_aroma": "basic"},
            ["(the motion components of ICA-AROMA (Pruim et al. 2015))"],
        ),
        (
            {"strategy": ["high_pass", "compcor"], "n_compcor": 6, "compcor": "temporal"},
            ["the first 6 CompCor components of the kind temporal (Behzadi et al. 2007)"],
        ),
        ("motion+global_signal", ["the global signal)", "confounds chosen with nilearn"]),
        ("simple", ["strategy simple (", "fMRIPrep's cosines, a high-pass filter at 1/128 Hz"]),
    ],
)
def test_a_strategy_is_told_by_its_parts(tmp_path: Path, strategy: Any, parts: list[str]) -> None:
    text = text_of(make(tmp_path, denoise_strategy=strategy))
    for part in parts:
        assert part in text


def test_a_threshold_of_displacement_is_that_of_the_strategy_that_scrubs(tmp_path: Path) -> None:
    text = text_of(make(tmp_path, denoise_strategy="scrubbing", fd_threshold=0.2))
    assert "displacement above 0.2 mm or a standardised DVARS above 1.5" in text


def test_volumes_are_counted_over_all_runs_that_were_used(tmp_path: Path) -> None:
    text = text_of(make(tmp_path))
    assert (
        "Of 1,200 volumes, 27 (2.25 %) were dropped: 4 as dummy scans, 7 for their displacement, "
        "7 for their DVARS and 9 in short segments; a volume with several reasons counts for the "
        "first of them." in text
    )
    calm = text_of(make(tmp_path / "calm", runs=[RUNS[2]]))
    assert "None of the 1,000 volumes was dropped." in calm


@pytest.mark.parametrize("cell", ["", "several", "empty", "x 1.5"])
def test_what_is_no_count_is_not_counted(cell: str) -> None:
    assert dropped_volumes(cell) == {}


def test_what_was_unusual_in_runs_is_told(tmp_path: Path) -> None:
    text = text_of(make(tmp_path))
    for part in (
        "3 runs of 2 participants", "1 further run could not be used",
        "2 runs on another voxel grid were resampled", "NiDecomp 9.9", "nilearn 0.14",
        "In 1 run, values that are not finite were set to 0.",
        "In 1 run, voxels without signal were set to 0.",
    ):  # fmt: skip
        assert part in text


# ---------------------------------------------------------------- what there is and is not
@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"smoothing_fwhm": 0}, "smoothed"),
        ({"denoise_strategy": "none"}, "confounds"),
        ({"n_splits": 0}, "halves"),
        ({}, "scrubbing"),
        ({}, "held out"),
        ({}, "chosen from the data"),
        ({}, "stage 2"),
        ({}, "regressed out of the preprocessed"),
        ({"maps": "yeo.nii.gz"}, "FastICA"),
        ({"maps": "yeo.nii.gz"}, "thresholded"),
    ],
)
def test_what_was_not_done_is_not_mentioned(tmp_path: Path, options: Options, absent: str) -> None:
    text = text_of(make(tmp_path, **options))
    assert text
    assert absent not in text


def test_evidence_is_told_with_its_numbers(tmp_path: Path) -> None:
    text = text_of(make(tmp_path, n_components=5, holdout=0.25, regress_out="csf"))
    for part in (
        "on 20,000 voxels evenly spaced in the mask",
        "at most the |r| of either match with the group's map",
        "0.61 for CanICA with 5 components and 0.61 for dictionary learning with 5 components",
        "12.5 % (CanICA with 5 components)", "Icasso (Himberg et al. 2004)",
        "for CanICA, pieces of 5 mm³; for dictionary learning, pieces of 5 mm³",
        "(canica04 and dictlearning04)", "every participant had the same weight",
    ):  # fmt: skip
        assert part in text


def test_that_no_component_was_selected_is_told(tmp_path: Path) -> None:
    root = make(tmp_path, regress_out="csf")
    sidecars = sorted(root.rglob("*aggr_bold.json"))
    sidecars[0].unlink()
    assert "(none of CanICA with 20 components and dictlearning04)" in text_of(root)
    sidecars[1].unlink()
    assert "No component was selected as csf, so that none was regressed out" in text_of(root)


def test_template_maps_are_told_with_their_method_where_there_are_several(tmp_path: Path) -> None:
    text = text_of(make(tmp_path, maps="/x/earlier"))
    assert "projected to 20 (CanICA) and 20 (dictionary learning) template maps (earlier)" in text


def test_maps_of_runs_and_of_participants_are_told_where_they_are_written(tmp_path: Path) -> None:
    root = make(tmp_path)
    func = root / "sub-01" / "ses-1" / "func"
    write(func / "sub-01_ses-1_task-rest_stat-z_components.json", "{}")
    text = text_of(root)
    assert "dual regression, stage 2" in text
    assert "(Worsley & Friston 1995)" in text
    assert "fixed effects" not in text
    write(func.parents[1] / "func" / "sub-01_stat-z_desc-fixedeffects_components.json", "{}")
    assert "combined as fixed effects" in text_of(root)


def test_a_folder_without_readable_settings_makes_no_claims(tmp_path: Path) -> None:
    root = make(tmp_path)
    for damaged in ("[denoising\n", "[other]\n", "[denoising]\nsmoothing_fwhm = -1\n"):
        write(root / "logs" / "settings.toml", damaged)
        text = text_of(root)
        assert "cannot be read" in text
        assert "regressed" not in text


# ---------------------------------------------------------------- several datasets
def with_dataset(root: Path, own: Options, **options: Any) -> Path:
    """Return an output folder of BIDS_DIR and of dataset T, which has options of its own."""
    make(root, **options, datasets={"T": {"path": "t", **own}})
    rows = [(*row, name) for row, name in zip(RUNS, ("preprocessed", "T", "T", "T"), strict=True)]
    write(root / "logs" / "inventory.tsv", table((*INVENTORY, "dataset"), *rows))
    return root


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"dummy_scans": 0}, "No volumes were dropped as dummy scans."),
        ({"dummy_scans": 1}, "The first volume of each run was dropped."),
        ({"denoise_strategy": "motion"}, "chosen with nilearn (the six motion parameters,"),
        ({"high_pass": "none"}, "From the series of each voxel, the mean, the linear trend and"),
        ({"low_pass": 0.1}, "frequencies below 0.01 Hz and above 0.1 Hz (discrete cosines)"),
        ({"denoise_strategy": "scrubbing", "fd_threshold": 0.2}, "displacement above 0.2 mm or"),
        ({"mean_fd_cutoff": 0.4}, "a mean framewise displacement above 0.4 mm were excluded."),
        ({"task_id": ["rest", "nback"]}, "The runs were those of the tasks nback and rest."),
        ({"session_label": ["1"]}, "The runs were those of the session 1."),
        ({"res": "2"}, "The images were those in the space MNI152NLin2009cAsym (res-2, desc-"),
    ],
)
def test_what_differs_for_a_dataset_is_told_in_words(
    tmp_path: Path, own: Options, said: str
) -> None:
    text = text_of(with_dataset(tmp_path, own, dummy_scans=3, high_pass=0.01))
    assert text.startswith("Unless said otherwise for a dataset below,")
    paragraphs = [one for one in text.split("\n\n") if one.startswith("Dataset T differs")]
    assert len(paragraphs) == 1
    assert said in paragraphs[0]
    assert not re.search(r"\w_\w", text)


def test_a_single_dataset_has_no_weight(tmp_path: Path) -> None:
    assert "every participant had the same weight" in text_of(
        make(tmp_path, dataset_weights="equal")
    )


def test_a_dataset_with_the_same_options_has_no_words_of_its_own(tmp_path: Path) -> None:
    same = with_dataset(tmp_path, {"dummy_scans": 3}, dummy_scans=3)
    assert "Unless" not in text_of(same)
    assert "differs" not in text_of(same)


# ---------------------------------------------------------------- references
def test_what_to_cite_is_there_in_three_forms_and_in_the_order_of_the_text(tmp_path: Path) -> None:
    files = citation_files(read_results(make(tmp_path, methods="canica", n_splits=0)))
    for name, mark in (("CITATION.md", "# References"), ("CITATION.html", "<h2>References")):
        assert mark in files[name]
        assert "doi:10.1016/j.neuroimage.2010.02.010" in files[name]
    entries = re.findall(r"^@\w+\{(\w+),$", files["CITATION.bib"], re.MULTILINE)
    assert entries[:4] == ["yarkoni2019", "nilearn", "lindquist2019", "varoquaux2010"]
    assert "mensch2016" not in entries
    assert files["CITATION.bib"].count("{") == files["CITATION.bib"].count("}")
    n_paragraphs = methods_text(read_results(tmp_path))[0].count("\n\n") + 1
    assert files["CITATION.html"].count("<p>") == n_paragraphs


def test_citations_become_authors_and_years_but_other_text_stays() -> None:
    text, cited = with_citations("One [@nickerson2017] two [@nilearn; @worsley1995] [@x] @nilearn")
    assert text == (
        "One (Nickerson et al. 2017) two (Nilearn contributors; Worsley & Friston 1995) [@x] "
        "@nilearn"
    )
    assert [one.key for one in cited] == ["nickerson2017", "nilearn", "worsley1995"]


def test_no_two_references_read_the_same_in_a_sentence() -> None:
    assert len({reference.short for reference in REFERENCES.values()}) == len(REFERENCES)


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=list(REFERENCES))
def test_a_reference_says_who_what_and_where(reference: Reference) -> None:
    for part in ("author", "title", "doi"):
        assert part in reference.fields
    for part in ("title", "doi", "year", "pages"):
        assert reference.fields.get(part, "") in reference.text
    assert not re.search(r"[{}]|\.\.|others", reference.text)


# ---------------------------------------------------------------- surfaces and grayordinates
@pytest.mark.parametrize(
    ("many", "smoothed", "chance"),
    [
        ("voxels", "mm).", "have the same power spectra"),
        (
            "vertices",
            "without values of the medial wall.",
            "were rotated on the sphere of the cortex",
        ),
        ("grayordinates", "medial wall, and within each structure below it.", "phases"),
    ],
)
def test_features_are_called_what_they_are(
    tmp_path: Path, many: str, smoothed: str, chance: str
) -> None:
    root = make(tmp_path)
    for path in root.rglob("*_decomposition.json"):
        text = path.read_text().replace("NumberOfVoxels", f"NumberOf{many.capitalize()}")
        path.write_text(text.replace('"Trace"', '"ReproducibilityChance": 0.4, "Trace"'))
    text = text_of(root)
    assert f"restricted to the 54,321 {many} that" in text
    assert smoothed in text
    assert chance in text
    assert f"{many} without signal were set to 0" in text
    assert ("medial wall" in text) == (many != "voxels")
    assert ("voxel" in text.replace("another voxel grid", "")) == (many == "voxels")


def test_a_surface_that_was_given_is_not_said_to_be_the_templates(tmp_path: Path) -> None:
    root = make(tmp_path, surfaces_dir="/x/surfaces")
    for path in root.rglob("*_decomposition.json"):
        path.write_text(path.read_text().replace("NumberOfVoxels", "NumberOfVertices"))
    assert "on the midthickness surface that was given" in text_of(root)
    assert "HCP Pipelines" not in text_of(root)

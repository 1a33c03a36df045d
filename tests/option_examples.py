"""Every option with what it may be given, and settings made of them, for tests of both."""

from __future__ import annotations

import json
import string

from hypothesis import settings as law
from hypothesis import strategies as st

from nidecomp.config.comparison import MEASURES
from nidecomp.config.parse import settings_from_options
from nidecomp.config.science import METHODS, STRUCTURES
from nidecomp.config.settings import Settings, declared_options
from nidecomp.config.values import STRATEGY_PARTS, STRATEGY_PRESETS

OPTIONS = [declared for _, declared in declared_options()]
NAMES = [declared.name for declared in OPTIONS]
SECTION = {declared.name: section for section, declared in declared_options()}
# What changes no byte of what is written: how the work is done, and how much is written.
NOT_SCIENCE = {name for name, section in SECTION.items() if section in {"execution", "extent"}}
PREFIXES = {
    "participant_label": "sub-",
    "exclude_participant_label": "sub-",
    "session_label": "ses-",
    "task_id": "task-",
    "run_id": "run-",
    "space": "space-",
    "res": "res-",
    "den": "den-",
    "desc_label": "desc-",
    "atlas_label": "atlas-",
}
LAW = law(deadline=None, max_examples=60, database=None)


def build(**options: object) -> Settings:
    return settings_from_options("in", "out", "group", options)


def value_of(settings: Settings, name: str) -> object:
    holder = settings if name in {*NOT_SCIENCE, "datasets"} else settings.science
    return getattr(getattr(holder, SECTION[name]), name)


# ---------------------------------------------------------------- strategies
labels = st.text(string.ascii_letters + string.digits + "+", min_size=1, max_size=8).filter(
    lambda text: text.strip("+") != ""
)
label_lists = st.lists(labels, max_size=3)
positive = st.floats(min_value=0, exclude_min=True, max_value=1e6)
whole = st.integers(min_value=1, max_value=2**40)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
json_strategies = st.fixed_dictionaries(
    {"strategy": st.lists(st.sampled_from(STRATEGY_PARTS), unique=True)},
    optional={"motion": st.sampled_from(["basic", "full"]), "n_compcor": st.integers() | texts},
)
wanted = st.none() | st.just("*") | labels | st.integers() | st.lists(st.none() | labels)
filters = st.dictionaries(
    st.sampled_from(["bold", "mask", "confounds"]),
    st.dictionaries(st.sampled_from(["run", "acquisition", "res"]), wanted),
)
strategies = st.one_of(
    st.sampled_from(["none", *STRATEGY_PRESETS]),
    st.lists(st.sampled_from(STRATEGY_PARTS), min_size=1, unique=True).map("+".join),
    json_strategies,
    json_strategies.map(json.dumps),
)
science_options = st.fixed_dictionaries(
    {},
    optional={
        "participant_label": label_lists,
        "session_label": label_lists,
        "task_id": label_lists,
        "run_id": label_lists,
        "space": labels,
        "res": labels,
        "den": labels,
        "desc_label": labels,
        "bids_filter_file": filters | filters.map(json.dumps),
        "denoise_strategy": strategies,
        "high_pass": positive,
        "smoothing_fwhm": positive | st.just(0),
        "dictlearning_smoothing_fwhm": positive | st.just(0) | st.none(),
        "fd_threshold": positive,
        "min_volumes": whole,
        "mean_fd_cutoff": positive,
        "dummy_scans": whole,
        "mask": texts,
        "mask_threshold": st.floats(min_value=0, exclude_min=True, max_value=1),
        "structures": st.sampled_from(STRUCTURES),
        "surfaces_dir": texts,
        "methods": st.lists(st.sampled_from(METHODS), min_size=1),
        "n_components": st.lists(st.integers(min_value=2, max_value=10**6), min_size=1)
        | st.sampled_from(["auto", ["auto"]]),
        "max_components": st.integers(min_value=2, max_value=10**6),
        "pca_weighting": st.sampled_from(["sqrt", "unit"]),
        "dataset_weights": st.sampled_from(["participants", "equal"]),
        "n_init": whole,
        "map_support": st.floats(min_value=0, exclude_min=True, max_value=1),
        "alpha": positive | st.none(),
        "batch_size": whole,
        "n_epochs": whole,
        "subspace_dims": whole | st.just(0),
        "random_seed": st.integers(0, 2**32 - 1),
        "atlas_label": labels,
        "n_splits": whole | st.just(0),
        "n_bootstraps": whole | st.just(0),
        "holdout": st.floats(min_value=0, max_value=0.9),
        "threshold": st.sampled_from(["p", "background:0.01", "isotropy", "ratio:2"]),
        "label_atlas": texts,
        "normalise_time_courses": st.booleans(),
        "connectomes": st.just(["none"])
        | st.lists(st.sampled_from(["correlation", "partial", "tangent"]), min_size=1),
        "maps": texts,
        "regress_out": st.lists(st.sampled_from(["flagged", "canica03", "Auditory"])),
        "aggressive": st.booleans(),
        "model": st.sampled_from(["group", "group + age", "1"]),
        "test": st.lists(st.sampled_from(["group", "a - b", "mean"])),
        "participants_file": texts,
        "model_file": texts,
        "blocks": texts,
        "within": st.sampled_from(["ses-post - ses-pre"]),
        "compare": st.lists(st.sampled_from(MEASURES), min_size=1),
        "compare_stat": st.sampled_from(["effect", "z"]),
        "n_permutations": st.integers(min_value=100, max_value=10**6),
        "n_tfce_permutations": whole | st.just(0),
        "cluster_threshold": st.floats(min_value=0, exclude_min=True, max_value=0.5),
        "nbs_threshold": st.floats(min_value=0, exclude_min=True, max_value=0.5),
    },
)

"""Every setting of a run: frozen, made once, each declared in one place with its help text.

`Science` holds what changes the outputs and goes into sidecars and keys; `Execution` what never
changes a byte of them. The command line, the TOML file and the Python function all take what is
declared below, and `read_options` makes settings of it: an option is added by adding a field.

Only the standard library is imported here, so that ``nidecomp --help`` answers at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from nidecomp.config import values as convert
from nidecomp.config.option import option

Method = Literal["canica", "dictlearning"]
METHODS: tuple[Method, ...] = ("canica", "dictlearning")
# In place of a number of components: as many as the data support.
AUTO: Literal["auto"] = "auto"
# nilearn's default.
DEFAULT_N_COMPONENTS = 20


@dataclass(frozen=True)
class Selection:
    """Which of the runs that are there take part."""

    participant_label: tuple[str, ...] = option(
        convert.label("sub-"), (), "Participants to use.", metavar="LABEL", many=True
    )
    exclude_participant_label: tuple[str, ...] = option(
        convert.label("sub-"), (), "Participants to leave out.", metavar="LABEL", many=True
    )
    session_label: tuple[str, ...] = option(
        convert.label("ses-"), (), "Sessions to use.", metavar="LABEL", many=True
    )
    task_id: tuple[str, ...] = option(
        convert.label("task-"),
        (),
        "Tasks to use; all of them are pooled.",
        metavar="LABEL",
        many=True,
    )
    run_id: tuple[str, ...] = option(
        convert.label("run-"), (), "Runs to use; 1 and 01 are the same.", metavar="INDEX", many=True
    )
    space: str = option(
        convert.label("space-", "tpl-"),
        "MNI152NLin2009cAsym",
        "The space of the images to use.",
        metavar="SPACE",
    )
    res: str | None = option(
        convert.label("res-"),
        None,
        "The res entity of the images to use; needed where there are several.",
        metavar="LABEL",
    )
    desc_label: str = option(
        convert.label("desc-"), "preproc", "The desc entity of the images to use.", metavar="LABEL"
    )
    bids_filter_file: str = option(
        convert.json_object,
        "{}",
        'JSON file with pybids entities under "bold", "mask" and "confounds"; null means "has '
        'none", "*" means "any".',
        metavar="FILE",
    )


@dataclass(frozen=True)
class Denoising:
    """What is done to a run's time series before anything is decomposed."""

    denoise_strategy: str = option(
        convert.strategy,
        "simple",
        "Confounds to regress out: none, a preset of nilearn's load_confounds_strategy (simple, "
        "scrubbing, compcor, ica_aroma), parts of load_confounds joined by + (motion+high_pass), "
        "or a .json file with load_confounds' arguments.",
        metavar="NAME",
    )
    high_pass: float | None = option(
        convert.number(0, above=True), None, "High-pass cut-off in Hz.", metavar="HZ"
    )
    low_pass: float | None = option(
        convert.number(0, above=True), None, "Low-pass cut-off in Hz.", metavar="HZ"
    )
    smoothing_fwhm: float = option(
        convert.number(0),
        6.0,
        "Full width at half maximum of spatial smoothing; 0: none.",
        metavar="MM",
    )
    dictlearning_smoothing_fwhm: float | None = option(
        convert.number(0),
        None,
        "Another smoothing for dictionary learning, from the same read of the data. (default: as "
        "--smoothing-fwhm)",
        metavar="MM",
    )
    fd_threshold: float | None = option(
        convert.number(0, above=True),
        None,
        "Drop volumes whose framewise displacement is above this, with any strategy. (The "
        "scrubbing preset alone uses nilearn's 0.5.)",
        metavar="MM",
    )
    min_volumes: int = option(
        convert.integer(1),
        1,
        "Refuse runs with fewer volumes left after scrubbing. (A run must in any case have more "
        "volumes than regressors by the number of components.)",
        metavar="N",
    )
    mean_fd_cutoff: float | None = option(
        convert.number(0, above=True),
        None,
        "Refuse runs whose mean framewise displacement is above this.",
        metavar="MM",
    )
    dummy_scans: int = option(
        convert.integer(0),
        0,
        "Volumes to drop at the start of each run, besides those that fMRIPrep flagged as "
        "non-steady-state.",
        metavar="N",
    )

    def smoothing_of(self, method: str) -> float:
        """Give the smoothing of the data that a method is fitted to, in mm."""
        if method == "dictlearning" and self.dictlearning_smoothing_fwhm is not None:
            return self.dictlearning_smoothing_fwhm
        return self.smoothing_fwhm


@dataclass(frozen=True)
class Masking:
    """Which voxels the decomposition sees."""

    mask: str | None = option(
        convert.path, None, "A brain mask to use in place of the group's own.", metavar="FILE"
    )
    mask_threshold: float = option(
        convert.number(0, 1, above=True),
        0.5,
        "Share of participants whose brain mask must hold a voxel for the group's to hold it.",
        metavar="SHARE",
    )


@dataclass(frozen=True)
class DecompositionOptions:
    """What is fitted."""

    methods: tuple[Method, ...] = option(
        convert.one_of(*METHODS),
        METHODS,
        "Methods to fit: canica, dictlearning.",
        metavar="M",
        many=True,
    )
    n_components: tuple[int | Literal["auto"], ...] = option(
        convert.integer_or(AUTO, 2),
        (DEFAULT_N_COMPONENTS,),
        "Number of components; several numbers give several decompositions side by side; auto: as "
        "many as halves of the participants find again.",
        metavar="K",
        many=True,
    )
    max_components: int = option(
        convert.integer(2),
        50,
        "The largest number that --n-components auto considers. Each run is reduced to as many "
        "rows.",
        metavar="K",
    )
    n_init: int = option(convert.integer(1), 10, "Restarts of the ICA.", metavar="N")
    map_support: float = option(
        convert.number(0, 1, above=True),
        0.15,
        "Share of the mask's voxels that a dictionary-learning map covers on average: the sparsity "
        "penalty is found for it, so that it means the same for any number of runs and volumes.",
        metavar="SHARE",
    )
    alpha: float | None = option(
        convert.number(0, above=True),
        None,
        "Sparsity penalty of dictionary learning in nilearn's units, in place of --map-support. "
        "(The data's norm grows with runs and volumes, and this does not.)",
        metavar="A",
    )
    batch_size: int = option(
        convert.integer(1), 100, "Voxels in one batch of dictionary learning.", metavar="N"
    )
    n_epochs: int = option(
        convert.integer(1),
        10,
        "Passes of dictionary learning over the voxels at most; it stops when it has settled.",
        metavar="N",
    )
    subspace_dims: int = option(
        convert.integer(0),
        0,
        "Dimensions of the group's subspace that are kept while runs stream by; 0: five for each "
        "component, at least 100. While there are no more rows than that nothing is lost.",
        metavar="N",
    )
    random_seed: int = option(
        convert.integer(0, 2**32 - 1), 0, "Seed of everything random.", metavar="N"
    )
    atlas_label: str = option(
        convert.label("atlas-"),
        "NiDecomp",
        "Label of your study in the names of the group's files (atlas-<label>).",
        metavar="LABEL",
    )

    @property
    def is_auto(self) -> bool:
        """Whether the number of components is yet to be chosen."""
        return AUTO in self.n_components

    @property
    def model_orders(self) -> tuple[int, ...]:
        """The numbers of components; none while they are yet to be chosen."""
        return tuple(order for order in self.n_components if order != AUTO)

    @property
    def largest_model_order(self) -> int:
        """The largest number of components that there may be: runs are reduced to as many rows."""
        return max(self.model_orders, default=self.max_components)

    @property
    def fewest_rows(self) -> int:
        """The number of rows that a run must have at least to be used."""
        # Where the number is to be chosen: a run that cannot hold the default number of components
        # is refused, as it is with that number.
        return max(self.model_orders, default=min(DEFAULT_N_COMPONENTS, self.max_components))

    def kept_dims(self, n_components: int) -> int:
        """Return how many dimensions of the group's subspace are kept at a number of components."""
        return max(self.subspace_dims or max(5 * n_components, 100), n_components)


@dataclass(frozen=True)
class EvidenceOptions:
    """How maps are judged; with ``--level minimal`` they are not."""

    n_splits: int = option(
        convert.integer(0),
        5,
        "Random halvings of the participants in which maps are fitted anew, to tell how "
        "reproducible each is; 0: none.",
        metavar="N",
    )
    n_bootstraps: int = option(
        convert.integer(0),
        0,
        "Groups drawn with replacement in which maps are fitted anew, too.",
        metavar="N",
    )
    holdout: float = option(
        convert.number(0, 0.9),
        0.0,
        "Share of the participants, drawn at random, that is left out of the fit to tell what the "
        "maps explain in them; 0: none.",
        metavar="SHARE",
    )
    threshold: str = option(
        convert.threshold,
        "fdr:0.05",
        "What is kept of each map where it is thresholded: fdr:Q or p:P against its own "
        "background, isotropy:P against the null of no special direction, or ratio:R, the "
        "strongest R × voxels / components values.",
        metavar="RULE",
    )
    label_atlas: str | None = option(
        convert.path,
        None,
        "An atlas to name components by, beside the networks that NiDecomp brings: a 4D image of "
        "maps or a 3D image of labels, with a .tsv of names beside it.",
        metavar="FILE",
    )


@dataclass(frozen=True)
class ProjectionOptions:
    """How maps are projected to each run, and what is taken out of it."""

    maps: str | None = option(
        convert.path,
        None,
        "Fit nothing, and project these maps to each run: an output folder of nidecomp, a 4D image "
        "of maps or a 3D image of labels, with a .tsv of names beside it. (participant: those of "
        "the participants named; a group run then gathers them.)",
        metavar="PATH",
    )
    normalise_time_courses: bool = option(
        convert.flag,
        False,
        "Give time courses unit variance before maps are fitted to them: the maps then hold how "
        "strongly a network fluctuates as well as its shape.",
    )
    regress_out: tuple[str, ...] = option(
        convert.word,
        (),
        "Write each run's image without these components: flagged (all that have a flag), a flag "
        "(motion, edge, csf, …), a network's or an atlas' label, or components by name (canica03).",
        metavar="WORD",
        many=True,
    )
    aggressive: bool = option(
        convert.flag,
        False,
        "With --regress-out, take out all that the components' time courses explain, not only what "
        "they explain beside all other components.",
    )


@dataclass(frozen=True)
class Science:
    """All that changes the outputs."""

    selection: Selection = field(default_factory=Selection)
    denoising: Denoising = field(default_factory=Denoising)
    masking: Masking = field(default_factory=Masking)
    decomposition: DecompositionOptions = field(default_factory=DecompositionOptions)
    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    projection: ProjectionOptions = field(default_factory=ProjectionOptions)

    @property
    def smoothings_fwhm(self) -> tuple[float, ...]:
        """The smoothings that runs are reduced at, in mm: the first is CanICA's.

        Dictionary learning starts from CanICA's maps, so that CanICA's is always among them.
        """
        methods = ("canica", *self.decomposition.methods)
        return tuple(dict.fromkeys(self.denoising.smoothing_of(method) for method in methods))

    def with_model_order(self, n_components: int) -> Science:
        """Give the same with one number of components, such as the one that was chosen."""
        return self._with(n_components=(n_components,))

    def with_largest_model_order(self, max_components: int) -> Science:
        """Give the same with another largest number of components to choose from."""
        return self._with(max_components=max_components)

    def _with(self, **changes: Any) -> Science:
        return replace(self, decomposition=replace(self.decomposition, **changes))


def science_as_tables(science: Science) -> dict[str, dict[str, object]]:
    """Give all that changes the outputs as plain tables, as TOML and JSON can hold them.

    Parameters
    ----------
    science : Science
        The settings.

    Returns
    -------
    dict of dict
        Section to option to value, tuples as lists; options that are not set are left out,
        because TOML knows no null.
    """
    return {
        section: {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in table.items()
            if value is not None
        }
        for section, table in asdict(science).items()
    }

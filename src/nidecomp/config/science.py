"""Options that change the outputs, each declared once with its default and help text.

`Science` collects these options and is recorded with the outputs; options that must not change the
outputs are in `Execution`. The command line, the TOML file and `nidecomp.decompose` all use these
declarations, so that an option is added by adding a field.

Only the standard library is imported here, to keep ``nidecomp --help`` fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from nidecomp.config import values as convert
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.option import option
from nidecomp.core.surface_files import is_surface_space

PcaWeighting = Literal["sqrt", "unit"]
DatasetWeights = Literal["participants", "equal"]
Method = Literal["canica", "dictlearning"]
METHODS: tuple[Method, ...] = ("canica", "dictlearning")
Structures = Literal["all", "cortex", "subcortex"]
STRUCTURES: tuple[Structures, ...] = ("all", "cortex", "subcortex")
Connectome = Literal["correlation", "partial", "tangent"]
CONNECTOMES: tuple[Connectome, ...] = ("correlation", "partial", "tangent")
# Used in place of a number of components, to choose the model order from the data.
AUTO: Literal["auto"] = "auto"
# Principal components of a run for each component, unless all have the same weight. Chosen in
# docs/decisions/0022-weighting.md.
_ROWS_OF_A_COMPONENT = 2
# What fMRIPrep calls its preprocessed volumes.
DEFAULT_DESC = "preproc"
# nilearn's default.
DEFAULT_N_COMPONENTS = 20


@dataclass(frozen=True)
class Selection:
    """Which runs to analyse."""

    participant_label: tuple[str, ...] = option(
        convert.label("sub-"),
        (),
        "Participants to use, with or without the sub- prefix.",
        metavar="LABEL",
        many=True,
    )
    exclude_participant_label: tuple[str, ...] = option(
        convert.label("sub-"), (), "Participants to exclude.", metavar="LABEL", many=True
    )
    session_label: tuple[str, ...] = option(
        convert.label("ses-"), (), "Sessions to use.", metavar="LABEL", many=True
    )
    task_id: tuple[str, ...] = option(
        convert.label("task-"),
        (),
        "Tasks to use; the runs of all tasks are pooled.",
        metavar="LABEL",
        many=True,
    )
    run_id: tuple[str, ...] = option(
        convert.label("run-"),
        (),
        "Run indices to use; 1 and 01 are the same.",
        metavar="INDEX",
        many=True,
    )
    space: str = option(
        convert.space_label,
        "MNI152NLin2009cAsym",
        "Space of the images to use (space entity): that of volumes, or that of grayordinates "
        "(fsLR) or surfaces (fsaverage5, fsaverage6, fsaverage).",
        metavar="SPACE",
    )
    res: str | None = option(
        convert.label("res-"),
        None,
        "Resolution of the images to use (res entity); required if there are several.",
        metavar="LABEL",
    )
    den: str | None = option(
        convert.label("den-"),
        None,
        "Density of the surfaces or grayordinates to use (den entity), such as 91k; required if "
        "there are several.",
        metavar="LABEL",
    )
    desc_label: str = option(
        convert.label("desc-"),
        DEFAULT_DESC,
        "Description of the images to use (desc entity). (fMRIPrep's surfaces and grayordinates "
        "have none, and the default does not apply to them.)",
        metavar="LABEL",
    )
    bids_filter_file: str = option(
        convert.json_object,
        "{}",
        'JSON file with pybids entity filters for "bold", "mask" and "confounds" files; null '
        'selects files without the entity, "*" accepts any value.',
        metavar="FILE",
    )

    @property
    def is_of_surfaces(self) -> bool:
        """Whether the space is that of surfaces or grayordinates."""
        return is_surface_space(self.space)

    def desc_in(self, space: object) -> str | None:
        """Return the description that images have in a space, None for any or none.

        fMRIPrep's surfaces and grayordinates have no description, so that the default would match
        nothing.
        """
        is_default = self.desc_label == DEFAULT_DESC
        no_desc = is_default and isinstance(space, str) and is_surface_space(space)
        return None if no_desc else self.desc_label


@dataclass(frozen=True)
class Denoising:
    """How the time series of each run are cleaned before the decomposition."""

    denoise_strategy: str = option(
        convert.strategy,
        "simple",
        "Confounds to regress out: none; a preset of nilearn's load_confounds_strategy (simple, "
        "scrubbing, compcor, ica_aroma); components of nilearn's load_confounds joined by + "
        "(motion+high_pass); or a .json file with arguments of load_confounds.",
        metavar="NAME",
    )
    high_pass: float | None = option(
        convert.number(0, above=True), None, "High-pass filter cutoff in Hz.", metavar="HZ"
    )
    low_pass: float | None = option(
        convert.number(0, above=True), None, "Low-pass filter cutoff in Hz.", metavar="HZ"
    )
    smoothing_fwhm: float = option(
        convert.number(0),
        6.0,
        "Full width at half maximum of the smoothing kernel in mm; 0: no smoothing.",
        metavar="MM",
    )
    dictlearning_smoothing_fwhm: float | None = option(
        convert.number(0),
        None,
        "Full width at half maximum in mm for dictionary learning, if it differs from CanICA's. "
        "(default: --smoothing-fwhm)",
        metavar="MM",
    )
    fd_threshold: float | None = option(
        convert.number(0, above=True),
        None,
        "Censor volumes with a framewise displacement above this value in mm, with any "
        "--denoise-strategy. (If not set, only the scrubbing preset censors volumes, at nilearn's "
        "default of 0.5 mm.)",
        metavar="MM",
    )
    min_volumes: int = option(
        convert.integer(1),
        1,
        "Exclude runs with fewer volumes than this after scrubbing. (In any case the number of "
        "volumes minus the number of regressors must be at least the number of components.)",
        metavar="N",
    )
    mean_fd_cutoff: float | None = option(
        convert.number(0, above=True),
        None,
        "Exclude runs with a mean framewise displacement above this value in mm.",
        metavar="MM",
    )
    dummy_scans: int = option(
        convert.integer(0),
        0,
        "Number of volumes to drop at the start of each run, in addition to those that fMRIPrep "
        "marked as non-steady-state.",
        metavar="N",
    )

    def smoothing_of(self, method: str) -> float:
        """Return the smoothing of the data that a method is fitted to, in mm."""
        if method == "dictlearning" and self.dictlearning_smoothing_fwhm is not None:
            return self.dictlearning_smoothing_fwhm
        return self.smoothing_fwhm


@dataclass(frozen=True)
class Masking:
    """Which voxels or vertices are included in the decomposition."""

    mask: str | None = option(
        convert.path,
        None,
        "Brain mask image to use instead of the group mask computed from the runs; for surfaces a "
        ".dlabel.nii or .dscalar.nii, or the left one of a pair of .label.gii or .func.gii.",
        metavar="FILE",
    )
    mask_threshold: float = option(
        convert.number(0, 1, above=True),
        0.5,
        "Fraction of participants whose brain mask must include a voxel for it to be in the group "
        "mask. (A vertex of a surface, or a grayordinate, must have signal in as many.)",
        metavar="SHARE",
    )
    # As below, the rule cannot see that the default is a string.
    structures: Structures = option(  # noqa: RUF009
        convert.one_of(*STRUCTURES),
        "all",
        "Structures of grayordinates to use: all, cortex (the surfaces alone), or subcortex (the "
        "voxels alone).",
        metavar="WHICH",
    )
    surfaces_dir: str | None = option(
        convert.path,
        None,
        "Folder with the surfaces of the template, to use instead of those included in NiDecomp: "
        "FreeSurfer's (<subject>/surf/lh.white, lh.pial, lh.sphere.reg) or GIFTI "
        "(*_hemi-L_*_midthickness.surf.gii).",
        metavar="FOLDER",
    )


@dataclass(frozen=True)
class DecompositionOptions:
    """Which decompositions are fitted, and how."""

    methods: tuple[Method, ...] = option(
        convert.one_of(*METHODS),
        METHODS,
        "Decomposition methods: canica, dictlearning.",
        metavar="M",
        many=True,
    )
    n_components: tuple[int | Literal["auto"], ...] = option(
        convert.integer_or(AUTO, 2),
        (DEFAULT_N_COMPONENTS,),
        "Number of components (model order). Several numbers give several decompositions; auto "
        "chooses the number of components that are reproducible between halves of the "
        "participants.",
        metavar="K",
        many=True,
    )
    max_components: int = option(
        convert.integer(2),
        50,
        "Largest number of components that --n-components auto considers. Each run is reduced to "
        "this number of principal components.",
        metavar="K",
    )
    # The rule warns of mutable defaults; it cannot see that the default is a string.
    pca_weighting: PcaWeighting = option(  # noqa: RUF009
        convert.one_of("sqrt", "unit"),
        "sqrt",
        "Weight of each run's principal components in the group. sqrt: the square root of their "
        "singular value, for the leading two per component of the decomposition. unit: all the "
        "same, one per component, as in nilearn's CanICA; dictionary learning then weights them by "
        "their singular value, as nilearn's does.",
        metavar="W",
    )
    # As above.
    dataset_weights: DatasetWeights = option(  # noqa: RUF009
        convert.one_of("participants", "equal"),
        "participants",
        "Weight of several datasets in the group (--datasets). participants: all participants "
        "have the same weight; equal: all datasets have the same weight, however many "
        "participants they have.",
        metavar="W",
    )
    n_init: int = option(
        convert.integer(1), 10, "Number of random initialisations of the ICA.", metavar="N"
    )
    map_support: float = option(
        convert.number(0, 1, above=True),
        0.15,
        "Average fraction of the mask's voxels that are nonzero in a dictionary-learning map. The "
        "sparsity penalty is chosen to reach it, independent of the number of runs and volumes.",
        metavar="SHARE",
    )
    alpha: float | None = option(
        convert.number(0, above=True),
        None,
        "Sparsity penalty of dictionary learning as in nilearn, instead of --map-support. (Its "
        "effect depends on the number of runs and volumes.)",
        metavar="A",
    )
    batch_size: int = option(
        convert.integer(1), 100, "Voxels per batch in dictionary learning.", metavar="N"
    )
    n_epochs: int = option(
        convert.integer(1),
        10,
        "Maximum number of passes of dictionary learning over the voxels; it stops earlier if it "
        "has converged.",
        metavar="N",
    )
    subspace_dims: int = option(
        convert.integer(0),
        0,
        "Dimensions of the group subspace to keep while runs are added one after another; 0: five "
        "per component, at least 100. The subspace is exact if the runs have no more principal "
        "components in total.",
        metavar="N",
    )
    random_seed: int = option(
        convert.integer(0, 2**32 - 1), 0, "Seed of the random number generator.", metavar="N"
    )
    atlas_label: str = option(
        convert.label("atlas-"),
        "NiDecomp",
        "Label of the study for the names of group-level files (atlas-<label>).",
        metavar="LABEL",
    )

    @property
    def is_auto(self) -> bool:
        """Whether the model order is to be chosen from the data."""
        return AUTO in self.n_components

    @property
    def model_orders(self) -> tuple[int, ...]:
        """The numbers of components; empty if the model order is to be chosen from the data."""
        return tuple(order for order in self.n_components if order != AUTO)

    @property
    def largest_model_order(self) -> int:
        """The largest possible number of components."""
        return max(self.model_orders, default=self.max_components)

    @property
    def fewest_rows(self) -> int:
        """The number of principal components that a run must have at least to be used."""
        # With --n-components auto, runs that are too short for the default number are refused.
        return max(self.model_orders, default=min(DEFAULT_N_COMPONENTS, self.max_components))

    def rows_of_run(self, n_components: int) -> int:
        """Return how many leading principal components of each run are used, if it has as many."""
        return n_components * (_ROWS_OF_A_COMPONENT if self.pca_weighting == "sqrt" else 1)

    @property
    def largest_rows(self) -> int:
        """The number of principal components that runs are reduced to, if they have as many."""
        return self.rows_of_run(self.largest_model_order)

    def kept_dims(self, n_components: int) -> int:
        """Return the number of dimensions of the group subspace for a number of components."""
        return max(self.subspace_dims or max(5 * n_components, 100), n_components)


@dataclass(frozen=True)
class EvidenceOptions:
    """How evidence about the maps is computed (with ``--level full`` only)."""

    n_splits: int = option(
        convert.integer(0),
        5,
        "Number of random split-halves of the participants in which the decomposition is repeated "
        "to measure the reproducibility of each map; 0: none.",
        metavar="N",
    )
    n_bootstraps: int = option(
        convert.integer(0),
        0,
        "Number of bootstrap samples of the participants in which the decomposition is repeated.",
        metavar="N",
    )
    holdout: float = option(
        convert.number(0, 0.9),
        0.0,
        "Fraction of the participants, drawn at random, that is left out of the fit to measure how "
        "much variance the maps explain in them; 0: none.",
        metavar="SHARE",
    )
    threshold: str = option(
        convert.threshold,
        "background:0.05",
        "How maps are thresholded: background:Q or p:P keep what stands out from the map's own "
        "background; isotropy:P what stands out from the null hypothesis of isotropic data; and "
        "ratio:R the strongest R × voxels / components values. These are rules for where to cut, "
        "not tests: maps of noise keep voxels, too. Dictionary maps keep all values that are not 0 "
        "(except with ratio).",
        metavar="RULE",
    )
    label_atlas: str | None = option(
        convert.path,
        None,
        "Atlas to label the components with, in addition to the networks included in NiDecomp: a "
        "4D image of maps or a 3D image of labels, with region names in a .tsv file next to it. On "
        "surfaces: a .dscalar.nii or .dlabel.nii file, or the left one of a pair of .label.gii, "
        ".func.gii or .shape.gii files, of any density of fs_LR or fsaverage.",
        metavar="FILE",
    )


@dataclass(frozen=True)
class ProjectionOptions:
    """How maps are projected to each run, and component regression."""

    maps: str | None = option(
        convert.path,
        None,
        "Template maps to project to each run, instead of fitting a decomposition: an output "
        "folder of NiDecomp, a 4D image of maps or a 3D image of labels, with names in a .tsv "
        "file next to it. (At the participant level, runs of the selected participants are "
        "projected; a group run then collects them.)",
        metavar="PATH",
    )
    normalise_time_courses: bool = option(
        convert.flag,
        False,
        "Normalise time courses to unit variance before dual regression stage 2. Maps then reflect "
        "the amplitude of a network's fluctuations as well as its shape.",
    )
    connectomes: tuple[Connectome, ...] = option(
        convert.one_of(*CONNECTOMES, "none"),
        ("correlation", "partial"),
        "Connectomes of the time courses to write for each run and the group: correlation "
        "(Pearson's), partial (partial correlation), tangent (deviation from the mean covariance); "
        "none: no connectomes.",
        metavar="KIND",
        many=True,
    )
    regress_out: tuple[str, ...] = option(
        convert.word,
        (),
        "Components to remove from the image of each run (component regression): flagged (all "
        "with a noise flag), a flag (motion, edge, csf, …), the label of a network or an atlas "
        "region, or component names (canica03).",
        metavar="WORD",
        many=True,
    )
    aggressive: bool = option(
        convert.flag,
        False,
        "With --regress-out, remove all variance explained by the components' time courses, "
        "including variance shared with other components.",
    )


@dataclass(frozen=True)
class Science:
    """All options that change the outputs."""

    selection: Selection = field(default_factory=Selection)
    denoising: Denoising = field(default_factory=Denoising)
    masking: Masking = field(default_factory=Masking)
    decomposition: DecompositionOptions = field(default_factory=DecompositionOptions)
    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    projection: ProjectionOptions = field(default_factory=ProjectionOptions)
    comparison: ComparisonOptions = field(default_factory=ComparisonOptions)

    @property
    def smoothings_fwhm(self) -> tuple[float, ...]:
        """The smoothing kernels (FWHM in mm) that runs are reduced with, CanICA's first.

        CanICA's is always included, because dictionary learning is initialised with CanICA's maps.
        """
        methods = ("canica", *self.decomposition.methods)
        return tuple(dict.fromkeys(self.denoising.smoothing_of(method) for method in methods))

    def with_model_order(self, n_components: int) -> Science:
        """Return a copy with a single number of components."""
        return self._with(n_components=(n_components,))

    def with_largest_model_order(self, max_components: int) -> Science:
        """Return a copy with another largest number of components."""
        return self._with(max_components=max_components)

    def _with(self, **changes: Any) -> Science:
        return replace(self, decomposition=replace(self.decomposition, **changes))


def science_as_tables(science: Science) -> dict[str, dict[str, object]]:
    """Return the options that change the outputs as plain tables, for TOML and JSON.

    Parameters
    ----------
    science : Science

    Returns
    -------
    dict of dict
        Section to option to value. Tuples become lists; options that are not set are left out,
        because TOML has no null.
    """
    tables = {section: as_plain(table.items()) for section, table in asdict(science).items()}
    # Volumes have no structures, so that it is a setting where something was chosen.
    if science.masking.structures == "all":
        del tables["masking"]["structures"]
    # As they were before participants could be compared.
    if science.comparison == ComparisonOptions():
        del tables["comparison"]
    return tables


def as_plain(options: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Return options as a plain table: without those that are not set, and lists for tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options
        if value is not None
    }

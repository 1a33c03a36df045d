"""Options for comparing participants, declared as those of `config.science`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nidecomp.config import values as convert
from nidecomp.config.option import option

Measure = Literal["maps", "amplitudes", "connectomes"]
MEASURES: tuple[Measure, ...] = ("amplitudes", "connectomes", "maps")
MapStatistic = Literal["effect", "z"]


@dataclass(frozen=True)
class ComparisonOptions:
    """How participants are compared after the decomposition (with ``--level full`` only)."""

    model: str | None = option(
        convert.word,
        None,
        "Compare participants in a linear model: a formula of columns of participants.tsv and of "
        "mean_fd, n_volumes and dataset, such as 'group + age + mean_fd'. It may have names, + : "
        "*, C() and scale().",
        metavar="FORMULA",
    )
    test: tuple[str, ...] = option(
        convert.word,
        (),
        "What to test in the model: a variable (group, age; a factor with more than two levels "
        "gives an F test), levels against each other ('patients - controls'), or mean (with "
        "--within: whether the difference is 0).",
        metavar="TEST",
        many=True,
        adds_up=True,
    )
    participants_file: str | None = option(
        convert.path,
        None,
        "Table (TSV) with the variables of the model and a column participant_id. (default: "
        "participants.tsv of the dataset, or of the raw dataset that it names)",
        metavar="FILE",
    )
    model_file: str | None = option(
        convert.path,
        None,
        "BIDS Stats Model (JSON) whose Dataset node gives the model and its contrasts, instead of "
        "--model and --test.",
        metavar="FILE",
    )
    blocks: str | None = option(
        convert.word,
        None,
        "Column of the participants' table, such as site: participants are permuted within its "
        "levels only.",
        metavar="COLUMN",
    )
    within: str | None = option(
        convert.word,
        None,
        "Compare the difference between two sessions, tasks or other sets of runs of each "
        "participant, such as 'ses-post - ses-pre'. Participants without both are left out.",
        metavar="DIFFERENCE",
    )
    compare: tuple[Measure, ...] = option(
        convert.one_of(*MEASURES),
        MEASURES,
        "What to compare: maps (of dual regression), amplitudes (standard deviations of time "
        "courses), connectomes (of --connectomes).",
        metavar="WHAT",
        many=True,
    )
    # The rule warns of mutable defaults; it cannot see that the default is a string.
    compare_stat: MapStatistic = option(  # noqa: RUF009
        convert.one_of("effect", "z"),
        "effect",
        "Which maps of dual regression to compare: effect (regression coefficients) or z.",
        metavar="STAT",
    )
    n_permutations: int = option(
        convert.integer(100),
        5000,
        "Number of permutations for voxels, amplitudes and edges. (All possible ones, where these "
        "are fewer.)",
        metavar="N",
    )
    n_tfce_permutations: int = option(
        convert.integer(0),
        500,
        "Number of permutations for threshold-free cluster enhancement (TFCE) and for clusters, "
        "whose small p values come from a fitted tail; 0: none.",
        metavar="N",
    )
    cluster_threshold: float | None = option(
        convert.number(0, 0.5, above=True),
        None,
        "Also test the extent of clusters, formed at this uncorrected p value.",
        metavar="P",
    )
    nbs_threshold: float | None = option(
        convert.number(0, 0.5, above=True),
        None,
        "Also test connected sets of edges (network-based statistic), formed at this uncorrected "
        "p value.",
        metavar="P",
    )

    @property
    def is_asked(self) -> bool:
        """Whether participants are to be compared."""
        return any(value is not None for value in (self.model, self.model_file, self.within))

    @property
    def statistic_of_maps(self) -> MapStatistic | None:
        """Which maps are compared; None where none are."""
        return self.compare_stat if self.is_asked and "maps" in self.compare else None

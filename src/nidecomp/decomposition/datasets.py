"""Evidence by dataset: what each contributes, and which maps are found without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.components import Components, DatasetEvidence

# A group that is much smaller than all participants finds less, whatever their datasets. At least
# two participants and this share have to be left. docs/decisions/0027-several-datasets.md
FEWEST_LEFT, LEAST_SHARE_LEFT = 2, 1 / 3


def dataset_of_participants(runs: Sequence[ReducedRun]) -> dict[str, str]:
    """Return the dataset of each participant, sorted by the participants' labels."""
    return dict(sorted({run.participant: run.key.dataset for run in runs}.items()))


def others_than_datasets(runs: Sequence[ReducedRun]) -> dict[str, tuple[str, ...]]:
    """Return, for each dataset of several, the participants of all others.

    Parameters
    ----------
    runs : sequence of ReducedRun

    Returns
    -------
    dict
        Name of a dataset to the sorted labels of the participants of the others. Datasets without
        which too few participants would be left are not in it.
    """
    datasets = dataset_of_participants(runs)
    others = {
        name: tuple(label for label, of_label in datasets.items() if of_label != name)
        for name in sorted(set(datasets.values()))
    }
    fewest = max(FEWEST_LEFT, LEAST_SHARE_LEFT * len(datasets))
    return {name: labels for name, labels in others.items() if len(labels) >= fewest}


def evidence_by_dataset(
    components: Components,
    runs: Sequence[ReducedRun],
    found_without: Mapping[str, NDArray[np.float64]],
) -> DatasetEvidence | None:
    """Return what each dataset contributes to the components, and which are found without it.

    Parameters
    ----------
    components : Components
        With what participants contribute.
    runs : sequence of ReducedRun
        The runs that they were fitted to.
    found_without : mapping
        Name of a dataset to |r| of each component with the matching map of a fit without it.

    Returns
    -------
    DatasetEvidence or None
        None where there is a single dataset.
    """
    datasets = dataset_of_participants(runs)
    names = tuple(sorted(set(datasets.values())))
    participants = components.participants
    if len(names) < 2 or participants is None:
        return None
    unknown = np.full(components.n_components, np.nan)
    own = [np.array([datasets[label] == name for label in participants.labels]) for name in names]
    return DatasetEvidence(
        names=names,
        n_participants=tuple(int(members.sum()) for members in own),
        explained_variance=np.array(
            [participants.explained_variance[members].mean(axis=0) for members in own]
        ),
        r_without=np.array([found_without.get(name, unknown) for name in names]),
    )

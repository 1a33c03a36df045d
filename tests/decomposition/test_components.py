"""All values of a component are reordered together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nidecomp.core.inventory import Inventory
from nidecomp.decomposition.components import (
    Components,
    DatasetEvidence,
    Evidence,
    HoldoutEvidence,
    ParticipantEvidence,
    SplitHalfEvidence,
)
from nidecomp.outputs.result import Outcome

# No other axis of the example has this length, so that it identifies the axis of components.
N = 7


def numbered(*shape: int) -> NDArray[np.float64]:
    """Return an array whose values are the number of the component that they belong to."""
    rows = np.broadcast_to(np.arange(shape[-1], dtype=float), shape)
    return rows.copy()


def example() -> Components:
    halves = SplitHalfEvidence(
        reproducibility=numbered(3, N),
        bootstrap=numbered(2, N),
        other_half_variance=numbered(6, N),
        total_variances=np.zeros((6, 2)),
        trace=np.zeros(3),
        overlap=np.zeros(3),
        n_voxels=11,
    )
    participants = ParticipantEvidence(
        ("01", "02"), numbered(2, N), high_frequency=numbered(N), motion_r=numbered(N)
    )
    holdout = HoldoutEvidence(("03",), numbered(N), 0.5)
    datasets = DatasetEvidence(("", "B"), (2, 1), numbered(2, N), numbered(2, N))
    return Components(
        method="canica",
        maps=np.repeat(np.arange(N, dtype=np.float32)[:, None], 11, axis=1),
        names=tuple(f"canica{number:02d}" for number in range(1, N + 1)),
        explained_variance=numbered(N),
        total_explained_variance=0.5,
        restart_index=numbered(N),
        participants=participants,
        evidence=Evidence(halves, holdout, datasets),
    )


def arrays_of(record: object, path: str = "") -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield every array of a record and of the records in it, with its name."""
    for one in fields(record):  # type: ignore[arg-type]
        value = getattr(record, one.name)
        if isinstance(value, np.ndarray):
            yield f"{path}{one.name}", value
        elif is_dataclass(value):
            yield from arrays_of(value, f"{path}{one.name}.")


@given(st.permutations(range(N)))
def test_every_array_with_an_axis_of_components_is_reordered(order: list[int]) -> None:
    """This fails for an array that is added to the records without its axis of components."""
    reordered = example().in_order(np.array(order))
    n_checked = 0
    for name, values in arrays_of(reordered):
        for axis in np.flatnonzero(np.array(values.shape) == N):
            along = np.moveaxis(values, axis, -1).reshape(-1, N)
            assert (along == np.array(order)).all(), name
            n_checked += 1
    assert n_checked == 12


def test_each_record_of_evidence_has_an_example_here() -> None:
    """Otherwise the test above would not cover a new record."""
    evidence = example().evidence
    assert evidence is not None
    assert all(getattr(evidence, one.name) is not None for one in fields(Evidence))


def test_names_stay_with_their_places() -> None:
    components = example()
    assert components.in_order(np.arange(N)[::-1]).names == components.names


@pytest.mark.parametrize("make", [example, lambda: Outcome(Inventory(), Path("out"), (example(),))])
def test_records_with_arrays_are_compared_and_hashed_as_objects(make) -> None:
    """Arrays have no truth value, so that a record is equal to itself only."""
    one, other = make(), make()
    assert one == one  # noqa: PLR0124  the comparison itself is tested
    assert one != other
    assert len({one, other, one}) == 2


def test_maps_at_or_below_their_chance_level_are_at_chance() -> None:
    components = example()
    assert components.evidence is not None
    halves = components.evidence.halves

    def at_chance(**changed: object) -> list[bool]:
        evidence = replace(components.evidence, halves=replace(halves, **changed))
        return replace(components, evidence=evidence).at_chance.tolist()

    assert at_chance(chance=2.0) == [True] * 3 + [False] * 4
    assert at_chance() == [False] * N, "the level is not known"
    assert at_chance(chance=2.0, reproducibility=np.zeros((0, N))) == [False] * N
    assert replace(components, evidence=None).at_chance.tolist() == [False] * N

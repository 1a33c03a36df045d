"""Write the tiny datasets whose table of participants has a trap for a comparison.

As in ``traits``, images have three blobs as networks; they are short, since the tables matter.
"""

from collections.abc import Mapping
from pathlib import Path

from layout import write_text
from simulate import rng_for
from traits import (
    GRID_AFFINE,
    GRID_SHAPE,
    Run,
    coarse_head,
    pick_displacement,
    record,
    rest_entities,
    write_runs,
)

N_VOLUMES = 20
# Enough for confounds to be removed: components that go with motion are flagged, and not compared.
N_VOLUMES_COMPARED = 70

Rows = Mapping[str, tuple[object, ...]]
"""Label of a participant to the values of the columns."""


def short_runs(dataset: str, n_participants: int, n_volumes: int = N_VOLUMES) -> list[Run]:
    """Make one short run of each participant."""
    head = coarse_head(GRID_SHAPE, GRID_AFFINE)
    runs: list[Run] = []
    for number in range(1, n_participants + 1):
        entities = rest_entities(f"{number:02d}")
        displacement_mm = pick_displacement(rng_for(dataset, entities["sub"]))[:n_volumes]
        runs.append((entities, record(dataset, entities, head, displacement_mm)))
    return runs


def write_participants_table(root: Path, columns: tuple[str, ...], rows: Rows) -> None:
    """Write ``participants.tsv``."""
    cells = [("participant_id", *columns), *((f"sub-{one}", *row) for one, row in rows.items())]
    write_text(root / "participants.tsv", "".join("\t".join(map(str, row)) + "\n" for row in cells))


def write_unmatched_people(root: Path) -> None:
    """Leave sub-02 out of the table and the age of sub-05 open; sub-09 has no images."""
    runs = short_runs("unmatched_people", 8, N_VOLUMES_COMPARED)
    write_runs(root, "People without a row or a value", runs)
    ages = {"01": 31, "03": 44, "04": 27, "05": "n/a", "06": 52, "07": 36, "08": 41, "09": 29}
    rows = {one: (("controls", "patients")[int(one) % 2], age) for one, age in ages.items()}
    write_participants_table(root, ("group", "age"), rows)


def write_small_level(root: Path) -> None:
    """Give the third group two people."""
    write_runs(root, "A group of two", short_runs("small_level", 8))
    groups = ("patients", "controls", "siblings") * 2 + ("patients", "controls")
    rows = {f"{number:02d}": (group,) for number, group in enumerate(groups, 1)}
    write_participants_table(root, ("group",), rows)


def write_collinear_columns(root: Path) -> None:
    """Give all patients the same dose, and all controls none."""
    write_runs(root, "A dose that follows from the group", short_runs("collinear_columns", 6))
    rows = {
        f"{number:02d}": (("patients", 10) if number % 2 else ("controls", 0))
        for number in range(1, 7)
    }
    write_participants_table(root, ("group", "dose_mg"), rows)

"""Write the test datasets: ``python bids_fixtures/generate.py [OUT_DIR] [--only NAME]``.

The same bytes come out each time. Files are overwritten but none is deleted: after a change of the
generator that renames files, delete the old folder first.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import field_traits
import surfaces
import table_traits
import traits
from demo import planted_networks, write_rest
from groups import write_groups

__all__ = ["DATASETS", "generate", "planted_networks"]

DATASETS: dict[str, Callable[[Path], None]] = {
    "rest": write_rest,
    "groups": write_groups,
    "several_tasks": traits.write_several_tasks,
    "no_res": traits.write_no_res,
    "entity_mix": traits.write_entity_mix,
    "other_grid": traits.write_other_grid,
    "far_affine": traits.write_far_affine,
    "missing_confounds": traits.write_missing_confounds,
    "missing_mask": traits.write_missing_mask,
    "too_short": traits.write_too_short,
    "nan_voxels": traits.write_nan_voxels,
    "all_scrubbed": traits.write_all_scrubbed,
    "truncated_gzip": traits.write_truncated_gzip,
    "tr_missing": traits.write_tr_missing,
    "tr_contradiction": traits.write_tr_contradiction,
    "non_steady_state": traits.write_non_steady_state,
    "old_regressors": traits.write_old_regressors,
    "raw_root": traits.write_raw_root,
    "sub-study": traits.write_sub_study,
    "missing_columns": traits.write_missing_columns,
    "many_tasks": field_traits.write_many_tasks,
    "own_space": field_traits.write_own_space,
    "absent_people": field_traits.write_absent_people,
    "cut_labels": field_traits.write_cut_labels,
    "spellings": field_traits.write_spellings,
    "legacy_layout": field_traits.write_legacy_layout,
    "fmriprep_1_0": field_traits.write_fmriprep_1_0,
    "xcpd": field_traits.write_xcpd,
    "not_fetched": field_traits.write_not_fetched,
    "no_cosines": field_traits.write_no_cosines,
    "motion_zeros": field_traits.write_motion_zeros,
    "empty_columns": field_traits.write_empty_columns,
    "displacement_of_dropped": field_traits.write_displacement_of_dropped,
    "tr_field": field_traits.write_tr_field,
    "tr_inherited": field_traits.write_tr_inherited,
    "soft_masks": field_traits.write_soft_masks,
    "empty_volumes": field_traits.write_empty_volumes,
    "unmatched_people": table_traits.write_unmatched_people,
    "small_level": table_traits.write_small_level,
    "collinear_columns": table_traits.write_collinear_columns,
    "surfaces": surfaces.write_surfaces,
    "surface_traits": surfaces.write_surface_traits,
    "grayordinate_traits": surfaces.write_grayordinate_traits,
}
"""Name of each dataset, and the function that writes it into a given folder."""


def generate(out: Path, names: Iterable[str] = tuple(DATASETS)) -> None:
    """Write datasets, each into the folder of its name below ``out``.

    Parameters
    ----------
    names : iterable of str
        Keys of ``DATASETS``; all by default.
    """
    for name in names:
        DATASETS[name](out / name)


def main() -> None:
    """Read the command line and write what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", choices=tuple(DATASETS), help="write this dataset alone")
    arguments = parser.parse_args()
    generate(arguments.out_dir, [arguments.only] if arguments.only else tuple(DATASETS))


if __name__ == "__main__":
    main()

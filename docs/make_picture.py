"""Draw the README's picture: every CanICA map of the demo at its peak.

usage: python docs/make_picture.py RESULTS PICTURE
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from nilearn import image, plotting

_COLUMNS = 5


def main(results: Path, picture: Path) -> None:
    """Draw the maps of `results` into the file `picture`."""
    found = results.glob("tpl-*/func/*_seg-canica_*_components.nii.gz")
    (maps,) = (path for path in found if "_desc-" not in path.name)
    table = maps.with_name(maps.name.split("_res-")[0] + "_metrics.tsv")
    with table.open(encoding="utf-8", newline="") as file:
        components = list(csv.DictReader(file, delimiter="\t"))
    n_rows = -(-len(components) // _COLUMNS)
    figure, axes = plt.subplots(
        n_rows, _COLUMNS, figsize=(2.3 * _COLUMNS, 2.5 * n_rows), facecolor="white"
    )
    for axis in axes.flat[len(components) :]:
        axis.axis("off")
    for component, axis in zip(components, axes.flat, strict=False):
        plotting.plot_stat_map(
            image.index_img(maps, int(component["index"])),
            display_mode="z",
            cut_coords=[float(component["peak_z"])],
            threshold=2.0,
            vmax=8.0,
            colorbar=False,
            annotate=True,
            draw_cross=False,
            axes=axis,
            title=None,
        )
        label = component["label"] if component["label"] != "n/a" else component["component"]
        axis.set_title(f"{label}  {float(component['reproducibility']):.2f}", fontsize=8)
    figure.suptitle(
        "CanICA on the demo's 8 simulated participants: each map at its peak, the network that it "
        "looks like, and |r| between halves of the participants",
        fontsize=10,
        y=0.96,
    )
    figure.savefig(picture, dpi=110, bbox_inches="tight")
    print(f"wrote {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

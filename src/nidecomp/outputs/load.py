"""Decompositions of an output folder, as users of nilearn expect them."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nidecomp.bids.entities import key_of_name, same_label
from nidecomp.bids.names import RUN_ENTITIES
from nidecomp.core.errors import UsageError
from nidecomp.core.records import RunKey
from nidecomp.core.text import count, quoted
from nidecomp.outputs.read import read_frame
from nidecomp.outputs.report.results import WrittenDecomposition, read_decompositions

if TYPE_CHECKING:
    import pandas as pd

# Entities of a run by both of their names: ses and session.
_SHORT_NAMES = {
    name: short for short, long in RUN_ENTITIES.items() for name in (short, long) if short != "sub"
}
_N_LISTED = 5


@dataclass(frozen=True, eq=False, repr=False)
class Decomposition:
    """One decomposition of an output folder: files are read when they are asked for.

    Parameters
    ----------
    folder : Path
        The output folder.
    method : str
        ``"canica"`` or ``"dictlearning"``; of template maps (``--maps``), what their names say.
    n_components : int
    names : tuple of str
        The names of the components, such as ``canica01``.
    maps_file : Path
        The signed maps: a 4D image with one volume for each component; a .dscalar.nii; or the left
        one of a pair of .func.gii files.
    metrics_file : Path
        The table of measures, which need not be there.
    time_course_files : mapping of RunKey to Path
        The table of time courses of each run.
    is_mni : bool
        Whether the maps are in MNI space.
    space : str
        What BIDS calls their space.
    """

    folder: Path
    method: str
    n_components: int
    names: tuple[str, ...]
    maps_file: Path
    metrics_file: Path
    time_course_files: Mapping[RunKey, Path]
    is_mni: bool
    space: str

    def __repr__(self) -> str:
        return (
            f"<Decomposition: {self._title}; time courses of "
            f"{count(len(self.time_course_files), 'run')}; in {self.folder}>"
        )

    @cached_property
    def maps_img(self) -> Any:
        """The signed maps: an image of nibabel, or of nilearn where they are a pair of GIFTI files.

        Of volumes and grayordinates, data are read when they are needed.
        """
        if self.maps_file.name.endswith(".gii"):
            return self._surface_image()
        # Tables alone do not need nilearn.
        if not self._is_volume:
            from nidecomp.spaces.cifti import dense_image  # noqa: PLC0415  as above

            return dense_image(self.maps_file)
        from nilearn.image import load_img  # noqa: PLC0415

        return load_img(self.maps_file)

    @property
    def surface_img(self) -> Any:
        """The signed maps on the cortex: a `nilearn.surface.SurfaceImage` of surfaces and CIFTI.

        The mesh is the midthickness surface that NiDecomp has of their space, also of results with
        ``--surfaces-dir``; data have one column for each component.
        """
        if self._is_volume:
            raise UsageError(f"{self.maps_file.name} is a volume: use maps_img.")
        return self._surface_image()

    def _surface_image(self, *, inflated: bool = False) -> Any:
        from nidecomp.outputs.surface_images import surface_image  # noqa: PLC0415  as above

        return surface_image(self.maps_file, self.space, inflated=inflated)

    @property
    def _is_volume(self) -> bool:
        return self.maps_file.name.endswith(".nii.gz")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The measures of each component: the table ``metrics.tsv``, which its JSON describes."""
        if not self.metrics_file.exists():
            raise UsageError(
                f"{self.folder} has no measures of the components of {self._title}: they are "
                "written with --level full, and not for template maps."
            )
        table = read_frame(self.metrics_file)
        self._check_size(self.metrics_file, len(table))
        return table

    @cached_property
    def labels(self) -> pd.DataFrame:
        """The name of each component, and the networks that it was labelled with, if any.

        The columns are ``component``, ``label`` (of NiDecomp's networks) and ``atlas_label`` (of
        ``--label-atlas``).
        """
        # `import nidecomp` must not wait for pandas.
        import pandas as pd  # noqa: PLC0415

        columns = ["component", "label", "atlas_label"]
        if self.metrics_file.exists():
            return self.metrics.reindex(columns=columns)
        return pd.DataFrame({"component": self.names}).reindex(columns=columns)

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the runs with time courses, such as ``sub-01_task-rest``."""
        return tuple(key.label for key in self.time_course_files)

    def plot(self, component: int | str | None = None, **options: Any) -> Any:
        """Plot one map with `nilearn.plotting.plot_stat_map`, or all with `plot_prob_atlas`.

        Maps of the cortex are plotted one at a time with `plot_surf_stat_map`, by default the left
        hemisphere (``hemi="right"``).

        Parameters
        ----------
        component : int or str, optional
            The index of the component, counted from 0, or its name. By default, the outlines of all
            maps are plotted, which maps of the cortex are not.
        **options
            For nilearn's function, such as ``threshold=2`` or ``output_file="map.png"``.

        Returns
        -------
        display
            What nilearn's function returns.
        """
        if not self._is_volume:
            return self._plot_cortex(component, options)
        # They import matplotlib, which takes long.
        from nilearn import image, plotting  # noqa: PLC0415

        # Outside MNI space, nilearn's anatomical background does not fit.
        background = {} if self.is_mni else {"bg_img": None}
        if component is None:
            outlines = {"title": self._title, "view_type": "contours"}
            options = {**outlines, **background, **options}
            return plotting.plot_prob_atlas(self.maps_img, **options)
        index = self._index_of(component)
        options = {"title": self._title_of(index), **background, **options}
        return plotting.plot_stat_map(image.index_img(self.maps_img, index), **options)

    def _plot_cortex(self, component: int | str | None, options: dict[str, Any]) -> Any:
        if component is None:
            raise UsageError("Maps of the cortex are plotted one at a time: give a component.")
        # As above.
        from nilearn import image, plotting  # noqa: PLC0415

        index = self._index_of(component)
        options = {"title": self._title_of(index), "hemi": "left", **options}
        one_map = image.index_img(self._surface_image(inflated=True), index)
        return plotting.plot_surf_stat_map(stat_map=one_map, **options)

    def time_courses(
        self,
        participant: str | int,
        *,
        session: str | int | None = None,
        task: str | None = None,
        run: str | int | None = None,
        **entities: str | int,
    ) -> pd.DataFrame:
        """Return the time courses of all components in one run.

        Parameters
        ----------
        participant : str or int
            The participant's label, with or without ``sub-``, or the name of a run (see `runs`).
        session, task, run : str or int, optional
            Labels of the run, where the participant has several.
        **entities
            Other entities of the run, by their BIDS names, such as ``acquisition="fast"`` or
            ``dir="AP"``.

        Returns
        -------
        pandas.DataFrame, shape (n_volumes, n_components)
            A row for each volume of the image: NaN if the volume was dropped.

        Raises
        ------
        UsageError
            No run matches, or several do.

        Examples
        --------
        >>> import nidecomp
        >>> canica, dictlearning = nidecomp.load_results("networks")
        >>> time_courses = canica.time_courses("01", task="rest")
        """
        wanted = _wanted(participant, session=session, task=task, run=run, **entities)
        keys = [key for key in self.time_course_files if _has(key, wanted)]
        if len(keys) != 1:
            asked = "_".join(f"{short}-{label}" for short, label in wanted.items())
            raise UsageError(self._several(asked, keys) if keys else self._none(asked, wanted))
        path = self.time_course_files[keys[0]]
        table = read_frame(path)
        self._check_size(path, table.shape[1])
        return table

    @property
    def _title(self) -> str:
        return f"{self.method}, {count(self.n_components, 'component')}"

    def _title_of(self, index: int) -> str:
        """Return the name of a component, with its label if it has one."""
        label = self.labels["label"][index]
        return f"{self.names[index]} {label}" if isinstance(label, str) else self.names[index]

    def _check_size(self, path: Path, n_described: int) -> None:
        """Raise where a table has another number of components than the maps."""
        if n_described != self.n_components:
            raise UsageError(
                f"{path} does not fit the {count(self.n_components, 'map')}: run nidecomp on that "
                "output folder again."
            )

    def _index_of(self, component: int | str) -> int:
        """Return the index of a component that was given by index or name."""
        if isinstance(component, str):
            if component in self.names:
                return self.names.index(component)
        else:
            index = operator.index(component)
            if -self.n_components <= index < self.n_components:
                return index % self.n_components
        raise UsageError(
            f"There is no component {component!r}: give an index from 0 to "
            f"{self.n_components - 1}, or a name from {self.names[0]} to {self.names[-1]}."
        )

    def _several(self, asked: str, keys: Sequence[RunKey]) -> str:
        differing = [
            long
            for short, long in RUN_ENTITIES.items()
            if len({key.get(short) for key in keys}) > 1
        ]
        return (
            f"{count(len(keys), 'run')} match {asked}: {_listed([key.label for key in keys])}. "
            f"Choose one by {' and '.join(differing)}, or by its name."
        )

    def _none(self, asked: str, wanted: Mapping[str, str]) -> str:
        if not self.time_course_files:
            return (
                f"{self.folder} has no time courses of {self._title}: they are written with "
                "--level full."
            )
        of_participant = [key for key in self.time_course_files if key.get("sub") == wanted["sub"]]
        names = [key.label for key in of_participant] or [
            f"sub-{label}" for label in sorted({key.participant for key in self.time_course_files})
        ]
        return f"No run of {self.folder} matches {asked}. There are: {_listed(names)}."


def load_results(output_dir: str | os.PathLike[str]) -> tuple[Decomposition, ...]:
    """Return the decompositions of an output folder.

    Parameters
    ----------
    output_dir : path or Outcome
        An output folder of a ``group`` run, or what `decompose` returned.

    Returns
    -------
    tuple of Decomposition
        Sorted by number of components, then by method.

    Raises
    ------
    UsageError
        There is no decomposition, or its maps are missing or damaged.

    Examples
    --------
    >>> import nidecomp
    >>> canica, dictlearning = nidecomp.load_results("networks")
    >>> maps_img = canica.maps_img
    """
    folder = Path(output_dir)
    found = read_decompositions(folder, missing=[])
    if not found:
        raise UsageError(
            f"{folder} has no decompositions: an output folder of a group run of nidecomp is "
            "needed."
        )
    return tuple(_as_decomposition(one, folder) for one in found)


def _as_decomposition(one: WrittenDecomposition, folder: Path) -> Decomposition:
    if one.maps is None or len(one.names) != one.scale:
        raise UsageError(
            f"The maps of {one.stem} or the names in the JSON beside them are missing or damaged: "
            "run nidecomp on that output folder again."
        )
    return Decomposition(
        folder=folder,
        method=one.method,
        n_components=one.scale,
        names=one.names,
        maps_file=one.maps,
        metrics_file=one.metrics_file,
        time_course_files={key_of_name(path): path for path in one.course_files()},
        is_mni=one.is_mni,
        space=one.space,
    )


def _wanted(participant: str | int, **entities: str | int | None) -> dict[str, str]:
    """Return the labels that a run must have, by the short names of their entities."""
    unknown = sorted(set(entities) - set(_SHORT_NAMES))
    if unknown:
        known = [long for long in RUN_ENTITIES.values() if long in _SHORT_NAMES]
        raise UsageError(f"{quoted(unknown[0])} is no entity of a run: use {', '.join(known)}.")
    name = str(participant)
    is_name = name.startswith("sub-")
    wanted = dict(key_of_name(Path(name)).entities) if is_name else {"sub": name}
    for name, label in entities.items():
        if label is not None:
            short = _SHORT_NAMES[name]
            wanted[short] = str(label).removeprefix(f"{short}-")
    return {short: wanted[short] for short in RUN_ENTITIES if short in wanted}


def _has(key: RunKey, wanted: Mapping[str, str]) -> bool:
    return all(same_label(short, key.get(short), label) for short, label in wanted.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_N_LISTED]) + (", …" if len(names) > _N_LISTED else "")

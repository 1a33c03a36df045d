"""What both estimators share: the group's subspaces, and time courses of components."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from nidecomp.config.science import DecompositionOptions, Method
from nidecomp.core.pca import PrincipalComponents, principal_components
from nidecomp.core.text import count, verb
from nidecomp.decomposition.array_input import (
    Runs,
    centred,
    check_finite,
    check_not_constant,
    check_parameters,
    name_of,
    split_runs,
)
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.explained import explained_variance
from nidecomp.decomposition.fit import fit_subspaces
from nidecomp.decomposition.gather import participant_weights, row_norms
from nidecomp.decomposition.participants import mean_over_runs
from nidecomp.decomposition.subspace import RowNorm, Subspace, SubspaceStream, weighted_rows

Array = NDArray[np.floating]


class GroupDecomposition(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Fits components to arrays; `estimators` has the two methods."""

    n_components: int
    n_init: int
    subspace_dims: int | None
    n_threads: int
    random_state: Any
    _method: Method

    @abstractmethod
    def _settings(self, seed: int) -> DecompositionOptions:
        """Return the settings of the fit."""

    def fit(
        self,
        X: Runs,
        y: object = None,  # noqa: ARG002  scikit-learn's signature
        groups: Sequence[object] | None = None,
    ) -> Self:
        """Fit the group's components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or a list of such
            One run or several, over the same features. Runs should be cleaned, and standardised if
            all features are to have the same weight. Each run is centred.
        y : None
            Not used.
        groups : sequence, optional
            The participant of each run. All runs of one participant together have the weight of
            one run. By default, each run is from another participant.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            A run is no array, but for example an image.
        ValueError
            A parameter has a value that it cannot have; a run has NaN or infinite values, is
            constant, or has fewer dimensions than components; runs have different features.
        """
        check_parameters(self.get_params(deep=False))
        runs = self._runs_to_fit(X)
        n_features = runs[0].shape[1]
        if self.n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} must be between 1 and n_features={n_features}."
            )
        if groups is not None and len(groups) != len(runs):
            raise ValueError(
                f"groups has {count(len(groups), 'label')}, X has {count(len(runs), 'run')}: each "
                "run needs one."
            )
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        names = [str(group) for group in (range(len(runs)) if groups is None else groups)]
        # BLAS gets one thread: sums that it splits between threads depend on how many there are.
        with threadpool_limits(limits=1):
            self._keep(self._fit(runs, names, self._settings(seed)))
        return self

    def _fit(
        self, runs: list[NDArray[np.float32]], names: list[str], settings: DecompositionOptions
    ) -> Components:
        n_rows = settings.rows_of_run(self.n_components)
        reduced = [self._reduced(run, index, n_rows) for index, run in enumerate(runs)]
        of_ica, of_method = row_norms(settings)
        subspaces = {
            row_norm: self._subspace(reduced, names, row_norm, settings)
            for row_norm in dict.fromkeys((of_ica, of_method))
        }
        (components,) = fit_subspaces(
            subspaces[of_ica],
            {self._method: subspaces[of_method]},
            self.n_components,
            settings,
            self.n_threads,
        )
        return _with_explained_variance(components, reduced, names)

    def _subspace(
        self,
        reduced: Sequence[PrincipalComponents],
        names: Sequence[str],
        row_norm: RowNorm,
        settings: DecompositionOptions,
    ) -> Subspace:
        weights = participant_weights(names, [one.squared for one in reduced], row_norm)
        n_dims, n_features = settings.kept_dims(self.n_components), reduced[0].rows.shape[1]
        stream = SubspaceStream(n_features, n_dims, self.n_threads)
        for one, weight in zip(reduced, weights, strict=True):
            stream.add(weighted_rows(one.rows, weight, row_norm))
        return stream.finish()

    def _reduced(self, run: NDArray[np.float32], index: int, n_rows: int) -> PrincipalComponents:
        """Return the leading dimensions of one run, and its variance."""
        rows = centred(run).astype(np.float32, copy=False)
        gram = rows.astype(np.float64) @ rows.T.astype(np.float64)
        leading = principal_components(rows, gram, min(n_rows, len(run)))
        squared = leading.squared
        rank = int(np.count_nonzero(squared > 1e-6 * max(squared[0], np.finfo(np.float32).tiny)))
        if rank < self.n_components:
            raise ValueError(
                f"Run {index} (n_samples={len(run)}) has {count(rank, 'dimension')}, fewer than "
                f"n_components={self.n_components}."
            )
        return leading.first(rank)

    def _keep(self, components: Components) -> None:
        self.components_ = components.maps
        self.explained_variance_ratio_ = components.explained_variance
        self.total_explained_variance_ratio_ = components.total_explained_variance
        self.fit_report_ = dict(components.fit)
        self.converged_ = bool(components.fit["Converged"])

    def transform(self, X: Runs) -> Array | list[Array]:
        """Return the components' time courses: their least-squares fit to each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or a list of such
            One run or several. They are not centred.

        Returns
        -------
        ndarray, shape (n_samples, n_components), or a list of such
            In the precision of the samples; a list for a list.
        """
        check_is_fitted(self)
        runs, is_list = self._runs_to_compare(X)
        if is_list and self._output != "default":
            raise ValueError(
                f"With set_output(transform={self._output!r}), transform takes one run at a time: "
                "use [estimator.transform(run) for run in X]."
            )
        maps = self.components_.astype(np.float64)
        weights = np.linalg.pinv(maps @ maps.T, hermitian=True)
        courses = [np.asarray((run @ maps.T) @ weights, dtype=run.dtype) for run in runs]
        return courses if is_list else courses[0]

    def inverse_transform(self, X: Runs) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return the samples that the components reconstruct from time courses.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components), or a list of such
            Time courses, as `transform` returns them.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_features), or a list of such
        """
        check_is_fitted(self)
        given, is_list = split_runs(X, type(self).__name__)
        courses = [check_array(one, dtype=np.float32, input_name="X") for one in given]
        for index, one in enumerate(courses):
            if one.shape[1] != len(self.components_):
                raise ValueError(
                    f"{name_of(index, is_list=is_list)} has {count(one.shape[1], 'column')}, but "
                    f"there {verb(len(self.components_), 'is', 'are')} "
                    f"{count(len(self.components_), 'component')}: each has one time course."
                )
        samples = [one @ self.components_ for one in courses]
        return samples if is_list else samples[0]

    def score(self, X: Runs, y: object = None) -> float:  # noqa: ARG002  scikit-learn's signature
        """Return the share of the runs' variance that all components explain together.

        The higher, the better: `GridSearchCV` and `cross_val_score` use it. In runs that were
        fitted it grows with the number of components; compare numbers of components in other runs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or a list of such
            One run or several. Each is centred.
        y : None
            Not used.

        Returns
        -------
        float
            The explained variance ratio of a least-squares regression of each sample on the
            components, from 0 to 1: mean over runs.
        """
        check_is_fitted(self)
        runs, is_list = self._runs_to_compare(X, n_samples=2)
        shares = []
        for index, run in enumerate(runs):
            check_not_constant(run, name_of(index, is_list=is_list))
            rows = centred(run)
            total = float(np.sum(np.square(rows, dtype=np.float64)))
            shares.append(explained_variance(self.components_, rows, total).together)
        return float(np.mean(shares))

    # ---------------------------------------------------------------- checks
    def _runs_to_fit(self, X: Runs) -> list[NDArray[np.float32]]:
        given, is_list = split_runs(X, type(self).__name__)
        runs: list[NDArray[np.float32]] = []
        for index, one in enumerate(given):
            # The first run sets the number of features, which the others are checked against.
            name, is_first = name_of(index, is_list=is_list), index == 0
            if not is_first and np.shape(one)[1:] != runs[0].shape[1:]:
                raise ValueError(
                    f"{name} has shape {np.shape(one)}, run 0 has {runs[0].shape}: all runs need "
                    "the same features, such as the voxels of one mask."
                )
            checks = {"reset": is_first, "ensure_min_samples": 2, "ensure_min_features": 2}
            runs.append(self._checked(one, name, dtype=np.float32, **checks))
            check_not_constant(runs[-1], name)
        return runs

    def _runs_to_compare(self, X: Runs, n_samples: int = 1) -> tuple[list[Array], bool]:
        """Return runs over the features that were fitted, and whether they were in a list."""
        given, is_list = split_runs(X, type(self).__name__)
        checks = {"reset": False, "ensure_min_samples": n_samples}
        precisions = [np.float64, np.float32]
        return [
            self._checked(one, name_of(index, is_list=is_list), dtype=precisions, **checks)
            for index, one in enumerate(given)
        ], is_list

    def _checked(self, run: object, name: str, **checks: Any) -> Any:
        """Return a run as an array of numbers; an error names the run."""
        try:
            # Numbers too large for the precision become infinite, and are found below.
            with np.errstate(over="ignore"):
                array = validate_data(self, run, ensure_all_finite=False, **checks)
        except ValueError as error:
            # scikit-learn's own messages name X.
            raise (error if name == "X" else ValueError(f"{name}: {error}")) from None
        check_finite(array, name)
        return array

    @property
    def _output(self) -> str:
        """What kind of table `transform` returns, as `set_output` or scikit-learn's config says."""
        own = getattr(self, "_sklearn_output_config", {}).get("transform")
        return str(own or get_config()["transform_output"])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)


def _with_explained_variance(
    components: Components, reduced: Sequence[PrincipalComponents], names: Sequence[str]
) -> Components:
    """Return components with the variance that they explain in the runs, sorted by it."""
    found = [explained_variance(components.maps, one.rows, one.total_variance) for one in reduced]
    alone = mean_over_runs([one.alone for one in found], names).mean(axis=0)
    together = mean_over_runs([np.array(one.together) for one in found], names).mean()
    return replace(
        components, explained_variance=alone, total_explained_variance=float(together)
    ).in_order(np.argsort(-alone, kind="stable"))

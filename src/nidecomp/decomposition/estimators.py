"""Group CanICA and dictionary learning on arrays, as scikit-learn estimators.

Features can be anything that is the same in all runs: voxels, vertices, grayordinates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from nidecomp.config.science import DecompositionOptions, Method, PcaWeighting
from nidecomp.core.pca import PrincipalComponents, principal_components
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.explained import explained_variance
from nidecomp.decomposition.fit import fit_subspaces
from nidecomp.decomposition.gather import participant_weights, row_norms
from nidecomp.decomposition.participants import mean_over_runs
from nidecomp.decomposition.subspace import RowNorm, Subspace, SubspaceStream, weighted_rows

Runs = ArrayLike | Sequence[ArrayLike]


class _GroupDecomposition(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The common part of both estimators: the group's subspaces, and time courses of components."""

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
        ValueError
            A run has fewer dimensions than components, there are fewer features, or
            `pca_weighting` is not one of its two values.
        """
        runs = self._checked_runs(X)
        n_features = runs[0].shape[1]
        if self.n_components < 1 or self.n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} must be between 1 and n_features={n_features}."
            )
        if self.pca_weighting not in get_args(PcaWeighting):
            choices = " or ".join(map(repr, get_args(PcaWeighting)))
            raise ValueError(f"pca_weighting={self.pca_weighting!r} must be {choices}.")
        if groups is not None and len(groups) != len(runs):
            raise ValueError(
                f"groups has {len(groups)} labels, X has {len(runs)} runs: each run needs one."
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
        centred = run - run.mean(axis=0)
        gram = centred.astype(np.float64) @ centred.T.astype(np.float64)
        leading = principal_components(centred, gram, min(n_rows, len(run)))
        squared = leading.squared
        rank = int(np.count_nonzero(squared > 1e-6 * max(squared[0], np.finfo(np.float32).tiny)))
        if rank < self.n_components:
            raise ValueError(
                f"Run {index} (n_samples={len(run)}) has {rank} dimensions, fewer than "
                f"n_components={self.n_components}."
            )
        return leading.first(rank)

    def _keep(self, components: Components) -> None:
        self.components_ = components.maps
        self.explained_variance_ratio_ = components.explained_variance
        self.total_explained_variance_ratio_ = components.total_explained_variance
        self.fit_report_ = dict(components.fit)
        self.converged_ = bool(components.fit["Converged"])

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return the components' time courses: their least-squares fit to each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_components)
            In the precision of the samples.
        """
        check_is_fitted(self)
        samples = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        maps = self.components_.astype(np.float64)
        weights = np.linalg.pinv(maps @ maps.T, hermitian=True)
        return np.asarray((samples @ maps.T) @ weights, dtype=samples.dtype)

    def inverse_transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the samples that the components reconstruct from time courses.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Time courses, as `transform` returns them.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_features)
        """
        check_is_fitted(self)
        return np.asarray(X, dtype=np.float32) @ self.components_

    def _checked_runs(self, X: Runs) -> list[NDArray[np.float32]]:
        arrays: list[ArrayLike] = [cast(ArrayLike, X)]
        if isinstance(X, list | tuple) and len(X) > 0 and np.ndim(X[0]) == 2:
            arrays = list(X)
        runs = []
        for index, array in enumerate(arrays):
            # The first run sets the number of features, which the others are checked against.
            runs.append(
                validate_data(
                    self,
                    array,
                    dtype=np.float32,
                    reset=index == 0,
                    ensure_min_samples=2,
                    ensure_min_features=2,
                )
            )
        return runs

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


class CanICA(_GroupDecomposition):
    """Group ICA in the subspace that participants share (CanICA).

    Varoquaux et al. (2010), A group model for stable multi-subject ICA on fMRI datasets, NeuroImage
    51:288, doi:10.1016/j.neuroimage.2010.02.010.

    Parameters
    ----------
    n_components : int
        The number of components.
    n_init : int
        The number of restarts of the ICA. The result is that of the restart whose components are
        sparsest (by the sum of their L1 norms), among those that converge.
    pca_weighting : {"sqrt", "unit"}
        The weight of each run's principal components: the square root of their singular value, for
        the leading two for each component; or all the same, one for each component, as in nilearn.
    subspace_dims : int, optional
        The number of dimensions of the group's subspace that are kept while runs are added; by
        default five for each component, at least 100.
    n_threads : int
        The number of threads. The result does not depend on it.
    random_state : int, RandomState or None
        The seed of the restarts.

    Attributes
    ----------
    components_ : ndarray of float32, shape (n_components, n_features)
        The components, sorted by explained variance. Each has a root mean square of 1, and its
        value of largest magnitude is positive.
    explained_variance_ratio_ : ndarray, shape (n_components,)
        The share of the runs' variance that each component explains alone in the principal
        components that were used of them, mean over participants.
    total_explained_variance_ratio_ : float
        The share that all components explain together.
    converged_ : bool
        Whether the chosen restart converged.
    fit_report_ : dict
        Details of the fit: restarts, subspaces.
    n_features_in_ : int
        The number of features of the runs.

    Examples
    --------
    >>> import numpy as np
    >>> from nidecomp import CanICA
    >>> rng = np.random.default_rng(0)
    >>> sources = rng.laplace(size=(3, 500))
    >>> runs = [rng.normal(size=(40, 3)) @ sources for _ in range(4)]
    >>> CanICA(n_components=3).fit(runs).components_.shape
    (3, 500)
    """

    _method: Method = "canica"

    def __init__(
        self,
        n_components: int = 20,
        *,
        n_init: int = 10,
        pca_weighting: PcaWeighting = "sqrt",
        subspace_dims: int | None = None,
        n_threads: int = 1,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.n_init = n_init
        self.pca_weighting = pca_weighting
        self.subspace_dims = subspace_dims
        self.n_threads = n_threads
        self.random_state = random_state

    def _settings(self, seed: int) -> DecompositionOptions:
        return DecompositionOptions(
            methods=(self._method,),
            n_components=(self.n_components,),
            n_init=self.n_init,
            pca_weighting=self.pca_weighting,
            subspace_dims=self.subspace_dims or 0,
            random_seed=seed,
        )


class DictLearning(_GroupDecomposition):
    """Sparse group maps by online dictionary learning, starting from those of CanICA.

    Mensch et al. (2016), Compressed online dictionary learning for fast resting-state fMRI
    decomposition, ISBI, doi:10.1109/ISBI.2016.7493501.

    Parameters
    ----------
    n_components : int
        The number of components.
    map_support : float
        The share of the features that a component covers on average. The sparsity penalty is chosen
        to give this share.
    alpha : float, optional
        The sparsity penalty in nilearn's units. It replaces `map_support`.
    batch_size : int
        The number of features in one batch.
    n_epochs : int
        The largest number of passes over the features.
    n_init : int
        The number of restarts of the ICA that learning starts from.
    pca_weighting : {"sqrt", "unit"}
        The weight of each run's principal components: the square root of their singular value, for
        the leading two for each component; or, as in nilearn, one for each component, all the same
        for the ICA and weighted by the singular value for learning.
    subspace_dims : int, optional
        The number of dimensions of the group's subspace that are kept while runs are added; by
        default five for each component, at least 100.
    n_threads : int
        The number of threads. The result does not depend on it.
    random_state : int, RandomState or None
        The seed of the restarts and of the order of features.

    Attributes
    ----------
    components_ : ndarray of float32, shape (n_components, n_features)
        The sparse components, sorted by explained variance. Each has a root mean square of 1, and
        its value of largest magnitude is positive. Empty components are 0 everywhere; `fit_report_`
        has their number.
    explained_variance_ratio_ : ndarray, shape (n_components,)
        The share of the runs' variance that each component explains alone in the principal
        components that were used of them, mean over participants.
    total_explained_variance_ratio_ : float
        The share that all components explain together.
    converged_ : bool
        Whether the dictionary settled.
    fit_report_ : dict
        Details of the fit: penalty, support, batches, the ICA that learning started from.
    n_features_in_ : int
        The number of features of the runs.
    """

    _method: Method = "dictlearning"

    def __init__(  # noqa: PLR0913  scikit-learn's convention: one argument for each parameter
        self,
        n_components: int = 20,
        *,
        map_support: float = DecompositionOptions.map_support,
        alpha: float | None = None,
        batch_size: int = DecompositionOptions.batch_size,
        n_epochs: int = DecompositionOptions.n_epochs,
        n_init: int = 10,
        pca_weighting: PcaWeighting = "sqrt",
        subspace_dims: int | None = None,
        n_threads: int = 1,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.map_support = map_support
        self.alpha = alpha
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.n_init = n_init
        self.pca_weighting = pca_weighting
        self.subspace_dims = subspace_dims
        self.n_threads = n_threads
        self.random_state = random_state

    def _settings(self, seed: int) -> DecompositionOptions:
        return DecompositionOptions(
            methods=(self._method,),
            n_components=(self.n_components,),
            map_support=self.map_support,
            alpha=self.alpha,
            batch_size=self.batch_size,
            n_epochs=self.n_epochs,
            n_init=self.n_init,
            pca_weighting=self.pca_weighting,
            subspace_dims=self.subspace_dims or 0,
            random_seed=seed,
        )

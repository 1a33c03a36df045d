"""Group CanICA and dictionary learning on arrays, as scikit-learn estimators.

Features can be anything that is the same in all runs: voxels, vertices, grayordinates.
"""

from __future__ import annotations

from typing import Any

from nidecomp.config.science import DecompositionOptions, Method, PcaWeighting
from nidecomp.decomposition.group_estimator import GroupDecomposition


class CanICA(GroupDecomposition):
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


class DictLearning(GroupDecomposition):
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

"""What a user of nilearn would write: CanICA and dictionary learning, straight from the files.

``nilearn_script.py DATA OUT``, with DATA the folder that fMRIPrep wrote.
"""

import argparse
from pathlib import Path

import numpy as np
from nilearn.decomposition import CanICA, DictLearning
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.masking import intersect_masks
from sklearn.decomposition import _fastica

SPACE = "space-MNI152NLin2009cAsym"
AT_LEAST_HALF = 0.5 - 1e-6
"""nilearn keeps voxels above its threshold, NiDecomp those at or above it."""


def mend_whitening() -> None:
    """Let scikit-learn's FastICA keep directions whose singular vector begins with 0.

    Its whitening multiplies each singular vector by the sign of its first entry; where that is
    exactly 0, as it can be for the orthonormal rows of a group's subspace, the direction is lost,
    and the iteration on what is left does not converge.
    """

    class Numpy:
        def __getattr__(self, name: str) -> object:
            return getattr(np, name)

        @staticmethod
        def sign(values: np.ndarray) -> np.ndarray:
            return np.where(values < 0, -1.0, 1.0)

    _fastica.np = Numpy()


def main() -> None:
    """Read the command line, fit both estimators and save their maps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--participant-label", nargs="+", default=["*"])
    parser.add_argument("--n-components", type=int, default=20)
    parser.add_argument("--n-init", type=int, default=10)
    parser.add_argument("--alpha", type=float, default=10)
    parser.add_argument("--smoothing-fwhm", type=float, default=6)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument(
        "--mend-whitening",
        action="store_true",
        help="mend what makes its ICA lose directions (in this process alone: one job)",
    )
    arguments = parser.parse_args()
    if arguments.mend_whitening:
        arguments.n_jobs = 1
        mend_whitening()

    images, masks = [], []
    for label in arguments.participant_label:
        images += sorted(
            arguments.data.glob(f"sub-{label}/**/*_{SPACE}_*_desc-preproc_bold.nii.gz")
        )
        masks += sorted(arguments.data.glob(f"sub-{label}/**/*_{SPACE}_*_desc-brain_mask.nii.gz"))
    files = [str(image) for image in images]
    confounds, _ = load_confounds_strategy(files, denoise_strategy="simple")
    # One run gives a table, several give a list of them.
    confounds = confounds if isinstance(confounds, list) else [confounds]
    mask = intersect_masks([str(path) for path in masks], threshold=AT_LEAST_HALF, connected=False)
    same = {
        "n_components": arguments.n_components,
        "mask": mask,
        "smoothing_fwhm": arguments.smoothing_fwhm,
        "standardize": "zscore_sample",
        "detrend": True,
        "random_state": 0,
        "n_jobs": arguments.n_jobs,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    mask.to_filename(arguments.out / "mask.nii.gz")
    canica = CanICA(n_init=arguments.n_init, threshold=None, **same)
    canica.fit(files, confounds=confounds)
    canica.components_img_.to_filename(arguments.out / "canica.nii.gz")
    dictlearning = DictLearning(alpha=arguments.alpha, batch_size=20, **same)
    dictlearning.fit(files, confounds=confounds)
    dictlearning.components_img_.to_filename(arguments.out / "dictlearning.nii.gz")


if __name__ == "__main__":
    main()

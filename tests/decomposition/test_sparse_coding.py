"""Sparse codes: optimality conditions, agreement with scikit-learn, threads, unsolved voxels."""

import numpy as np
import pytest
from sklearn.decomposition import sparse_encode

from nidecomp.decomposition.sparse_coding import encode, lasso


def problem(n_voxels=300, n_rows=30, n_atoms=8, seed=0):
    """Return noisy samples of a few atoms, and a dictionary of correlated atoms."""
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n_atoms, n_rows)) + 0.7 * rng.standard_normal(n_rows)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = rng.standard_normal((n_voxels, n_atoms)) * (rng.random((n_voxels, n_atoms)) < 0.3)
    samples = codes @ atoms + 0.05 * rng.standard_normal((n_voxels, n_rows))
    return samples.astype(np.float32), atoms


# More atoms than rows: their Gram matrix is singular.
@pytest.mark.parametrize(("n_atoms", "alpha"), [(1, 0.05), (8, 0.05), (30, 0.05), (45, 0.5)])
def test_codes_satisfy_the_lassos_conditions(n_atoms, alpha):
    """|residual · atom| is alpha, with the sign of the code, or at most alpha if the code is 0."""
    samples, atoms = problem(n_atoms=n_atoms)
    gram = atoms @ atoms.T
    for products in samples.astype(float) @ atoms.T:
        code, slopes = np.empty(n_atoms), np.empty(n_atoms)
        assert lasso(gram, products, alpha, code, slopes)
        residual = products - gram @ code
        close = 1e-7 * np.abs(products).max()
        np.testing.assert_allclose(slopes, residual, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            residual[code != 0], alpha * np.sign(code[code != 0]), rtol=0, atol=close
        )
        assert np.abs(residual).max() <= alpha + close


def test_codes_are_scikit_learns():
    samples, atoms = problem()
    maps, n_unfinished = encode(samples, atoms, 0.2)
    theirs = sparse_encode(
        samples.astype(float), atoms, algorithm="lasso_cd", alpha=0.2, max_iter=10_000
    )
    assert n_unfinished == 0
    np.testing.assert_allclose(maps.T, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())


def test_codes_without_a_penalty_are_least_squares():
    samples, atoms = problem()
    expected = np.linalg.lstsq(atoms.T, samples.T.astype(float), rcond=None)[0]
    np.testing.assert_allclose(encode(samples, atoms, 0.0)[0], expected, rtol=0, atol=1e-5)


def test_codes_are_empty_if_the_penalty_exceeds_every_inner_product():
    samples, atoms = problem()
    strongest = np.abs(samples @ atoms.T).max()
    assert not encode(samples, atoms, 1.001 * strongest)[0].any()
    assert np.count_nonzero(encode(samples, atoms, 0.999 * strongest)[0]) == 1


def test_empty_voxels_and_empty_atoms_have_no_code():
    samples, atoms = problem()
    samples[3] = 0.0
    atoms[2] = 0.0
    maps, n_unfinished = encode(samples, atoms, 0.1)
    assert n_unfinished == 0
    assert not maps[:, 3].any()
    assert not maps[2].any()


def test_voxels_that_are_not_solved_are_counted():
    """Without a penalty, two nearly equal atoms need more sweeps than are allowed."""
    atoms = np.array([[1.0, 0.0], [1.0, 0.04]])
    samples = np.array([[0.0, 1.0], [0.0, 0.0], [3.0, -2.0]], dtype=np.float32)
    assert encode(samples, atoms, 0.0)[1] == 2


def test_codes_do_not_depend_on_the_number_of_threads():
    samples, atoms = problem(n_voxels=9000)
    one, several = encode(samples, atoms, 0.2, 1), encode(samples, atoms, 0.2, 3)
    assert one[0].tobytes() == several[0].tobytes()

"""Maps of simulated participants: what they share, and what is each one's own."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BRAIN_INTENSITY = 1000.0

DEFORMATION_MM = 3.0
"""Standard deviation, along each axis, of the shift of a participant's networks."""


@dataclass(frozen=True)
class Strength:
    """Temporal standard deviations where a map is at its strongest, in intensity units.

    The mean image is about 1000, hence 10 is 1 % signal change.
    """

    network: float
    nuisance: float
    motion: float
    physiology: float
    drift: float
    noise: float


@dataclass(frozen=True)
class Head:
    """The anatomy and the maps that all participants of a dataset share.

    Attributes
    ----------
    mask : boolean array of shape (x, y, z)
    affine : array of shape (4, 4), voxel to mm (RAS+)
    networks : array of shape (x, y, z, n_networks), planted maps with maximum 1
    nuisance : array of shape (x, y, z, n_nuisance), maps with maximum 1
    """

    mask: BoolArray
    affine: FloatArray
    networks: FloatArray
    nuisance: FloatArray


@dataclass(frozen=True)
class Participant:
    """One participant's own anatomy and maps; every session of the participant has the same.

    Attributes
    ----------
    mask : boolean array of shape (x, y, z)
    has_signal : boolean array of shape (x, y, z), the mask and a little more
    affine : array of shape (4, 4), voxel to mm (RAS+)
    anatomy : array of shape (x, y, z), mean image
    sources : array of shape (x, y, z, n_networks + n_nuisance), weighted, intensity units
    motion : array of shape (x, y, z, 24), one map a motion regressor, intensity units
    physiology : array of shape (x, y, z, 2), csf and white matter, intensity units
    """

    mask: BoolArray
    has_signal: BoolArray
    affine: FloatArray
    anatomy: FloatArray
    sources: FloatArray
    motion: FloatArray
    physiology: FloatArray


def voxel_coordinates_mm(shape: tuple[int, ...], affine: FloatArray) -> FloatArray:
    """Centres of all voxels.

    Returns
    -------
    array of shape (x, y, z, 3), mm (RAS+)
    """
    voxels = np.moveaxis(np.indices(shape), 0, -1).astype(np.float64)
    return np.asarray(voxels @ affine[:3, :3].T + affine[:3, 3], dtype=np.float64)


def sampled(volumes: FloatArray, affine: FloatArray, points_mm: FloatArray) -> FloatArray:
    """Values of volumes at places between their voxels, by linear interpolation.

    Parameters
    ----------
    volumes : array of shape (x, y, z, n)
    affine : array of shape (4, 4), voxel to mm (RAS+)
    points_mm : array of shape (..., 3)

    Returns
    -------
    array of shape (..., n), 0 outside of the volumes
    """
    to_voxels = np.linalg.inv(affine)
    voxels = np.moveaxis(points_mm @ to_voxels[:3, :3].T + to_voxels[:3, 3], -1, 0)
    at = [ndimage.map_coordinates(volume, voxels, order=1) for volume in np.moveaxis(volumes, 3, 0)]
    return np.stack(at, axis=-1)


def voxel_size_mm(affine: FloatArray) -> float:
    """Edge of a voxel of an isotropic grid."""
    return float(np.linalg.norm(affine[:3, 0]))


def smooth_field(
    shape: tuple[int, ...], sigma_voxels: float, rng: np.random.Generator
) -> FloatArray:
    """Gaussian random field with mean 0 and standard deviation 1, smooth over the three axes."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma_voxels, mode="wrap")
    # On a small grid the mean of a smooth field may be far larger than its variation.
    field = field - field.mean()
    return np.asarray(field / field.std(), dtype=np.float64)


def brain_profile(mask: BoolArray, affine: FloatArray) -> FloatArray:
    """Share of brain around each voxel: 1 deep inside, about a half at the edge.

    Returns
    -------
    array of shape (x, y, z)
    """
    sigma_voxels = 8.0 / voxel_size_mm(affine)
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float64), sigma_voxels))


def motion_patterns(profile: FloatArray, affine: FloatArray) -> FloatArray:
    """Change of the image for a small translation along, and rotation about, each axis.

    Parameters
    ----------
    profile : array of shape (x, y, z)

    Returns
    -------
    array of shape (x, y, z, 6), root mean square 1
    """
    gradient = np.stack([np.gradient(profile, axis=axis) for axis in range(3)], axis=-1)
    position = voxel_coordinates_mm(profile.shape, affine)
    position = position - position.mean(axis=(0, 1, 2))
    # A rotation about an axis moves each point by the cross product of axis and position.
    moves = [np.broadcast_to(axis, position.shape) for axis in np.eye(3)]
    moves += [np.cross(axis, position) for axis in np.eye(3)]
    patterns = np.stack([np.sum(gradient * move, axis=-1) for move in moves], axis=-1)
    return np.asarray(patterns / np.sqrt(np.mean(patterns**2, axis=(0, 1, 2))), dtype=np.float64)


def motion_maps(head: Head, profile: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Artefact map of each of the 24 motion regressors of a participant.

    A mixture of what motion does to the edges of the image, the same in all participants, and of
    a smooth field of the participant's own, for effects such as spin history and field changes.

    Returns
    -------
    array of shape (x, y, z, 24), root mean square about 1 in the brain
    """
    edges = np.repeat(motion_patterns(profile, head.affine), 4, axis=-1)
    sigma_voxels = 20.0 / voxel_size_mm(head.affine)
    fields = [smooth_field(head.mask.shape, sigma_voxels, rng) for _ in range(24)]
    return 0.6 * edges + 0.8 * np.stack(fields, axis=-1)


def physiology_maps(mask: BoolArray, affine: FloatArray) -> FloatArray:
    """Where pulsation (around the ventricles) and respiration (whole brain) are seen.

    Returns
    -------
    array of shape (x, y, z, 2), maximum 1; csf and white matter
    """
    position = voxel_coordinates_mm(mask.shape, affine)
    ventricles_mm = np.array([0.0, -20.0, 12.0])
    distance_mm = np.linalg.norm(position - ventricles_mm, axis=-1)
    csf = np.exp(-0.5 * (distance_mm / 25.0) ** 2)
    depth = ndimage.gaussian_filter(mask.astype(np.float64), 16.0 / voxel_size_mm(affine))
    return np.stack([csf, depth / depth.max()], axis=-1)


def deform(
    maps: FloatArray, shift_voxels: float, sigma_voxels: float, rng: np.random.Generator
) -> FloatArray:
    """Move maps by one smooth displacement field, up to about twice the given size.

    Parameters
    ----------
    maps : array of shape (x, y, z, n)
    shift_voxels : float
        Standard deviation of the displacement along each axis.
    sigma_voxels : float
        Smoothness of the displacement.
    """
    shape = maps.shape[:3]
    shifts = [shift_voxels * smooth_field(shape, sigma_voxels, rng) for _ in range(3)]
    points = np.indices(shape) + np.stack(shifts)
    moved = [ndimage.map_coordinates(volume, points, order=1) for volume in np.moveaxis(maps, 3, 0)]
    return np.stack(moved, axis=-1)


def own_networks(head: Head, rng: np.random.Generator) -> FloatArray:
    """Participant's version of the shared networks: displaced, reweighted, locally modulated.

    Returns
    -------
    array of shape (x, y, z, n_networks)
    """
    voxel_mm = voxel_size_mm(head.affine)
    networks = deform(head.networks, DEFORMATION_MM / voxel_mm, 32.0 / voxel_mm, rng)
    n_networks = networks.shape[3]
    weights = rng.uniform(0.75, 1.25, n_networks)
    fields = [smooth_field(head.mask.shape, 16.0 / voxel_mm, rng) for _ in range(n_networks)]
    modulation = 1 + 0.25 * np.stack(fields, axis=-1)
    return np.asarray(weights * modulation * networks, dtype=np.float64)


def own_nuisance(head: Head, rng: np.random.Generator) -> FloatArray:
    """Participant's structured nuisance: about a third of the shared maps, freely weighted.

    Returns
    -------
    array of shape (x, y, z, n_nuisance)
    """
    n_nuisance = head.nuisance.shape[3]
    present = rng.random(n_nuisance) < 0.33
    weights = present * rng.uniform(0.5, 1.5, n_nuisance)
    return weights * head.nuisance


def own_mask(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Drop a tenth of the voxels at the edge and add a twentieth of those just outside."""
    chance = rng.random(mask.shape)
    edge = mask & ~ndimage.binary_erosion(mask)
    outside = ndimage.binary_dilation(mask) & ~mask
    return np.asarray((mask & ~(edge & (chance < 0.1))) | (outside & (chance < 0.05)))


def make_participant(head: Head, strength: Strength, rng: np.random.Generator) -> Participant:
    """Draw what makes this participant differ from the others."""
    profile = brain_profile(head.mask, head.affine)
    networks = strength.network * own_networks(head, rng)
    nuisance = strength.nuisance * own_nuisance(head, rng)
    mask = own_mask(head.mask, rng)
    return Participant(
        mask=mask,
        # Voxels that the participant's mask misses have signal nevertheless; the rest is air,
        # for the sake of small files (fMRIPrep does not strip the skull).
        has_signal=mask | head.mask,
        affine=head.affine,
        # The contrast between the edge and the middle is kept low: it costs bytes.
        anatomy=BRAIN_INTENSITY * (0.8 + 0.2 * profile),
        sources=np.concatenate([networks, nuisance], axis=-1),
        # 24 independent regressors add up to the strength asked for.
        motion=strength.motion / np.sqrt(24) * motion_maps(head, profile, rng),
        physiology=strength.physiology * physiology_maps(head.mask, head.affine),
    )

"""Rigid registration of a 300^3 sub-volume beside SimpleITK, on a simulated cell whose motion is known.

Both get the same two scans (pristine, and after a full charge) and start from no motion. SimpleITK does what Huang 2023
did: six parameters, correlation as the metric, gradient descent, in three resolutions, on all cores, with 3 % of
the voxels: once as they are, and once with what a person would add, a mask of the middle planes that only show polymer
and its particles (all of their voxels). The error is the root mean square over the volume of the
displacement (three components) against the truth, in voxels. operando must be at least as accurate as the best of
SimpleITK and at least three times faster than the fastest.

    python benchmarks/bench_registration.py [--edge 300] [--seed 3100]
    python benchmarks/bench_registration.py --accuracy 3000 3001    every scan of these cells instead
    python benchmarks/bench_registration.py --picture docs/images/registration-difference.png
"""

from __future__ import annotations

import argparse
import time
from os import cpu_count
from pathlib import Path

import numpy as np

from operando import registration
from operando.core.axes import labeled_image
from operando.samples import symmetric_cell

VOXEL_UM = 1.33
FASTER = 3.0


def scans(edge: int, seed: int, voxels: float, degrees: float, keep: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Two scans of a cell and the motion between them; simulated once where a file to keep them is named."""
    if keep is not None and keep.exists():
        stored = np.load(keep)
        return stored["image"], stored["motion"]
    cell = symmetric_cell((edge,) * 3, scans=2, seed=seed, motion_voxels=voxels, motion_degrees=degrees)
    image, motion = cell.image.values, cell.motion.values[1]
    if keep is not None:
        np.savez(keep, image=image, motion=motion)
    return image, motion


def with_sitk(fixed: np.ndarray, moving: np.ndarray, share: float, *, masked: bool) -> np.ndarray:
    """Motion by SimpleITK, as a matrix for (z, y, x, 1) in um."""
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(values) for values in (fixed, moving)]
    for image in images:
        image.SetSpacing((VOXEL_UM,) * 3)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    if share < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, seed=1)
    if masked:
        mask = np.zeros(fixed.shape, dtype=np.uint8)
        mask[round(0.4 * len(mask)) : round(0.6 * len(mask))] = 1
        drawn = sitk.GetImageFromArray(mask)
        drawn.CopyInformation(images[0])
        method.SetMetricFixedMask(drawn)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-3, numberOfIterations=100, relaxationFactor=0.5, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    start = sitk.Euler3DTransform()
    start.SetCenter([(n - 1) / 2 * VOXEL_UM for n in fixed.shape[::-1]])
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(*images)
    turn = np.array(start.GetMatrix()).reshape(3, 3)
    center, shift = np.array(start.GetCenter()), np.array(start.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = turn[::-1, ::-1]
    matrix[:3, 3] = (center + shift - turn @ center)[::-1]
    return matrix


def error(matrix: np.ndarray, truth: np.ndarray, shape: tuple[int, ...]) -> float:
    """Root mean square displacement error over the volume, in voxels."""
    axes = [np.linspace(0, (n - 1) * VOXEL_UM, 12) for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    off = points @ (matrix - truth)[:3, :3].T + (matrix - truth)[:3, 3]
    return float(np.sqrt((off**2).sum(axis=1).mean()) / VOXEL_UM)


def accuracy(seeds: list[int], shape: tuple[int, int, int] = (96, 128, 128)) -> None:
    """Error of ``register_series`` per cell: all scans of a full cycle, default artifacts, small and large motion."""
    for voxels, degrees in ((0.2, 0.02), (3.0, 1.0)):
        whole = []
        for seed in seeds:
            cell = symmetric_cell(shape, seed=seed, motion_voxels=voxels, motion_degrees=degrees)
            found = registration.register_series(cell.image)
            axes = [np.linspace(0, (n - 1) * VOXEL_UM, 12) for n in shape]
            points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
            off = (found.values - cell.motion.values)[1:] / VOXEL_UM
            moved = points @ off[:, :3, :3].transpose(0, 2, 1) + off[:, None, :3, 3]
            middle = np.median(points, axis=0) @ off[:, :3, :3].transpose(0, 2, 1) + off[:, :3, 3]
            ratio = middle * VOXEL_UM / found.sigma.values[1:, :3]
            whole.append(moved)
            what = f"{voxels} voxel, {degrees} degrees, seed {seed}"
            print(f"{what}: {_summary(moved)}, error/sigma {_rms(ratio):.2f}", flush=True)
        print(f"{voxels} voxel, {degrees} degrees, all: {_summary(np.concatenate(whole))}", flush=True)


def _summary(moved: np.ndarray) -> str:
    each = np.sqrt((moved**2).sum(axis=-1).mean(axis=-1))
    axes = np.sqrt((moved**2).mean(axis=(0, 1)))
    named = " ".join(f"{name} {value:.3f}" for name, value in zip("zyx", axes, strict=True))
    return f"{named}, three-component {_rms(each):.4f}, worst scan {each.max():.3f}"


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def picture(path: Path) -> None:
    """Difference of two scans before and after registration, beside the reference."""
    from operando.report.sections import plane_extent, section
    from operando.report.style import add_scale_bar, mark_simulated, new_figure, png_bytes, styled

    cell = symmetric_cell(scans=3, seed=3000, motion_voxels=3.0, motion_degrees=1.0)
    reference, moving = cell.image[0], cell.image[1]
    registered = registration.register(reference, moving).apply(moving).compute()
    panels = (
        ("reference", reference, "gray", (0.94, 1.04)),
        ("charged, minus reference", moving - reference, "RdBu_r", (-0.05, 0.05)),
        ("the same, registered", registered - reference, "RdBu_r", (-0.05, 0.05)),
    )

    @styled
    def draw() -> bytes:
        figure = new_figure(180, 58)
        for k, (title, image, colors, limits) in enumerate(panels):
            ax = figure.add_subplot(1, len(panels), k + 1)
            plane = section(image)
            extent, unit = plane_extent(plane)
            ax.imshow(plane, cmap=colors, vmin=limits[0], vmax=limits[1], extent=extent, origin="lower")
            ax.set(xlim=extent[:2], ylim=extent[2:])
            ax.set_axis_off()
            add_scale_bar(ax, unit=unit, color="black")
            ax.set_title(title)
        mark_simulated(figure)
        return png_bytes(figure)

    path.write_bytes(draw())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=300)
    parser.add_argument("--seed", type=int, default=3100)
    parser.add_argument("--voxels", type=float, default=2.0, help="largest shift per axis of the simulated motion")
    parser.add_argument("--degrees", type=float, default=0.5, help="largest rotation of the simulated motion")
    parser.add_argument("--keep", type=Path, help="file to keep the simulated scans in")
    parser.add_argument("--accuracy", type=int, nargs="+", metavar="SEED")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    if arguments.accuracy:
        accuracy(arguments.accuracy)
        return
    if arguments.picture:
        picture(arguments.picture)
        return
    (fixed, moving), truth = scans(arguments.edge, arguments.seed, arguments.voxels, arguments.degrees, arguments.keep)
    print(f"{fixed.shape} voxels, {cpu_count()} threads")
    print(f"no registration: {error(np.eye(4), truth, fixed.shape):.3f} voxel")
    labeled = [labeled_image(values, voxel_size_um=VOXEL_UM) for values in (fixed, moving)]
    start = time.perf_counter()
    found = registration.register(*labeled)
    ours, seconds = error(found.matrix, truth, fixed.shape), time.perf_counter() - start
    print(f"operando: {ours:.4f} voxel in {seconds:.1f} s ({len(found.subvolumes)} sub-volumes)", flush=True)
    peers = []
    for share, masked in ((0.03, False), (1.0, True)):
        start = time.perf_counter()
        matrix = with_sitk(fixed, moving, share, masked=masked)
        peers.append((error(matrix, truth, fixed.shape), time.perf_counter() - start))
        what = "masked by hand" if masked else f"{100 * share:g} % of the voxels"
        print(f"SimpleITK, {what}: {peers[-1][0]:.4f} voxel in {peers[-1][1]:.1f} s", flush=True)
    best, fastest = min(peer[0] for peer in peers), min(peer[1] for peer in peers)
    print(f"error: {ours / best:.2f} of SimpleITK's; time: SimpleITK takes {fastest / seconds:.1f} times as long")
    print("holds" if ours <= best and fastest >= FASTER * seconds else "does not hold")


if __name__ == "__main__":
    main()

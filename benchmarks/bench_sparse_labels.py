"""From scribbles to phases: forest, network and thresholds on a real micrograph; intervals on made-up ones.

    python benchmarks/bench_sparse_labels.py [--without-network]

The micrograph is read from OPERANDO_DATA, or ../shared/data beside the repository; without it only the
made-up micrographs are judged. Its truth is used for judging alone, on pixels that nobody labeled.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

from operando import learn, morphometry, segmentation
from operando.pipeline.sparse_labels.inputs import drawn, open_gray, reference
from operando.pipeline.sparse_labels.settings import Image, Labels

DATA = Path(os.environ.get("OPERANDO_DATA", Path(__file__).parents[2] / "shared" / "data"))
MICROGRAPH = DATA / "tldr-sparse-label-benchmark"
MADE_UP = {"matrix": 0, "grain": 1, "dot": 2}


def real(*, network: bool) -> None:
    labels = Labels(file=str(MICROGRAPH / "0_labels.tif"), phases={"matrix": 85, "grain": 170, "dot": 255})
    gray = open_gray(Image(file=str(MICROGRAPH / "0.tif"))).compute()
    marks = drawn(labels, gray, ignore_below=None).compute()
    truth = reference(str(MICROGRAPH / "0_ground_truth.tif"), labels, gray).compute()
    unlabeled = truth.where(marks == 255, 255).astype(np.uint8)
    scheme = labels.scheme

    def judged(found: xr.DataArray) -> str:
        scores = segmentation.agreement(found, unlabeled, scheme)
        each = ", ".join(f"{name} {value:.3f}" for name, value in zip(scheme, scores.iou.values, strict=True))
        return f"macro IoU {float(scores.macro):.3f} ({each})"

    print(f"Micrograph of 512 x 512 pixels, {int((marks != 255).sum())} labeled. Judged on the others.")
    otsu = segmentation.Otsu(scheme).fit(gray, marks).predict(gray)
    print(f"  multi-Otsu                         {judged(otsu)}")
    macros, seconds = [], []
    for seed in range(5):
        began = time.process_time()
        forest = segmentation.PixelClassifier(scheme, seed=seed).fit(gray, marks)
        plain = forest.predict(gray)
        found = segmentation.snap_borders(plain, gray, scheme)
        seconds.append(time.process_time() - began)
        macros.append(float(segmentation.agreement(found, unlabeled, scheme).macro))
        print(f"  forest, seed {seed}, borders as found    {judged(plain)}")
        print(f"  forest, seed {seed}, borders moved       {judged(found)}")
    print(
        f"  forest over 5 seeds: {np.mean(macros):.3f} +- {np.std(macros, ddof=1):.3f}, {np.mean(seconds):.1f} s of CPU"
    )
    if not network:
        return
    began = time.process_time()
    design = learn.NetworkDesign(channels=(16, 32, 64, 128), strides=(2, 2, 2), patch=(96, 96))
    settings = learn.TrainingSettings(steps=500)
    segmenter = segmentation.NetworkSegmenter(scheme, network=design, planes="yx", validation=False, training=settings)
    plain = segmenter.fit(gray, marks).predict(gray)
    found = segmentation.snap_borders(plain, gray, scheme)
    took = time.process_time() - began
    print(f"  network, borders as found          {judged(plain)}")
    print(f"  network, borders moved             {judged(found)}")
    macro = float(segmentation.agreement(found, unlabeled, scheme).macro)
    print(f"  forest over network: IoU x {np.mean(macros) / macro:.3f}, CPU time x {np.mean(seconds) / took:.3f}")


def micrograph(seed: int, *, size: int = 256, blur: float = 2.0, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Dark grains with bright rims in a gray matrix with small dots, blurred, unevenly lit and noisy; and the truth."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(size, size)), 14, mode="wrap")
    truth = (field > np.quantile(field, 0.55)).astype(np.uint8)
    away = ndimage.distance_transform_edt(truth == 0)
    rows, columns = np.ogrid[:size, :size]
    for _ in range(60):
        y, x = rng.integers(0, size, 2)
        radius = rng.uniform(2, 3.5)
        if away[y, x] > radius + 4:
            truth[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 2
    gray = ndimage.gaussian_filter(np.array([0.6, 0.12, 0.36])[truth], blur)
    light = ndimage.gaussian_filter(rng.normal(size=(size, size)), 25)
    gray += 0.05 * light / light.std() + 0.35 * np.exp(-((away / 4) ** 2)) * (truth == 0)
    return ndimage.gaussian_filter(gray, 1) + noise * rng.normal(size=gray.shape), truth


def made_up(seeds: range) -> None:
    print(f"{len(seeds)} made-up micrographs: how often the 95 % interval of a fraction holds the truth.")
    held: dict[str, list[bool]] = {name: [] for name in MADE_UP}
    scores: dict[str, list[float]] = {"borders as found": [], "borders moved": [], "multi-Otsu": []}
    for seed in seeds:
        gray, true = micrograph(seed)
        image, truth = (xr.DataArray(array, dims=("y", "x")) for array in (gray, true))
        inside = np.where((true == 1) & (ndimage.distance_transform_edt(true == 1) < 5), 255, true).astype(np.uint8)
        marks = segmentation.draw_strokes(truth.copy(data=inside), strokes_per_phase=15, width=1, length=40, seed=seed)
        forest = segmentation.PixelClassifier(MADE_UP, seed=seed).fit(image, marks)
        chance = forest.predict_probability(image)
        plain = forest.predict(image)
        found = segmentation.snap_borders(plain, image, MADE_UP)
        shares = morphometry.phase_fractions(found, MADE_UP, probability=chance, other=plain)
        for name, number in MADE_UP.items():
            one = shares.sel(component=name)
            held[name].append(bool(abs(float(one.fraction) - (true == number).mean()) < 1.96 * float(one.sigma)))
        otsu = segmentation.Otsu(MADE_UP).fit(image, marks).predict(image)
        for name, labels in zip(scores, (plain, found, otsu), strict=True):
            scores[name].append(float(segmentation.agreement(labels, true, MADE_UP).macro))
    for name, found_in in held.items():
        print(f"  {name:8} {sum(found_in)} of {len(found_in)}")
    for name, values in scores.items():
        print(f"  macro IoU, {name:17} {np.mean(values):.3f} +- {np.std(values, ddof=1):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-network", action="store_true", help="leave out the minutes that a network trains")
    parser.add_argument("--first", type=int, default=3000, help="seed of the first made-up micrograph")
    arguments = parser.parse_args()
    if MICROGRAPH.is_dir():
        real(network=not arguments.without_network)
    else:
        print(f"The micrograph is not here ({MICROGRAPH}): set OPERANDO_DATA.")
    made_up(range(arguments.first, arguments.first + 20))


if __name__ == "__main__":
    main()

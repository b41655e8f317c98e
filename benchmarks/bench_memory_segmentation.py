"""Peak memory of segmenting a volume on disk, with its doubt, and measuring it; and one eight times larger.

Memory must be bounded by the block, never by the volume: the ratio of the two peaks must stay below 1.3.

    python benchmarks/bench_memory_segmentation.py [--edge 160] [--block 96]

The network is shallow and barely trained, because only memory is looked at; its patches are those of the default. Each
volume is segmented and measured in a process of its own, whose peak resident set the operating system reports.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 1.3


def write_volume(path, shape, seed):
    """A lazy noisy cell, written block by block, so that making it needs little memory either."""
    import dask.array as da
    import numpy as np

    from operando.core.axes import labeled_image
    from operando.io import save_image

    depth = da.arange(shape[0], chunks=64)[:, None, None] / shape[0]
    phases = da.where(depth < 0.25, 0.98, da.where(depth > 0.75, 0.96, 1.0)) + da.zeros(shape, chunks=64)
    noise = da.random.default_rng(seed).normal(scale=0.01, size=shape, chunks=64)
    save_image(labeled_image((phases + noise).astype(np.float32), voxel_size_um=1.33), path)


def write_model(path):
    import numpy as np

    from operando.core.phases import CELL
    from operando.learn import NetworkDesign, TrainingSettings
    from operando.segmentation import NetworkSegmenter

    rng = np.random.default_rng(0)
    truth = np.broadcast_to((np.arange(64) * 6 // 64).astype(np.uint8)[:, None, None], (64, 32, 32)).copy()
    image = truth + rng.normal(size=truth.shape)
    settings = TrainingSettings(steps=2, batch=2)
    NetworkSegmenter(
        CELL, network=NetworkDesign(channels=(8, 16), strides=(2,)), training=settings, validation=False
    ).fit(image, truth).save(path)


def segment_and_measure(folder, name, block):
    """Run in a process of its own: what a user would do, and the peak it took."""
    import resource

    from operando.core.phases import CELL
    from operando.io import open_image, save_image
    from operando.morphometry import probability_moments, volumes
    from operando.segmentation import NetworkSegmenter

    started = time.perf_counter()
    image = open_image(folder / f"{name}.zarr")
    probability = NetworkSegmenter.load(folder / "model", block=(block,) * 3).predict_probability(image)
    target = folder / f"{name}-labels.zarr"
    probability_moments(probability, CELL, plating_side="low", write=lambda labels: save_image(labels, target))
    measured = volumes(open_image(folder / f"{name}-labels.zarr"), CELL)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "voxels": image.size,
                "peak_mib": kilobytes / 1024,
                "seconds": time.perf_counter() - started,
                "volume_um3": float(measured.sum()),
            }
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--edge", type=int, default=160, help="z voxels of the small volume; y and x have 1.5 times as many"
    )
    parser.add_argument("--block", type=int, default=96, help="edge of the blocks that are predicted")
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        segment_and_measure(Path(options.worker[0]), options.worker[1], options.block)
        return 0
    small = (options.edge, options.edge * 3 // 2, options.edge * 3 // 2)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model")
        for name, shape in (("small", small), ("large", tuple(2 * size for size in small))):
            write_volume(Path(folder) / f"{name}.zarr", shape, seed=0)
            command = [sys.executable, __file__, "--block", str(options.block), "--worker", folder, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[name] = json.loads(done.stdout.splitlines()[-1])
            row = results[name]
            print(
                f"{name}: {shape} = {row['voxels'] / 1e6:.1f} Mvoxel, peak {row['peak_mib']:.0f} MiB, "
                f"{row['voxels'] / row['seconds'] / 1e6:.2f} Mvoxel/s",
                flush=True,
            )
    ratio = results["large"]["peak_mib"] / results["small"]["peak_mib"]
    print(f"ratio of the peaks: {ratio:.3f} (must be below {LIMIT})")
    return 0 if ratio < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

"""Young's modulus of random two-phase bodies of contrast 1000 against a limit of time, and beside a sparse matrix.

Limit: 128^3 voxels in 60 s, the modulus within 1e-3 of the converged one. Stiff inclusions (20 % stiff), two
interwoven phases (50 %) and soft inclusions in a stiff matrix (80 %), and the second with pores in place of the soft
phase. Compiling is not timed (it happens once per installation).

Peer: the same elements assembled as a sparse matrix and solved by scipy's conjugate gradients with a diagonal
preconditioner, in double precision on a smaller body. The peer is told the converged answer and stops as soon as it is
within 1e-4 of it; ours stops by its own estimate. Both answers are compared with the converged one.

    python benchmarks/bench_stiffness.py [--edge 128] [--peer-edge 40] [--converged] [--domains 200]
"""

from __future__ import annotations

import argparse
import contextlib
import time
import tracemalloc
from os import cpu_count

import numpy as np

from operando.transport import effective_stiffness, youngs_moduli

LIMIT_S, WITHIN, RATIO = 60.0, 1e-3, 0.3


def body(edge: int, fraction: float, soft: float, feature: float, seed: int = 3000) -> np.ndarray:
    """Blobs about ``5 * feature`` voxels wide: 1 in ``fraction`` of the volume, ``soft`` elsewhere."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).standard_normal((edge,) * 3), feature, mode="reflect")
    return np.where(field > np.quantile(field, 1 - fraction), 1.0, soft)


def with_scipy(young: np.ndarray, answer: float) -> tuple[float, float, float, int]:
    """Modulus along z between plates, seconds of assembly and of solving, iterations."""
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import LinearOperator, cg

    start = time.perf_counter()
    shape = np.array(young.shape)
    corners = np.array(list(np.ndindex(2, 2, 2)))
    stiffness = np.zeros((6, 6))
    stiffness[:3, :3] = RATIO / ((1 + RATIO) * (1 - 2 * RATIO))
    stiffness[range(6), range(6)] += np.array([1, 1, 1, 0.5, 0.5, 0.5]) / (1 + RATIO)
    element, mean = np.zeros((24, 24)), np.zeros((6, 24))
    for point in (2 * corners - 1) / np.sqrt(3):
        slope = np.empty((8, 3))
        for a in range(3):
            others = [b for b in range(3) if b != a]
            near = np.prod([(1 + (2 * corners[:, b] - 1) * point[b]) / 2 for b in others], axis=0)
            slope[:, a] = (2 * corners[:, a] - 1) * near
        strain = np.zeros((6, 24))
        for row, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
            strain[row, 3 * np.arange(8) + a] += slope[:, b]
            if a != b:
                strain[row, 3 * np.arange(8) + b] += slope[:, a]
        element += strain.T @ stiffness @ strain / 8
        mean += stiffness @ strain / 8
    voxels = np.array(list(np.ndindex(*shape)))
    number = np.ravel_multi_index((voxels[:, None] + corners).transpose(2, 0, 1), shape + 1)
    degrees = (3 * number[:, :, None] + np.arange(3)).reshape(len(voxels), 24).astype(np.int32)
    moduli = young.ravel()
    rows, columns = np.repeat(degrees, 24, axis=1).ravel(), np.tile(degrees, (1, 24)).ravel()
    matrix = coo_matrix(((moduli[:, None] * element.ravel()).ravel(), (rows, columns))).tocsr()
    place = np.array(list(np.ndindex(*(shape + 1))))
    keep = np.flatnonzero(~((place == 0) | (place == shape)).ravel())
    # The free strains of the lateral plates are two more unknowns at the end.
    coupling = np.stack([np.bincount(degrees.ravel(), (moduli[:, None] * row).ravel()) for row in mean[:3]], axis=1)[
        keep
    ]
    block = stiffness[:3, :3] * moduli.sum()
    matrix = matrix[keep][:, keep]
    diagonal = np.concatenate([matrix.diagonal(), np.diag(block)[1:]])
    lateral = coupling[:, 1:]

    def apply(x: np.ndarray) -> np.ndarray:
        return np.concatenate([matrix @ x[:-2] + lateral @ x[-2:], lateral.T @ x[:-2] + block[1:, 1:] @ x[-2:]])

    load = -np.concatenate([coupling[:, 0], block[1:, 0]])
    scale = np.where(diagonal > 0, 1 / np.where(diagonal > 0, diagonal, 1), 0)
    assembled = time.perf_counter() - start
    operator, diagonal_only = LinearOperator((len(load),) * 2, matvec=apply), diags(scale)
    count, modulus = 0, np.inf

    class Close(Exception):
        pass

    def look(x: np.ndarray) -> None:
        nonlocal count, modulus
        count += 1
        modulus = (block[0, 0] - 2 * load @ x + x @ apply(x)) / moduli.size
        if modulus <= answer * (1 + 1e-4):
            raise Close

    with contextlib.suppress(Close):
        cg(operator, load, rtol=1e-12, maxiter=20000, M=diagonal_only, callback=look)
    start = time.perf_counter()  # now that the number of iterations is known, without looking
    cg(operator, load, rtol=1e-12, maxiter=count, M=diagonal_only)
    return modulus, assembled, time.perf_counter() - start, count


def peak(young: np.ndarray) -> float:
    """Bytes of arrays alive at once beside the input, per voxel."""
    tracemalloc.start()
    effective_stiffness(young, RATIO, 0, tolerance=1e-3)
    bytes_at_most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return bytes_at_most / young.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--peer-edge", type=int, default=40)
    parser.add_argument("--domains", type=int, default=200, help="small domains of 12^3, solved along three axes")
    parser.add_argument("--converged", action="store_true", help="solve the large bodies to 1e-6 as well")
    arguments = parser.parse_args()
    for boundary in ("plates", "periodic"):
        effective_stiffness(body(8, 0.5, 1e-3, 1.0), RATIO, 0, boundary=boundary)
        effective_stiffness(body(8, 0.5, 1e-3, 1.0), RATIO, 0, boundary=boundary, tolerance=1e-6)
    print(f"{cpu_count()} threads")
    slowest, worst = 0.0, 0.0
    for name, fraction, soft in (
        ("stiff inclusions, contrast 1000", 0.2, 1e-3),
        ("interwoven, contrast 1000", 0.5, 1e-3),
        ("soft inclusions, contrast 1000", 0.8, 1e-3),
        ("interwoven with pores", 0.5, 0.0),
    ):
        young = body(arguments.edge, fraction, soft, arguments.edge / 32)
        for boundary in ("plates", "periodic"):
            start = time.perf_counter()
            found = effective_stiffness(young, RATIO, 0, boundary=boundary)
            seconds = time.perf_counter() - start
            slowest = max(slowest, seconds)
            error = ""
            if arguments.converged:
                exact = effective_stiffness(young, RATIO, 0, boundary=boundary, tolerance=1e-6)
                worst = max(worst, abs(found / exact - 1))
                error = f", {found / exact - 1:.1e} off"
            print(f"{arguments.edge}^3, {name}, {boundary}: {found:.6f} in {seconds:.1f} s{error}", flush=True)
    print(f"memory: {peak(body(64, 0.5, 1e-3, 2.0)):.0f} bytes per voxel beside the input")
    domains = np.stack([body(12, 0.9, 0.0, 1.0, 3000 + k) for k in range(arguments.domains)])
    start = time.perf_counter()
    youngs_moduli(domains, RATIO)
    each = (time.perf_counter() - start) / len(domains)
    print(f"{len(domains)} domains of 12^3 with 10 % pores, three axes each: {each * 1e3:.1f} ms a domain", flush=True)
    ratios = []
    for name, fraction in (("stiff inclusions", 0.2), ("interwoven", 0.5)):
        young = body(arguments.peer_edge, fraction, 1e-3, 2.0)
        exact = effective_stiffness(young, RATIO, 0, tolerance=1e-8)
        start = time.perf_counter()
        found = effective_stiffness(young, RATIO, 0)
        ours = time.perf_counter() - start
        modulus, assembly, theirs, count = with_scipy(young, exact)
        ratios.append(theirs / ours)
        print(f"{arguments.peer_edge}^3, {name}: ours {ours:.2f} s, {found / exact - 1:.1e} off", flush=True)
        print(f"    a sparse matrix {theirs:.2f} s, {modulus / exact - 1:.1e} off", flush=True)
        print(f"    ({count} iterations; {assembly:.1f} s of assembly apart)", flush=True)
    print(f"time: {slowest:.1f} of {LIMIT_S:g} s; the sparse matrix takes {min(ratios):.1f} times as long at least")
    print("holds" if slowest <= LIMIT_S and worst <= WITHIN and min(ratios) > 1 else "does not hold")


if __name__ == "__main__":
    main()

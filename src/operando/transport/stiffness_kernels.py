"""Compiled loops of the elasticity solver: the elements' forces, the reference operator's inverse, scalar products.

One trilinear element per voxel, integrated exactly. In the eight Walsh modes of an element
(1, x, y, z, xy, xz, yz, xyz: sums and differences of its corners) the gradients are orthogonal, so that the forces cost
about 300 operations instead of the 1152 of a full 24 x 24 matrix, and the moduli may differ in every voxel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, prange

F = TypeVar("F", bound=Callable[..., Any])
_loops: Callable[[F], F] = njit(parallel=True, fastmath=True, cache=True, nogil=True)
_inner: Callable[[F], F] = njit(fastmath=True, cache=True, nogil=True)


@_loops
def element_forces(
    lame: np.ndarray,
    shear: np.ndarray,
    domain: np.ndarray,
    nodes: np.ndarray,
    strain: np.ndarray,
    gradient: np.ndarray,
    forces: np.ndarray,
    sums: np.ndarray,
    color: int,
) -> None:
    """Add the forces of every second plane of elements to the nodes, and sum their stress.

    Planes of one color (0 or 1) touch no node in common. ``lame``, ``shear``: (m, z, y, x), ``domain``: (load,) index
    into m, ``nodes`` and ``forces``: (load, 3, z + 1, y + 1, x + 1), ``strain``: (load, 6) in the order xx, yy, zz,
    yz, xz, xy, ``gradient``: 2 / voxel edge along z, y, x, ``sums``: (load, z, 7), per plane the six sums of stress
    and the sum of stress times strain.
    """
    planes = (lame.shape[1] - color + 1) // 2
    for task in prange(nodes.shape[0] * planes):
        load, k = task // planes, 2 * (task % planes) + color
        m = domain[load]
        _plane(lame[m, k], shear[m, k], nodes[load], strain[load], gradient, forces[load], sums[load, k], k)


@_inner
def _plane(
    lame: np.ndarray,
    shear: np.ndarray,
    nodes: np.ndarray,
    strain: np.ndarray,
    gradient: np.ndarray,
    forces: np.ndarray,
    sums: np.ndarray,
    k: int,
) -> None:
    size_y, size_x = lame.shape
    gz, gy, gx = gradient[0], gradient[1], gradient[2]
    zero = lame.dtype.type(0.0)
    third, ninth = lame.dtype.type(1.0 / 3.0), lame.dtype.type(1.0 / 9.0)
    exx, eyy, ezz, eyz, exz, exy = strain[0], strain[1], strain[2], strain[3], strain[4], strain[5]
    sum_xx, sum_yy, sum_zz, sum_yz, sum_xz, sum_xy, sum_energy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    w, v, u = nodes[0], nodes[1], nodes[2]
    fw, fv, fu = forces[0], forces[1], forces[2]
    for j in range(size_y):
        # Walsh sums over y and z of the left face of an element; those of its right face are the next one's left.
        u0, uy, uz, uyz = _face(u, k, j, 0)
        v0, vy, vz, vyz = _face(v, k, j, 0)
        w0, wy, wz, wyz = _face(w, k, j, 0)
        # What the element on the left exerts on the face that it shares with this one.
        lu0 = luy = luz = luyz = lv0 = lvy = lvz = lvyz = lw0 = lwy = lwz = lwyz = zero
        for i in range(size_x):
            ru0, ruy, ruz, ruyz = _face(u, k, j, i + 1)
            rv0, rvy, rvz, rvyz = _face(v, k, j, i + 1)
            rw0, rwy, rwz, rwyz = _face(w, k, j, i + 1)
            mu = shear[j, i]
            if mu == zero:
                _push(fu, k, j, i, lu0, luy, luz, luyz)
                _push(fv, k, j, i, lv0, lvy, lvz, lvyz)
                _push(fw, k, j, i, lw0, lwy, lwz, lwyz)
                lu0 = luy = luz = luyz = lv0 = lvy = lvz = lvyz = lw0 = lwy = lwz = lwyz = zero
                u0, uy, uz, uyz = ru0, ruy, ruz, ruyz
                v0, vy, vz, vyz = rv0, rvy, rvz, rvyz
                w0, wy, wz, wyz = rw0, rwy, rwz, rwyz
                continue
            la = lame[j, i]
            two = mu + mu
            # Gradients of each mode, as strain. Suffixes name the polynomial that multiplies them.
            ux, uxy, uxz, uxyz = gx * (ru0 - u0), gx * (ruy - uy), gx * (ruz - uz), gx * (ruyz - uyz)
            u_y, u_xy, u_yz, u_xyz = gy * (ruy + uy), gy * (ruy - uy), gy * (ruyz + uyz), gy * (ruyz - uyz)
            u_z, u__xz, u__yz, u__xyz = gz * (ruz + uz), gz * (ruz - uz), gz * (ruyz + uyz), gz * (ruyz - uyz)
            vx, vxy, vxz, vxyz = gx * (rv0 - v0), gx * (rvy - vy), gx * (rvz - vz), gx * (rvyz - vyz)
            v_y, v_xy, v_yz, v_xyz = gy * (rvy + vy), gy * (rvy - vy), gy * (rvyz + vyz), gy * (rvyz - vyz)
            v_z, v__xz, v__yz, v__xyz = gz * (rvz + vz), gz * (rvz - vz), gz * (rvyz + vyz), gz * (rvyz - vyz)
            wx, wxy, wxz, wxyz = gx * (rw0 - w0), gx * (rwy - wy), gx * (rwz - wz), gx * (rwyz - wyz)
            w_y, w_xy, w_yz, w_xyz = gy * (rwy + wy), gy * (rwy - wy), gy * (rwyz + wyz), gy * (rwyz - wyz)
            w_z, w__xz, w__yz, w__xyz = gz * (rwz + wz), gz * (rwz - wz), gz * (rwyz + wyz), gz * (rwyz - wyz)
            # Stress: constant part, then the parts linear in x, y, z (mean square 1/3), then bilinear (1/9).
            a, b, c = exx + ux, eyy + v_y, ezz + w_z
            trace = la * (a + b + c)
            sxx, syy, szz = trace + two * a, trace + two * b, trace + two * c
            d, e, g = eyz + v_z + w_y, exz + u_z + wx, exy + u_y + vx
            syz, sxz, sxy = mu * d, mu * e, mu * g
            sum_xx += sxx
            sum_yy += syy
            sum_zz += szz
            sum_yz += syz
            sum_xz += sxz
            sum_xy += sxy
            la3, two3, mu3 = la * third, two * third, mu * third
            trace = la3 * (v_xy + w__xz)
            yy_x, zz_x = trace + two3 * v_xy, trace + two3 * w__xz
            trace = la3 * (uxy + w__yz)
            xx_y, zz_y = trace + two3 * uxy, trace + two3 * w__yz
            trace = la3 * (uxz + v_yz)
            xx_z, yy_z = trace + two3 * uxz, trace + two3 * v_yz
            xy_z, xz_y, yz_x = mu3 * (u_yz + vxz), mu3 * (u__yz + wxy), mu3 * (v__xz + w_xy)
            xy_x, xy_y = mu3 * u_xy, mu3 * vxy
            xz_x, xz_z = mu3 * u__xz, mu3 * wxz
            yz_y, yz_z = mu3 * v__yz, mu3 * w_yz
            stiff, mu9 = (la + two) * ninth, mu * ninth
            xx_yz, yy_xz, zz_xy = stiff * uxyz, stiff * v_xyz, stiff * w__xyz
            xy_xz, xy_yz = mu9 * u_xyz, mu9 * vxyz
            xz_xy, xz_yz = mu9 * u__xyz, mu9 * wxyz
            yz_xy, yz_xz = mu9 * v__xyz, mu9 * w_xyz
            sum_energy += (
                (a * sxx + b * syy + c * szz + d * syz + e * sxz + g * sxy)
                + (v_xy * yy_x + w__xz * zz_x + uxy * xx_y + w__yz * zz_y + uxz * xx_z + v_yz * yy_z)
                + ((u_yz + vxz) * xy_z + (u__yz + wxy) * xz_y + (v__xz + w_xy) * yz_x)
                + (u_xy * xy_x + vxy * xy_y + u__xz * xz_x + wxz * xz_z + v__yz * yz_y + w_yz * yz_z)
                + (uxyz * xx_yz + v_xyz * yy_xz + w__xyz * zz_xy)
                + (u_xyz * xy_xz + vxyz * xy_yz + u__xyz * xz_xy + wxyz * xz_yz + v__xyz * yz_xy + w_xyz * yz_xz)
            )
            # Forces on the modes: 0, y, z, yz of the sum over both faces, then of their difference (x, ...).
            s_y, s_z, s_yz = gy * sxy, gz * sxz, gy * xy_z + gz * xz_y
            t_0, t_y = gx * sxx, gx * xx_y + gy * xy_x
            t_z, t_yz = gx * xx_z + gz * xz_x, gx * xx_yz + gy * xy_xz + gz * xz_xy
            _push(fu, k, j, i, lu0 - t_0, luy + s_y - t_y, luz + s_z - t_z, luyz + s_yz - t_yz)
            lu0, luy, luz, luyz = t_0, s_y + t_y, s_z + t_z, s_yz + t_yz
            s_y, s_z, s_yz = gy * syy, gz * syz, gy * yy_z + gz * yz_y
            t_0, t_y = gx * sxy, gy * yy_x + gx * xy_y
            t_z, t_yz = gx * xy_z + gz * yz_x, gx * xy_yz + gy * yy_xz + gz * yz_xy
            _push(fv, k, j, i, lv0 - t_0, lvy + s_y - t_y, lvz + s_z - t_z, lvyz + s_yz - t_yz)
            lv0, lvy, lvz, lvyz = t_0, s_y + t_y, s_z + t_z, s_yz + t_yz
            s_y, s_z, s_yz = gy * syz, gz * szz, gz * zz_y + gy * yz_z
            t_0, t_y = gx * sxz, gx * xz_y + gy * yz_x
            t_z, t_yz = gz * zz_x + gx * xz_z, gx * xz_yz + gy * yz_xz + gz * zz_xy
            _push(fw, k, j, i, lw0 - t_0, lwy + s_y - t_y, lwz + s_z - t_z, lwyz + s_yz - t_yz)
            lw0, lwy, lwz, lwyz = t_0, s_y + t_y, s_z + t_z, s_yz + t_yz
            u0, uy, uz, uyz = ru0, ruy, ruz, ruyz
            v0, vy, vz, vyz = rv0, rvy, rvz, rvyz
            w0, wy, wz, wyz = rw0, rwy, rwz, rwyz
        _push(fu, k, j, size_x, lu0, luy, luz, luyz)
        _push(fv, k, j, size_x, lv0, lvy, lvz, lvyz)
        _push(fw, k, j, size_x, lw0, lwy, lwz, lwyz)
    sums[0], sums[1], sums[2] = sum_xx, sum_yy, sum_zz
    sums[3], sums[4], sums[5] = sum_yz, sum_xz, sum_xy
    sums[6] = sum_energy


@_inner
def _face(values: np.ndarray, k: int, j: int, i: int) -> tuple[float, float, float, float]:
    p, q, r, s = values[k, j, i], values[k, j + 1, i], values[k + 1, j, i], values[k + 1, j + 1, i]
    eighth = values.dtype.type(0.125)
    return eighth * (p + q + r + s), eighth * (q - p + s - r), eighth * (r + s - p - q), eighth * (p + s - q - r)


@_inner
def _push(forces: np.ndarray, k: int, j: int, i: int, a: float, y: float, z: float, yz: float) -> None:
    eighth = forces.dtype.type(0.125)
    forces[k, j, i] += eighth * (a - y - z + yz)
    forces[k, j + 1, i] += eighth * (a + y - z - yz)
    forces[k + 1, j, i] += eighth * (a - y + z - yz)
    forces[k + 1, j + 1, i] += eighth * (a + y + z + yz)


@_loops
def solve_reference(
    spectrum: np.ndarray,
    lame: float,
    shear: float,
    second: np.ndarray,
    mass: np.ndarray,
    first: np.ndarray,
    offsets: np.ndarray,
) -> None:
    """Divide a spectrum (load, 3, kz, ky, kx) in place by the homogeneous operator, a 3 x 3 matrix per frequency.

    ``second``, ``mass``, ``first``: symbols of stiffness, mass and derivative of linear elements for all frequencies
    of z, y and x one after the other, which start at ``offsets``.
    """
    loads, _, size_z, size_y, size_x = spectrum.shape
    stiff, both = lame + 2.0 * shear, lame + shear
    for task in prange(size_z * loads):
        load, k = task // size_z, task % size_z
        sz, mz, dz = second[k], mass[k], first[k]
        for j in range(size_y):
            sy, my, dy = second[offsets[1] + j], mass[offsets[1] + j], first[offsets[1] + j]
            for i in range(size_x):
                sx, mx, dx = second[offsets[2] + i], mass[offsets[2] + i], first[offsets[2] + i]
                z2, y2, x2 = sz * my * mx, mz * sy * mx, mz * my * sx
                a = stiff * z2 + shear * (y2 + x2)
                b = stiff * y2 + shear * (z2 + x2)
                c = stiff * x2 + shear * (z2 + y2)
                d, e, f = both * dy * dx * mz, both * dz * dx * my, both * dz * dy * mx
                aa, bb, cc = b * c - d * d, a * c - e * e, a * b - f * f
                ab, ac, bc = e * d - f * c, f * d - e * b, f * e - a * d
                determinant = a * aa + f * ab + e * ac
                # Zero for the mean displacement only, which bears no load.
                inverse = 1.0 / determinant if determinant > 1e-30 * stiff**3 else 0.0
                p, q, r = spectrum[load, 0, k, j, i], spectrum[load, 1, k, j, i], spectrum[load, 2, k, j, i]
                spectrum[load, 0, k, j, i] = inverse * (aa * p + ab * q + ac * r)
                spectrum[load, 1, k, j, i] = inverse * (ab * p + bb * q + bc * r)
                spectrum[load, 2, k, j, i] = inverse * (ac * p + bc * q + cc * r)


@_loops
def products(left: np.ndarray, right: np.ndarray, partial: np.ndarray) -> None:
    """Scalar products per load of (load, 3, z, y, x) arrays, summed in double precision per plane into (load, z)."""
    loads, _, size_z, size_y, size_x = left.shape
    for task in prange(loads * size_z):
        load, k = task // size_z, task % size_z
        total = 0.0
        for component in range(3):
            for j in range(size_y):
                row = left.dtype.type(0.0)
                for i in range(size_x):
                    row += left[load, component, k, j, i] * right[load, component, k, j, i]
                total += row
        partial[load, k] = total


@_loops
def advance(
    found: np.ndarray, residual: np.ndarray, direction: np.ndarray, image: np.ndarray, step: np.ndarray
) -> None:
    """``found += step * direction`` and ``residual -= step * image``, per load."""
    loads, _, size_z, size_y, size_x = found.shape
    for task in prange(loads * size_z):
        load, k = task // size_z, task % size_z
        s = step[load]
        for component in range(3):
            for j in range(size_y):
                for i in range(size_x):
                    found[load, component, k, j, i] += s * direction[load, component, k, j, i]
                    residual[load, component, k, j, i] -= s * image[load, component, k, j, i]


@_loops
def combine(direction: np.ndarray, correction: np.ndarray, share: np.ndarray) -> None:
    """``direction = correction + share * direction``, per load."""
    loads, _, size_z, size_y, size_x = direction.shape
    for task in prange(loads * size_z):
        load, k = task // size_z, task % size_z
        s = share[load]
        for component in range(3):
            for j in range(size_y):
                for i in range(size_x):
                    direction[load, component, k, j, i] = (
                        correction[load, component, k, j, i] + s * direction[load, component, k, j, i]
                    )

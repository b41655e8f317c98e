"""Products and Cholesky factors in place, while other threads run.

SciPy's own wrappers of these routines keep the interpreter locked, so that two trainings in two threads take turns; the
same routines called through the addresses that SciPy publishes for Cython do not.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np

from operando.dendrites.layers import Array

_LOWER, _TRANSPOSED, _PLAIN = (ctypes.byref(ctypes.c_char(letter)) for letter in (b"L", b"T", b"N"))
_ZERO, _ONE = (ctypes.byref(ctypes.c_double(number)) for number in (0.0, 1.0))


@functools.cache
def _routine(name: str) -> Callable[..., None]:
    """A BLAS or LAPACK routine of SciPy by name; ctypes releases the interpreter's lock while it runs."""
    from scipy.linalg import cython_blas, cython_lapack

    capsules = {**cython_lapack.__pyx_capi__, **cython_blas.__pyx_capi__}
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsules[name])
    arguments = signature.decode().count(",") + 1
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(get_pointer(capsules[name], signature))


@functools.lru_cache(maxsize=1024)
def _integer(value: int) -> object:
    return ctypes.byref(ctypes.c_int(value))


def add_product(a: Array, b: Array, out: Array, *, add: bool) -> None:
    """Write, or add, a b' into ``out`` (rows of a, rows of b), which may be a window of a larger array.

    Parameters
    ----------
    a, b : array, (rows, n)
        C-ordered.
    out : array, (rows of a, rows of b)
        Contiguous along its rows.
    add : bool
        Whether to add.

    Examples
    --------
    >>> import numpy as np
    >>> out = np.ones((1, 1))
    >>> add_product(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), out, add=True)
    >>> out.item()
    12.0
    """
    n = _integer(a.shape[1])
    _routine("dgemm")(
        _TRANSPOSED, _PLAIN, _integer(len(b)), _integer(len(a)), n, _ONE, b.ctypes.data, n, a.ctypes.data, n,
        _ONE if add else _ZERO, out.ctypes.data, _integer(out.strides[0] // out.itemsize),
    )  # fmt: skip


def add_square(a: Array, out: Array, *, add: bool) -> None:
    """Write, or add, the upper triangle of a a' into ``out`` (rows, rows); the rest stays as it is."""
    n = _integer(a.shape[1])
    _routine("dsyrk")(
        _LOWER, _TRANSPOSED, _integer(len(a)), n, _ONE, a.ctypes.data, n,
        _ONE if add else _ZERO, out.ctypes.data, _integer(out.strides[0] // out.itemsize),
    )  # fmt: skip


class Factor:
    """Room for the Cholesky factor of one matrix after the other, in one thread.

    Parameters
    ----------
    count : int
        Rows, N.

    Notes
    -----
    Matrices are C-ordered with their upper triangle in use and zeros below. To LAPACK, which counts along columns,
    that is the lower triangle.

    Examples
    --------
    Solving (1 diag(1, 3) + 1 I) x = (2, 8):

    >>> import numpy as np
    >>> factor = Factor(2)
    >>> factor.factorize(np.diag([1.0, 3.0]), scale=1.0, shift=1.0)
    True
    >>> factor.solve(np.array([2.0, 8.0])).round(9).tolist()
    [1.0, 2.0]
    >>> round(factor.trace_of_inverse(), 9)
    0.75
    """

    def __init__(self, count: int) -> None:
        self._matrix = np.zeros((count, count))
        self._flat = self._matrix.reshape(-1)
        self._diagonal = self._flat[:: count + 1]
        self._vector = np.zeros(count)
        self._info = ctypes.c_int(0)
        size, matrix, info = _integer(count), self._matrix.ctypes.data, ctypes.byref(self._info)
        self._potrf = (_LOWER, size, matrix, size, info)
        self._potrs = (_LOWER, size, _integer(1), matrix, size, self._vector.ctypes.data, size, info)
        self._trtri = (_LOWER, _PLAIN, size, matrix, size, info)

    def factorize(self, matrix: Array, *, scale: float, shift: float) -> bool:
        """Factor of scale * matrix + shift * I; whether there is one."""
        np.multiply(matrix, scale, out=self._matrix)
        self._diagonal += shift
        _routine("dpotrf")(*self._potrf)
        return self._info.value == 0

    def solve(self, right: Array) -> Array:
        """Solution for a right-hand side (N,); overwritten by the next one."""
        self._vector[:] = right
        _routine("dpotrs")(*self._potrs)
        return self._vector

    def trace_of_inverse(self) -> float:
        """Trace of the inverse of what was factorized: the squared norm of the inverse factor. Uses the factor up."""
        _routine("dtrtri")(*self._trtri)
        return float(self._flat @ self._flat)

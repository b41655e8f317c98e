"""What the Laplace approximation at the optimum says: a network's evidence and its error bars (MacKay 1992)."""

from __future__ import annotations

import math

import numpy as np

from operando.dendrites.layers import Array, Layers, backward, forward, jacobian

_BLOCK = 512


def posterior_factor(hessian: Array, alpha: float, beta: float) -> Array:
    """Lower Cholesky factor L of :math:`\\beta J^T J + \\alpha I` from the upper triangle of J'J (N, N)."""
    from scipy.linalg import LinAlgError, cholesky

    full = beta * np.asarray(hessian).T
    full[np.diag_indices_from(full)] += alpha
    try:
        return np.asarray(cholesky(full, lower=True, overwrite_a=True, check_finite=False))
    except LinAlgError:  # indefinite by rounding: the same matrix with its eigenvalues held above zero
        values, vectors = np.linalg.eigh(hessian, UPLO="U")
        root = vectors * np.sqrt(np.clip(values, 0.0, None) * beta + alpha)
        factor = np.asarray(np.linalg.qr(root.T, mode="r")).T
        return np.asarray(factor * np.where(np.diag(factor) < 0, -1.0, 1.0))


def log_evidence(factor: Array, *, objective: float, alpha: float, beta: float, n: int) -> float:
    """Logarithm of the probability of the targets given alpha, beta and the network.

    Parameters
    ----------
    factor : array, (N, N)
        Cholesky factor of :math:`A = \\beta J^T J + \\alpha I`.
    objective : float
        F at the optimum.
    alpha, beta : float
        Regularization.
    n : int
        Number of targets.

    Returns
    -------
    float
        :math:`-F - \\tfrac12 \\ln\\det A + \\tfrac N2 \\ln\\alpha + \\tfrac n2 \\ln(\\beta/\\pi)`

    Notes
    -----
    F is without factors of one half, so the noise of a target has the variance :math:`1/2\\beta`, a weight the prior
    variance :math:`1/2\\alpha` and the posterior the covariance :math:`A^{-1}/2`.

    Examples
    --------
    One weight, one target of 0 and J = 0: what is left is the density of the noise at 0, here 1 for its variance of
    1/(2 pi):

    >>> import numpy as np
    >>> abs(round(log_evidence(np.eye(1), objective=0.0, alpha=1.0, beta=np.pi, n=1), 12))
    0.0
    """
    half_determinant = float(np.sum(np.log(np.diag(factor))))
    count = len(factor)
    return -objective - half_determinant + 0.5 * count * math.log(alpha) + 0.5 * n * math.log(beta / math.pi)


def weight_variance(layers: Layers, weights: Array, factor: Array, inputs: Array) -> Array:
    """Variance of the predictions that comes from not knowing the weights, :math:`\\tfrac12 g^T A^{-1} g`.

    Parameters
    ----------
    layers : Layers
        Shape of the network.
    weights : array, (N,)
        The optimum.
    factor : array, (N, N)
        Cholesky factor of A.
    inputs : array, (1, features + 1, n)
        Where, with the row of ones.

    Returns
    -------
    array, (n,)
        In squared units of the (scaled) target. Memory: N x 512 derivatives at a time.
    """
    from scipy.linalg import solve_triangular

    variance = np.empty(inputs.shape[2])
    for first in range(0, inputs.shape[2], _BLOCK):
        part = slice(first, first + _BLOCK)
        _, entering = forward(layers, weights[None], inputs[..., part])
        gradients = jacobian(layers, backward(layers, weights[None], entering), entering)[0]
        solved = solve_triangular(factor, gradients, lower=True, check_finite=False)
        variance[part] = 0.5 * np.einsum("ij,ij->j", solved, solved)
    return variance

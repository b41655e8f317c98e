"""3-D renders of the lithium in a cell: smooth surfaces per component, without a display."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims, spacing
from operando.core.errors import InputError, MissingDependency, nearest, require
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.raycast import AMBIENT, DIFFUSE, LIGHTS, Camera, cast, framing_camera

_LEVEL = 0.4
RENDER_SIZE = (1200, 900)
_BACK_ENDS = ("auto", "pyvista", "numpy")


def phase_fractions(
    labels: xr.DataArray, phases: PhaseScheme, names: Sequence[str], *, largest: int
) -> tuple[dict[str, np.ndarray], int]:
    """Share of each phase in blocks of ``factor`` voxels an edge, so that no edge is longer than ``largest``.

    Parameters
    ----------
    labels : DataArray, dims (z, y, x)
        May be lazy; one slab of ``factor`` slices is held at a time.
    phases, names
        Which phases.
    largest : int
        Blocks along the longest edge at most.

    Returns
    -------
    (dict of name to float32 ndarray, int)
        The shares, and ``factor``. Up to ``factor - 1`` voxels at the upper faces are left out.

    Examples
    --------
    >>> cube = xr.DataArray(np.repeat([0, 1], 4).astype("uint8").reshape(2, 2, 2), dims=("z", "y", "x"))
    >>> shares, factor = phase_fractions(cube, PhaseScheme({"a": 0, "b": 1}), ["b"], largest=1)
    >>> float(shares["b"].item()), factor
    (0.5, 2)
    """
    shape = [labels.sizes[dim] for dim in SPACE]
    factor = min(max(1, -(-max(shape) // largest)), *shape)
    nz, ny, nx = (size // factor for size in shape)
    shares = {name: np.empty((nz, ny, nx), dtype=np.float32) for name in names}
    for k in range(nz):
        slab = labels.transpose(*SPACE).isel(z=slice(k * factor, (k + 1) * factor)).values
        slab = slab[:, : ny * factor, : nx * factor]
        for name in names:
            blocks = (slab == phases[name]).reshape(factor, ny, factor, nx, factor)
            shares[name][k] = blocks.mean(axis=(0, 2, 4), dtype=np.float32)
    return shares, factor


def render_volume(
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    scan: int = 0,
    components: Sequence[str] | None = None,
    opacity: Mapping[str, float] | None = None,
    largest: int = 224,
    size: tuple[int, int] = RENDER_SIZE,
    azimuth: float = -58.0,
    elevation: float = 18.0,
    scale_bar: bool = True,
    text_px: float | None = None,
    back_end: str = "auto",
) -> np.ndarray:
    """Render the surfaces of the components of one scan in perspective.

    Parameters
    ----------
    labels : DataArray, uint8, dims ([t,] z, y, x), coordinates in um
        May be lazy; the scan is read slab by slab.
    phases : PhaseScheme or mapping
    scan : int
        Position along ``t``.
    components : sequence of str, optional
        Which phases; default all but electrolyte and background.
    opacity : mapping of str to float, optional
        0 to 1 by component; default 0.14 for the electrode and 0.35 for voids, so that what grew between them shows
        through, and 1 for the rest.
    largest : int
        The volume is averaged to at most this many blocks an edge before surfaces are taken.
    size : (int, int)
        Width and height in pixels.
    azimuth, elevation : float
        Direction to the viewer in degrees: from the x axis towards y, and above the plane of the electrodes.
    scale_bar : bool
        Draw the bounding box with a bar along its lower front edge (with pyvista), and its length.
    text_px : float, optional
        Height of the text in pixels; default a 34th of the height of the picture.
    back_end : str
        ``pyvista``; ``numpy``, a ray caster that needs no OpenGL and is slower and softer; or ``auto``, which takes
        pyvista where OpenGL works without a display and NumPy where it does not.

    Returns
    -------
    ndarray, uint8, shape (height, width, 3)

    Raises
    ------
    UnitsError
        Where the voxel size is not known.
    MissingDependency
        Where pyvista is asked for and is not installed, or the machine has no OpenGL that draws without a display.

    Notes
    -----
    Surfaces are drawn where the share of a phase, smoothed by 0.9 block, crosses 0.4, and with pyvista are smoothed
    again (Taubin): they are for looking at. A feature thinner than one block is not shown. Nothing is measured on
    them.

    Memory: four bytes per block and component (45 MB per component at 224^3), and the surfaces.
    """
    scheme = PhaseScheme.of(phases)
    volume = labels.isel(t=scan) if "t" in labels.dims else labels
    require_dims(volume, SPACE, where="render_volume")
    edge = spacing(volume, where="render_volume")
    names = render_components(scheme, components)
    used = _back_end(back_end)
    shares, factor = phase_fractions(volume, scheme, names, largest=largest)
    shares = {name: _smoothed(share) for name, share in shares.items() if share.max() > 0}
    step = tuple(edge[dim] * factor for dim in ("x", "y", "z"))
    box = np.array([volume.sizes[dim] // factor for dim in ("x", "y", "z")]) * np.array(step)
    length = style.scale_bar_length(float(box[0]), fraction=0.5)
    before = (-0.06 if np.sin(np.radians(azimuth)) < 0 else 1.06) * box[1]
    bar = np.array([[0.0, before, 0.0], [length, before, 0.0]])
    below = bar.mean(axis=0) - np.array([0, 0, 0.03 * box.max()])
    corners = np.array([[x, y, z] for x in (0, box[0]) for y in (0, box[1]) for z in (0, box[2])])
    seen = np.concatenate([corners, bar, [below - np.array([0, 0, 0.04 * box.max()])]]) if scale_bar else corners
    camera = framing_camera(seen, box / 2, azimuth=azimuth, elevation=elevation, aspect=size[0] / size[1])
    alpha = {name: (opacity or {}).get(name, _opacity(name, scheme)) for name in shares}
    colors = {name: scheme.color(name) for name in shares}
    if not shares:
        pixels = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
    elif used == "pyvista":
        pixels = _draw_surfaces(shares, step, camera, colors, alpha, size, box, bar if scale_bar else None)
    else:
        pixels = _draw_rays(shares, step, camera, colors, alpha, size)
    texts = [(*camera.on_screen(below[None])[0], wording.length_text(length))] if scale_bar else []
    if style.is_simulated(labels):
        texts.append((0.99, 0.02, "simulated"))
    lines = [camera.on_screen(bar)] if scale_bar and used == "numpy" else []
    return _written(pixels, texts, lines, text_px=text_px or size[1] / 34)


def render_components(scheme: PhaseScheme, components: Sequence[str] | None) -> list[str]:
    """Names of what is drawn: those asked for, or all but electrolyte and background."""
    if components is None:
        return [n for n in scheme if scheme.role(n) != "electrolyte" and n != "background"]
    for name in components:
        if name not in scheme:
            raise InputError(f"render_volume: there is no component {name!r} to draw. {nearest(name, scheme)}")
    return list(components)


def _opacity(name: str, scheme: PhaseScheme) -> float:
    """The electrodes and what is empty let what grew between them show through."""
    if name == "electrode":
        return 0.14
    return 0.35 if scheme.role(name) == "void" else 1.0


def _smoothed(share: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    # Beyond the volume the phase goes on when it is smoothed, and ends when its surface is closed.
    return np.pad(gaussian_filter(share, 0.9, mode="nearest"), 1)


def _draw_surfaces(
    shares: Mapping[str, np.ndarray],
    step: Sequence[float],
    camera: Camera,
    colors: Mapping[str, str],
    alpha: Mapping[str, float],
    size: tuple[int, int],
    box: np.ndarray,
    bar: np.ndarray | None,
) -> np.ndarray:
    pyvista = require("pyvista", extra="report", purpose="operando.report.render_volume")
    with _quiet():
        plotter = pyvista.Plotter(off_screen=True, window_size=list(size), lighting="none")
        try:
            plotter.set_background("white")
            for name, share in shares.items():
                grid = pyvista.ImageData(
                    dimensions=share.shape[::-1], spacing=tuple(step), origin=tuple(-0.5 * s for s in step)
                )
                grid["share"] = share.ravel()
                surface = grid.contour([_LEVEL], scalars="share", method="flying_edges")
                if surface.n_points == 0:
                    continue
                plotter.add_mesh(
                    surface.smooth_taubin(n_iter=20, pass_band=0.1),
                    color=colors[name],
                    opacity=alpha[name],
                    smooth_shading=True,
                    ambient=AMBIENT,
                    diffuse=DIFFUSE,
                    specular=0.18 if alpha[name] >= 1.0 else 0.0,
                    specular_power=18,
                )
            for place, strength in LIGHTS:
                plotter.add_light(pyvista.Light(position=place, light_type="camera light", intensity=strength))
            if bar is not None:
                outline = pyvista.Box(bounds=(0, box[0], 0, box[1], 0, box[2]))
                plotter.add_mesh(
                    outline, style="wireframe", color=style.MUTED, line_width=size[0] / 900, lighting=False
                )
                line = pyvista.Line(*bar).tube(radius=0.006 * float(box.max()))
                plotter.add_mesh(line, color=style.INK, lighting=False)
            view = plotter.camera
            view.position, view.focal_point, view.up = tuple(camera.position), tuple(camera.focus), tuple(camera.up)
            view.view_angle = 2 * float(np.degrees(np.arctan(camera.half_height)))
            view.SetWindowCenter(*camera.shift)
            plotter.renderer.reset_camera_clipping_range()
            plotter.enable_depth_peeling(8)
            plotter.enable_anti_aliasing("ssaa")
            return np.ascontiguousarray(np.asarray(plotter.screenshot(return_img=True))[..., :3])
        finally:
            plotter.close()


def _draw_rays(
    shares: Mapping[str, np.ndarray],
    step: Sequence[float],
    camera: Camera,
    colors: Mapping[str, str],
    alpha: Mapping[str, float],
    size: tuple[int, int],
) -> np.ndarray:
    from matplotlib.colors import to_rgb

    pillow = require("PIL.Image", extra="report", purpose="operando.report.render_volume")
    # Half the resolution takes a quarter of the time, and surfaces this smooth lose little by it.
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    rgb = {name: to_rgb(color) for name, color in colors.items()}
    pixels = cast(shares, step, camera, colors=rgb, opacity=alpha, size=half, level=_LEVEL)
    return np.asarray(pillow.fromarray(pixels).resize(size, pillow.Resampling.LANCZOS))


@style.styled
def _written(
    pixels: np.ndarray,
    texts: Sequence[tuple[float, float, str]],
    lines: Sequence[np.ndarray],
    *,
    text_px: float,
) -> np.ndarray:
    """Write texts and lines into a picture, placed in fractions of it, in the font of the figures."""
    if not texts:
        return pixels
    from matplotlib.lines import Line2D

    height, width = pixels.shape[:2]
    dpi = 100
    figure = style.new_figure(25.4 * width / dpi, 25.4 * height / dpi)
    figure.set_layout_engine("none")
    figure.figimage(pixels)
    for line in lines:
        figure.add_artist(Line2D(line[:, 0], line[:, 1], color=style.INK, lw=text_px * 0.15))
    for x, y, text in texts:
        note = text == "simulated"
        figure.text(
            x,
            y,
            text,
            ha="right" if note else "center",
            va="bottom" if note else "top",
            fontsize=text_px * 72 / dpi,
            style="italic" if note else "normal",
            color=style.MUTED if note else style.INK,
        )
    return style.rgb_array(figure, dpi=dpi)


_PROBE = """
import pyvista
plotter = pyvista.Plotter(off_screen=True, window_size=[16, 16])
plotter.add_mesh(pyvista.Cube())
plotter.screenshot(return_img=True)
"""


def _back_end(wanted: str) -> str:
    if wanted not in _BACK_ENDS:
        raise InputError(
            f"render_volume: back_end must be one of {', '.join(_BACK_ENDS)}, got {wanted!r}. "
            f"{nearest(wanted, _BACK_ENDS)}"
        )
    if wanted == "numpy":
        return wanted
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        # Without a display VTK would first try X11 and print a warning before it turns to EGL.
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    require("pyvista", extra="report", purpose="operando.report.render_volume")
    fault = _opengl_fault()
    if not fault:
        return "pyvista"
    if wanted == "auto":
        return "numpy"
    raise MissingDependency(
        f"render_volume: pyvista needs OpenGL that draws without a display, but a trial {fault}. "
        "Install it (Debian and Ubuntu: apt install libegl1 libgl1 libgl1-mesa-dri) or use back_end='numpy'."
    )


@functools.cache
def _opengl_fault() -> str:
    """Why nothing can be drawn here, or an empty text.

    VTK does not raise where OpenGL is missing, it ends the process; so another process tries first (1 to 2 s, once).
    """
    try:
        tried = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"failed ({error})"
    if tried.returncode == 0:
        return ""
    return f"ended with signal {-tried.returncode}" if tried.returncode < 0 else "raised an error"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep VTK from writing its own messages to stderr while it draws."""
    logger = require("vtkmodules.vtkCommonCore", extra="report", purpose="operando.report.render_volume").vtkLogger
    before = logger.GetCurrentVerbosityCutoff()
    logger.SetStderrVerbosity(logger.VERBOSITY_OFF)
    try:
        yield
    finally:
        logger.SetStderrVerbosity(before)

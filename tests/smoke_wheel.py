"""Build the wheel, install it in a clean environment without extras, and use it as a stranger would."""

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
USE = textwrap.dedent(
    """
    import sys, time
    began = time.perf_counter()
    import operando
    assert time.perf_counter() - began < 0.5, "import operando takes too long"
    assert not {"torch", "matplotlib"} & set(sys.modules)
    import numpy as np
    image = operando.labeled_image(np.arange(24, dtype="uint8").reshape(2, 3, 4), voxel_size_um=1.33)
    operando.io.save_image(image, "image.zarr")
    again = operando.io.open_image("image.zarr")
    assert (again.values == image.values).all() and float(again.x[1]) == 1.33
    try:
        operando.segmentation.NetworkSegmenter().fit(image, image)
    except operando.OperandoError as error:
        assert "pip install 'operando[learn]'" in str(error), error
    else:
        raise AssertionError("a missing extra must say how to install it")
    """
)


def call(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", ROOT)
        (wheel,) = (folder / "dist").glob("*.whl")
        call(sys.executable, "-m", "venv", folder / "env")
        python = folder / "env" / "bin" / "python"
        call(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
        # olefile brings a module for Python 2, which Python 3 cannot compile and nobody imports.
        call(python, "-m", "compileall", "-q", "-x", "olefile2", folder / "env" / "lib")
        call(python, "-W", "error", "-c", "import operando", cwd=folder)
        call(python, "-c", USE, cwd=folder)
        version = call(folder / "env" / "bin" / "operando", "--version", cwd=folder).strip()
        print(f"{wheel.name}: installs without extras and works ({version})")


if __name__ == "__main__":
    main()

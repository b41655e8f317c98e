"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real data, which is not part of the repository: OPERANDO_DATA, or ../shared/data beside it."""
    folder = Path(os.environ.get("OPERANDO_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} does not exist (set OPERANDO_DATA)")
    return folder

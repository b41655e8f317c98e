import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operando.core.blocks import iter_blocks
from operando.core.errors import FileError, InputError, MissingDependency, OperandoError, RecipeError, nearest, require
from operando.core.files import written_whole
from operando.core.provenance import digest, file_digest, record
from operando.core.quantities import COLUMNS, interval, quantity_table


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=3),
)
def test_blocks_tile_an_array_exactly_once_and_read_their_halo(axes):
    shape, block, halo = zip(*axes, strict=True)
    counted = np.zeros(shape, dtype=int)
    source = np.arange(counted.size).reshape(shape)
    for part in iter_blocks(shape, block, halo):
        counted[part.core] += 1
        np.testing.assert_array_equal(source[part.read][part.inner], source[part.core])
    assert (counted == 1).all()


def test_a_block_of_zero_is_refused():
    with pytest.raises(InputError, match="block size >= 1"):
        list(iter_blocks((4,), (0,)))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "store.zarr"
    for content in ("one", "two"):
        with written_whole(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]


def test_an_existing_output_is_kept_unless_asked(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileError, match="overwrite=True"), written_whole(tmp_path / "a.txt", overwrite=False):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_the_table_has_its_columns_and_defaults():
    table = quantity_table([{"component": "pit", "quantity": "volume", "value": 1, "unit": "um3"}])
    assert tuple(table.columns) == COLUMNS
    assert table.loc[0, "scan"] == -1
    assert np.isnan(table.loc[0, "sigma"])


def test_a_row_with_a_missing_or_misspelt_field_is_named():
    with pytest.raises(InputError, match=r"row 1 .*missing \['unit'\], unknown \['units'\]"):
        quantity_table(
            [
                {"component": "pit", "quantity": "volume", "value": 1, "unit": "um3"},
                {"component": "pit", "quantity": "volume", "value": 1, "units": "um3"},
            ]
        )


def test_a_negative_sigma_is_refused():
    with pytest.raises(InputError, match="sigma must not be negative"):
        quantity_table([{"component": "a", "quantity": "volume", "value": 1, "unit": "um3", "sigma": -1}])


def test_the_95_percent_interval_is_1_96_sigma_wide_on_each_side():
    table = quantity_table([{"component": "a", "quantity": "volume", "value": 5, "unit": "um3", "sigma": 2}])
    row = interval(table).loc[0]
    assert (row["high"] - 5) / 2 == pytest.approx(1.959964, abs=1e-6)
    assert 5 - row["low"] == pytest.approx(row["high"] - 5)


def test_every_error_of_ours_is_also_the_builtin_one():
    assert issubclass(FileError, OSError)
    assert issubclass(InputError, ValueError)
    assert issubclass(MissingDependency, ImportError)
    assert issubclass(RecipeError, OperandoError)


def test_a_recipe_error_lists_every_fault():
    error = RecipeError(["a: one", "b: two"], where="run.yaml")
    assert str(error) == "run.yaml: 2 faults\n  - a: one\n  - b: two"


def test_a_missing_extra_names_the_pip_line():
    with pytest.raises(MissingDependency, match=r"pip install 'operando\[learn\]'"):
        require("a_module_that_is_not_there", extra="learn", purpose="training")


def test_a_word_far_from_everything_lists_what_is_known():
    assert nearest("qqqq", ["b", "a"]) == "Known: 'a', 'b'."


def test_digests_do_not_depend_on_key_order_but_on_values():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_a_file_digest_changes_with_its_content_size(tmp_path):
    path = tmp_path / "a"
    path.write_text("x")
    before = file_digest(path)
    path.write_text("xy")
    assert file_digest(path) != before


def test_a_provenance_record_is_json():
    entry = json.loads(record("otsu", {"path": Path("a")}, inputs={"image": "abc"}))
    assert entry["parameters"] == {"path": "a"}
    assert entry["inputs"] == {"image": "abc"}


def test_import_loads_neither_torch_nor_a_plotting_library():
    code = (
        "import sys, operando; operando.PhaseScheme({'a': 0}); "
        "print([m for m in ('torch', 'monai', 'matplotlib', 'pyvista', 'xarray', 'skimage') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

import pytest

from operando.pipeline.planning import plan
from operando.pipeline.step import Step, derived_seed


def chain(**changes):
    """Three steps, each reading the one before."""
    first = {"name": "a", "title": "A", "function": print, "outputs": ("a.json",), "parameters": {"n": 1}}
    second = {"name": "b", "title": "B", "function": print, "inputs": ("a.json",), "outputs": ("b.json",)}
    third = {"name": "c", "title": "C", "function": print, "inputs": ("b.json",), "outputs": ("c.json",)}
    for fields in (first, second, third):
        fields.update(changes.get(fields["name"], {}))
    return [Step(**fields) for fields in (first, second, third)]


def finished(steps):
    return {item.step.name: item.fingerprint for item in plan(steps).steps}


def test_a_plan_without_results_runs_everything_in_order():
    assert [item.step.name for item in plan(chain()).pending] == ["a", "b", "c"]


def test_a_step_whose_fingerprint_matches_is_not_run_again():
    assert plan(chain(), finished=finished(chain())).pending == ()


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ({"a": {"parameters": {"n": 2}}}, ["a", "b", "c"]),
        ({"b": {"version": 2}}, ["b", "c"]),
        ({"c": {"parameters": {"k": 1}}}, ["c"]),
        ({"b": {"bytes_in_memory": 10**9, "seconds": 5.0}}, []),
    ],
)
def test_a_change_runs_what_is_downstream_of_it_and_nothing_else(change, rerun):
    planned = plan(chain(**change), finished=finished(chain()))
    assert [item.step.name for item in planned.pending] == rerun


def test_a_changed_outside_file_runs_its_step_again(tmp_path):
    source = tmp_path / "in.tif"
    source.write_text("one")
    steps = chain(a={"files": (source,)})
    before = finished(steps)
    assert plan(steps, finished=before).pending == ()
    source.write_text("two!")
    assert [item.step.name for item in plan(steps, finished=before).pending] == ["a", "b", "c"]


def test_an_input_that_nobody_makes_is_a_fault_of_the_recipe():
    with pytest.raises(ValueError, match="'b' reads 'a.json', which no earlier step makes"):
        plan(chain()[1:])


def test_two_steps_cannot_share_a_name_or_an_output():
    a = chain()[0]
    with pytest.raises(ValueError, match="'a' twice"):
        plan([a, a])
    with pytest.raises(ValueError, match=r"made by both 'a' and 'z'"):
        plan([a, Step(name="z", title="Z", function=print, outputs=("a.json",))])


def test_an_estimate_takes_the_largest_memory_and_sums_disk_and_time():
    steps = chain(
        a={"bytes_in_memory": 5, "bytes_on_disk": 1, "seconds": 2.0},
        b={"bytes_in_memory": 9, "bytes_on_disk": 2, "seconds": 3.0},
    )
    assert plan(steps).estimate() == {"memory_bytes": 9, "disk_bytes": 3, "seconds": 5.0}
    done = {"a": finished(steps)["a"]}
    assert plan(steps, finished=done).estimate()["seconds"] == 3.0


def test_a_plan_is_printable_rows():
    rows = plan(chain()).table()
    assert [row["status"] for row in rows] == ["to run"] * 3
    assert len({row["fingerprint"] for row in rows}) == 3


def test_seeds_of_parts_differ_and_repeat():
    seeds = [derived_seed(0, "train", block) for block in range(50)]
    assert len(set(seeds)) == 50
    assert seeds == [derived_seed(0, "train", block) for block in range(50)]

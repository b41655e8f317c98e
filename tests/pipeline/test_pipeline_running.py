import json
import os
import subprocess
import sys
import textwrap

import pytest

from operando.core.errors import FileError, InputError, RunError
from operando.pipeline.running import execute, finished_steps
from operando.pipeline.step import Listener, Step


def writer(text, *, calls=None, fault=None):
    """A step function that writes ``text`` after what it reads, and may fail half way."""

    def function(task):
        if calls is not None:
            calls.append(task.step.name)
        read = "".join(task.path(name).read_text() for name in task.step.inputs)
        with task.writing(task.step.outputs[0]) as path:
            path.write_text(read)
            if fault is not None:
                raise fault
            path.write_text(read + text)

    return function


def steps(calls=None, *, fault=None, text="b"):
    return [
        Step("a", "A", writer("a", calls=calls), outputs=("a.txt",)),
        Step(
            "b",
            "B",
            writer(text, calls=calls, fault=fault),
            inputs=("a.txt",),
            outputs=("b.txt",),
            parameters={"t": text},
        ),
        Step("c", "C", writer("c", calls=calls), inputs=("b.txt",), outputs=("c.txt",)),
    ]


def test_a_run_writes_results_states_log_and_provenance(tmp_path):
    execute(steps(), tmp_path, settings={"seed": 1})
    assert (tmp_path / "c.txt").read_text() == "abc"
    assert set(finished_steps(tmp_path, steps())) == {"a", "b", "c"}
    assert "c: done" in (tmp_path / "log.txt").read_text()
    assert json.loads((tmp_path / "provenance.json").read_text())["settings"] == {"seed": 1}


def test_repeating_a_finished_run_runs_nothing(tmp_path):
    calls = []
    execute(steps(calls), tmp_path)
    execute(steps(calls), tmp_path)
    assert calls == ["a", "b", "c"]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    calls = []
    with pytest.raises(RunError, match=r"step b: stopped by an unexpected ZeroDivisionError.*log.txt"):
        execute(steps(calls, fault=ZeroDivisionError("no")), tmp_path / "resumed")
    assert not (tmp_path / "resumed" / "b.txt").exists()
    execute(steps(calls), tmp_path / "resumed")
    execute(steps(), tmp_path / "whole")
    assert calls == ["a", "b", "b", "c"]
    assert (tmp_path / "resumed" / "c.txt").read_text() == (tmp_path / "whole" / "c.txt").read_text()


def test_a_failed_step_leaves_no_half_result(tmp_path):
    with pytest.raises(InputError, match="say what"):
        execute(steps(fault=InputError("say what")), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["a.txt", "log.txt"]
    assert not list(tmp_path.glob(".*partial*"))


def test_a_failing_rerun_does_not_count_the_old_result_as_finished(tmp_path):
    execute(steps(), tmp_path)
    with pytest.raises(RunError):
        execute(steps(fault=ZeroDivisionError("no"), text="B"), tmp_path)
    assert set(finished_steps(tmp_path, steps())) == {"a", "c"}
    execute(steps(text="B"), tmp_path)
    assert (tmp_path / "c.txt").read_text() == "aBc"


def test_a_deleted_result_is_made_again(tmp_path):
    calls = []
    execute(steps(calls), tmp_path)
    (tmp_path / "b.txt").unlink()
    execute(steps(calls), tmp_path)
    assert calls == ["a", "b", "c", "b"]


def test_a_broken_state_file_counts_as_not_finished(tmp_path):
    execute(steps(), tmp_path)
    (tmp_path / "steps" / "b.json").write_text("{")
    assert set(finished_steps(tmp_path, steps())) == {"a", "c"}


def test_out_of_memory_says_what_to_lower(tmp_path):
    with pytest.raises(RunError, match=r"out of memory.*smaller 'block'"):
        execute(steps(fault=MemoryError()), tmp_path)


def test_a_step_that_does_not_write_what_it_declares_is_found_out(tmp_path):
    lazy = Step("a", "A", lambda task: None, outputs=("a.txt",))
    with pytest.raises(RunError, match=r"should have written \['a.txt'\]"):
        execute([lazy], tmp_path)


def test_a_step_cannot_read_or_write_what_it_did_not_declare(tmp_path):
    reads = Step("a", "A", lambda task: task.path("x.txt"), outputs=("a.txt",))
    writes = Step("a", "A", lambda task: task.writing("x.txt"), outputs=("a.txt",))
    for step in (reads, writes):
        with pytest.raises(RunError, match="without declaring it"):
            execute([step], tmp_path)


def test_a_killed_run_is_resumed_and_a_second_one_at_a_time_is_refused(tmp_path):
    code = textwrap.dedent(
        """
        import os, sys, time
        from operando.pipeline import Step, execute

        def sleep(task):
            print("ready", flush=True)
            time.sleep(60)

        def first(task):
            with task.writing("a.txt") as path:
                path.write_text("a")

        execute([Step("a", "A", first, outputs=("a.txt",)), Step("b", "B", sleep, outputs=("b.txt",))], sys.argv[1])
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(FileError, match="another run is working in this folder"):
            execute(steps(), tmp_path)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    calls = []
    execute([Step("a", "A", writer("a", calls=calls), outputs=("a.txt",)), *steps(calls)[1:]], tmp_path)
    assert calls == ["b", "c"]


def test_the_listener_hears_every_step_once(tmp_path):
    heard = []

    class Ears(Listener):
        def step_started(self, step):
            heard.append(("started", step.name))

        def step_skipped(self, step):
            heard.append(("skipped", step.name))

        def step_finished(self, step, seconds):
            assert seconds >= 0
            heard.append(("finished", step.name))

    execute(steps()[:1], tmp_path, listener=Ears())
    execute(steps()[:2], tmp_path, listener=Ears())
    assert heard == [("started", "a"), ("finished", "a"), ("skipped", "a"), ("started", "b"), ("finished", "b")]


@pytest.mark.skipif(os.name != "posix", reason="a file where a folder should be behaves so on POSIX")
def test_a_run_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="run folder cannot be made"):
        execute(steps(), tmp_path / "file" / "run")


def test_what_a_killed_writer_left_is_swept_away(tmp_path):
    execute(steps()[:1], tmp_path)
    (tmp_path / ".b.123.partial.zarr").mkdir()
    (tmp_path / ".b.123.partial.zarr" / "chunk").write_text("half")
    execute(steps(), tmp_path)
    assert not list(tmp_path.glob(".*partial*"))


def test_a_refused_second_run_does_not_touch_the_recipe_of_the_first(tmp_path):
    import fcntl

    execute(steps(), tmp_path, recipe="first")
    with open(tmp_path / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(FileError, match="another run"):
            execute(steps(), tmp_path, recipe="second")
    assert (tmp_path / "recipe.yaml").read_text() == "first"

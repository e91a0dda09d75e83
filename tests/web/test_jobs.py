"""The queue: one job for one question, stopped when nobody looks any more; results kept within a bound."""

import threading
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.engine.context.metering import report_progress
from convscope.errors import ModelFailed, ParameterError
from convscope.values import Attribution, Value
from convscope.web.jobs.job import Job, State, Together
from convscope.web.jobs.results import Results, weight_of
from convscope.web.jobs.workers import FORGOTTEN, Jobs
from convscope.web.url_state import View
from tests.patience import PATIENCE, wait_until


@pytest.fixture
def jobs():
    made = Jobs()
    yield made
    made.close()


def value(numbers: int = 1000) -> Attribution:
    return Attribution(values=np.zeros((1, numbers), np.float32))


def stepping(begun: threading.Event, ended: threading.Event | None = None):
    """Work of many steps that can be stopped at each; it goes on until it is stopped or ``ended`` is set."""
    ended = ended or threading.Event()

    def work() -> Value:
        begun.set()
        while not ended.wait(0.005):
            report_progress(1, 2000)
        return value()

    return work


def test_two_tabs_watch_one_job(jobs):
    begun, ended = threading.Event(), threading.Event()
    first = jobs.submit("same", stepping(begun, ended))
    second = jobs.submit("same", lambda: pytest.fail("computed twice"))
    assert first is second
    jobs.watch(first)
    jobs.watch(first)
    assert begun.wait(PATIENCE)
    jobs.leave(first)
    assert not first.stopping
    ended.set()
    assert first.finished.wait(PATIENCE)
    assert first.state is State.DONE


def test_the_last_who_leaves_stops_the_work(jobs):
    begun = threading.Event()
    job = jobs.submit("k", stepping(begun))
    jobs.watch(job)
    assert begun.wait(PATIENCE)
    jobs.leave(job)
    assert job.finished.wait(PATIENCE)
    assert job.state is State.CANCELLED
    assert jobs.results.get("k") is None


def test_what_waits_is_stopped_before_it_begins():
    jobs = Jobs(workers=1)
    begun, ended = threading.Event(), threading.Event()
    jobs.submit("before", stepping(begun, ended))
    waiting = jobs.submit("waits", lambda: pytest.fail("it was cancelled"))
    waiting.cancel()
    ended.set()
    assert waiting.finished.wait(PATIENCE)
    assert waiting.state is State.CANCELLED
    jobs.close()


def test_who_asks_again_after_it_was_stopped_gets_a_new_job(jobs):
    begun = threading.Event()
    stopped = jobs.submit("k", stepping(begun))
    assert begun.wait(PATIENCE)
    stopped.cancel()
    again = jobs.submit("k", value)
    assert again is not stopped
    assert again.finished.wait(PATIENCE)
    assert again.state is State.DONE


def test_what_was_found_is_kept(jobs):
    first = jobs.submit("k", value)
    assert first.finished.wait(PATIENCE)
    second = jobs.submit("k", lambda: pytest.fail("it was kept"))
    assert second is not first
    assert second.value is first.value


@pytest.mark.parametrize(
    ("error", "sentence", "refused"),
    [
        (ParameterError("samples must be 1 to 9"), "samples must be 1 to 9", True),
        (ModelFailed("the network raised"), "the network raised", False),
        (ZeroDivisionError("oh"), "unexpected ZeroDivisionError: oh", False),
    ],
    ids=["refused", "model", "unexpected"],
)
def test_a_failure_is_one_sentence_and_workers_live_on(jobs, error, sentence, refused):
    def fail() -> Value:
        raise error

    for number in range(5):  # more than there are workers
        job = jobs.submit(f"bad {number}", fail)
        assert job.finished.wait(PATIENCE)
        assert (job.state, job.error, job.refused) == (State.FAILED, sentence, refused)
    assert jobs.submit("good", value).finished.wait(PATIENCE)


def test_whoever_waits_is_called_once(jobs):
    called = []
    job = jobs.submit("k", value)
    job.when_finished(lambda: called.append("while"))
    assert job.finished.wait(PATIENCE)
    job.when_finished(lambda: called.append("after"))
    wait_until(lambda: len(called) >= 2)
    assert sorted(called) == ["after", "while"]


def test_progress_and_pictures_are_seen_while_it_runs(jobs, monkeypatch):
    model, watched, seen, note = cs.load("bundled:digits"), threading.Event(), [], Job._seen

    def noting(self: Job, *told: Any) -> None:
        note(self, *told)
        seen.append(self.preview is not None)

    def work() -> Value:
        assert watched.wait(PATIENCE)
        return cs.activation_maximization(model, unit="8", steps=40)

    monkeypatch.setattr(Job, "_seen", noting)
    job = jobs.submit("k", work)
    jobs.watch(job)
    watched.set()
    assert job.finished.wait(PATIENCE)
    assert job.state is State.DONE
    assert job.progress == (40, 40)
    assert len(job.scores) == 40
    assert seen == [True] * 40
    assert job.preview is None


def test_old_jobs_are_forgotten():
    jobs = Jobs()
    first = jobs.submit("0", value)
    for number in range(1, FORGOTTEN + 5):
        assert jobs.submit(str(number), value).finished.wait(PATIENCE)
    assert jobs.get(first.id) is None
    jobs.close()


def test_results_stay_within_their_bound():
    weight = weight_of(value())
    results = Results(bound=3 * weight)
    for number in range(10):
        results.put(str(number), value())
        assert results.size <= results.bound
    assert [key for key in map(str, range(10)) if results.get(key)] == ["7", "8", "9"]
    results.get("7")
    results.put("10", value())
    assert results.get("7") is not None, "what was used last is let go last"
    assert results.get("8") is None


def test_what_is_larger_than_the_bound_is_not_kept_and_pushes_nothing_out():
    results = Results(bound=20_000)
    results.put("small", value())
    results.put("large", value(1_000_000))
    assert results.get("large") is None
    assert results.get("small") is not None


def test_a_value_weighs_what_its_numbers_take():
    model = cs.load("bundled:shapes")
    found = cs.grad_cam(model, "sample:shapes/7")
    assert weight_of(found) > found.values.nbytes + 3 * 96 * 96 * 4, "the photo counts too"


def test_a_job_that_nobody_started_is_not_known(jobs):
    assert jobs.get("77") is None
    assert isinstance(jobs.submit("k", value), Job)


@pytest.fixture
def one_worker():
    """A queue whose only worker is busy until ``ended`` is set, so that work piles up."""
    made, begun, ended = Jobs(workers=1), threading.Event(), threading.Event()
    made.submit("busy", stepping(begun, ended))
    assert begun.wait(PATIENCE)
    yield made, ended
    ended.set()
    made.close()


def test_what_waits_and_is_alike_is_done_in_one_go(one_worker):
    jobs, ended = one_worker
    seen = []

    def many(things):
        seen.append(list(things))
        return [value(thing) for thing in things]

    alike = [jobs.submit(f"a{n}", lambda: pytest.fail("alone"), Together("a", n, many)) for n in range(1, 6)]
    other = jobs.submit("b", value, Together("b", 1, many))
    alike[2].cancel()
    ended.set()
    assert all(job.finished.wait(PATIENCE) for job in (*alike, other))
    assert seen == [[1, 2, 4, 5]]
    assert alike[2].state is State.CANCELLED
    assert [job.value.values.size for job in alike if job.value is not None] == [1, 2, 4, 5]
    assert other.state is State.DONE
    assert jobs.submit("a1", lambda: pytest.fail("it was kept")).value is alike[0].value


def test_one_at_fault_among_several_fails_alone(one_worker):
    jobs, ended = one_worker

    def many(things):
        raise ParameterError("one of them is at fault")

    def fault():
        raise ParameterError("it was me")

    good, bad = jobs.submit("g", value, Together("a", 1, many)), jobs.submit("f", fault, Together("a", 2, many))
    ended.set()
    assert good.finished.wait(PATIENCE)
    assert bad.finished.wait(PATIENCE)
    assert (good.state, bad.state, bad.error) == (State.DONE, State.FAILED, "it was me")


def test_what_is_soon_done_does_not_wait_for_what_takes_long(bench):
    draws = View(lens="activation-maximization", parameters={"steps": 2000})
    drawings = [bench.look(draws.but(unit=(str(n),))) for n in range(4)]
    wait_until(lambda: drawings[0].scores)
    quick = [bench.look(View(lens="grad-cam", image=f"sample:shapes/{n}")) for n in range(4)]
    assert all(job.finished.wait(PATIENCE) for job in quick)
    assert not any(job.over for job in drawings)
    for job in drawings:
        job.cancel()

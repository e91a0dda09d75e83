"""Background jobs: equal requests share a job, unwatched jobs stop, results are cached within a limit."""

import queue
import threading
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.engine.context.metering import report_progress
from convscope.errors import InputNotAccepted, ModelFailed, ParameterError
from convscope.values import Attribution, Value
from convscope.web.jobs.job import BatchSpec, Job, State
from convscope.web.jobs.results import ResultCache, size_in_bytes
from convscope.web.jobs.workers import MAX_JOBS, JobManager
from convscope.web.requests.url_state import View
from tests.waiting import TIMEOUT, wait_for_progress


@pytest.fixture
def jobs():
    manager = JobManager()
    yield manager
    manager.close()


def value(numbers: int = 1000) -> Attribution:
    return Attribution(values=torch.zeros(1, numbers))


def stepping(begun: threading.Event, ended: threading.Event | None = None):
    """Work that reports steps until it is cancelled or ``ended`` is set."""
    ended = ended or threading.Event()

    def work() -> Value:
        begun.set()
        while not ended.wait(0.005):
            report_progress(1, 2000)
        return value()

    return work


def test_two_watchers_share_one_job(jobs):
    begun, ended = threading.Event(), threading.Event()
    first = jobs.submit("same", stepping(begun, ended))
    second = jobs.submit("same", lambda: pytest.fail("computed twice"))
    assert first is second
    jobs.watch(first)
    jobs.watch(first)
    assert begun.wait(TIMEOUT)
    jobs.unwatch(first)
    assert not first.stop_requested
    ended.set()
    assert first.finished.wait(TIMEOUT)
    assert first.state is State.DONE


def test_last_watcher_to_leave_stops_the_job(jobs):
    begun = threading.Event()
    job = jobs.submit("k", stepping(begun))
    jobs.watch(job)
    assert begun.wait(TIMEOUT)
    jobs.unwatch(job)
    assert job.finished.wait(TIMEOUT)
    assert job.state is State.CANCELLED
    assert jobs.results.get("k") is None


def test_waiting_job_can_be_cancelled():
    jobs = JobManager(workers=1)
    begun, ended = threading.Event(), threading.Event()
    jobs.submit("before", stepping(begun, ended))
    waiting = jobs.submit("waits", lambda: pytest.fail("it was cancelled"))
    waiting.cancel()
    ended.set()
    assert waiting.finished.wait(TIMEOUT)
    assert waiting.state is State.CANCELLED
    jobs.close()


def test_request_after_a_cancelled_job_gets_a_new_one(jobs):
    begun = threading.Event()
    stopped = jobs.submit("k", stepping(begun))
    assert begun.wait(TIMEOUT)
    stopped.cancel()
    second_job = jobs.submit("k", value)
    assert second_job is not stopped
    assert second_job.finished.wait(TIMEOUT)
    assert second_job.state is State.DONE


def test_results_are_cached(jobs):
    first = jobs.submit("k", value)
    assert first.finished.wait(TIMEOUT)
    second = jobs.submit("k", lambda: pytest.fail("it was kept"))
    assert second is not first
    assert second.value is first.value


@pytest.mark.parametrize(
    ("error", "sentence", "refused"),
    [
        (ParameterError("samples must be 1 to 9"), "samples must be 1 to 9", True),
        (ModelFailed("the network raised"), "the network raised", False),
        (InputNotAccepted("the input is too short"), "the input is too short", True),
        (ZeroDivisionError("oh"), "unexpected ZeroDivisionError: oh", False),
    ],
    ids=["refused", "model", "input", "unexpected"],
)
def test_failure_is_reported_and_workers_survive(jobs, error, sentence, refused):
    def fail() -> Value:
        raise error

    for number in range(5):  # more than there are workers
        job = jobs.submit(f"bad {number}", fail)
        assert job.finished.wait(TIMEOUT)
        assert (job.state, job.error, job.refused) == (State.FAILED, sentence, refused)
    assert jobs.submit("good", value).finished.wait(TIMEOUT)


def test_done_callbacks_are_called_once(jobs):
    calls: queue.Queue[str] = queue.Queue()
    job = jobs.submit("k", value)
    job.add_done_callback(lambda: calls.put("while"))
    assert job.finished.wait(TIMEOUT)
    job.add_done_callback(lambda: calls.put("after"))
    assert {calls.get(timeout=TIMEOUT), calls.get(timeout=TIMEOUT)} == {"after", "while"}
    jobs.close()
    assert calls.empty()


def test_progress_and_previews_while_running(jobs, monkeypatch):
    model, watched, has_preview, note = cs.load("bundled:digits"), threading.Event(), [], Job._on_step

    def noting(self: Job, *arguments: Any) -> None:
        note(self, *arguments)
        has_preview.append(self.preview is not None)

    def work() -> Value:
        assert watched.wait(TIMEOUT)
        return cs.activation_maximization(model, unit="8", steps=40)

    monkeypatch.setattr(Job, "_on_step", noting)
    job = jobs.submit("k", work)
    jobs.watch(job)
    watched.set()
    assert job.finished.wait(TIMEOUT)
    assert job.state is State.DONE
    assert job.progress == (40, 40)
    assert len(job.scores) == 40
    assert has_preview == [True] * 40
    assert job.preview is None


def test_old_jobs_are_removed():
    jobs = JobManager()
    first = jobs.submit("0", value)
    for number in range(1, MAX_JOBS + 5):
        assert jobs.submit(str(number), value).finished.wait(TIMEOUT)
    assert jobs.get(first.id) is None
    jobs.close()


def test_cache_stays_within_its_limit():
    weight = size_in_bytes(value())
    results = ResultCache(max_bytes=3 * weight)
    for number in range(10):
        results.put(str(number), value())
        assert results.size <= 3 * weight
    assert [key for key in map(str, range(10)) if results.get(key)] == ["7", "8", "9"]
    results.get("7")
    results.put("10", value())
    assert results.get("7") is not None, "what was used last is let go last"
    assert results.get("8") is None


def test_value_larger_than_the_cache_is_not_kept():
    results = ResultCache(max_bytes=20_000)
    results.put("small", value())
    results.put("large", value(1_000_000))
    assert results.get("large") is None
    assert results.get("small") is not None


def test_size_in_bytes_counts_all_arrays():
    model = cs.load("bundled:shapes")
    attribution = cs.grad_cam(model, "sample:shapes/7")
    assert size_in_bytes(attribution) > attribution.values.nbytes + 3 * 96 * 96 * 4, "the photo counts too"


def test_unknown_job_id(jobs):
    assert jobs.get("77") is None
    assert isinstance(jobs.submit("k", value), Job)


@pytest.fixture
def one_worker():
    """A job manager whose only worker is busy until ``ended`` is set, so that jobs queue up."""
    manager, begun, ended = JobManager(workers=1), threading.Event(), threading.Event()
    manager.submit("busy", stepping(begun, ended))
    assert begun.wait(TIMEOUT)
    yield manager, ended
    ended.set()
    manager.close()


def test_waiting_jobs_of_one_group_run_as_one_batch(one_worker):
    jobs, ended = one_worker
    batches = []

    def run_batch(items):
        batches.append(list(items))
        return [value(item) for item in items]

    alike = [jobs.submit(f"a{n}", lambda: pytest.fail("alone"), BatchSpec("a", n, run_batch)) for n in range(1, 6)]
    other = jobs.submit("b", value, BatchSpec("b", 1, run_batch))
    alike[2].cancel()
    ended.set()
    assert all(job.finished.wait(TIMEOUT) for job in (*alike, other))
    assert batches == [[1, 2, 4, 5]]
    assert alike[2].state is State.CANCELLED
    assert [job.value.values.numel() for job in alike if job.value is not None] == [1, 2, 4, 5]
    assert other.state is State.DONE
    assert jobs.submit("a1", lambda: pytest.fail("it was kept")).value is alike[0].value


def test_failing_job_of_a_batch_fails_alone(one_worker):
    jobs, ended = one_worker

    def run_batch(items):
        raise ParameterError("one of them is at fault")

    def fault():
        raise ParameterError("it was me")

    good, bad = (
        jobs.submit("g", value, BatchSpec("a", 1, run_batch)),
        jobs.submit("f", fault, BatchSpec("a", 2, run_batch)),
    )
    ended.set()
    assert good.finished.wait(TIMEOUT)
    assert bad.finished.wait(TIMEOUT)
    assert (good.state, bad.state, bad.error) == (State.DONE, State.FAILED, "it was me")


def test_quick_jobs_do_not_wait_for_long_ones(services):
    draws = View(lens="activation-maximization", parameters={"steps": 2000})
    drawings = [services.submit(draws.replace(unit=(str(n),))) for n in range(4)]
    wait_for_progress(drawings[0], lambda job: job.scores)
    quick = [services.submit(View(lens="grad-cam", image=f"sample:shapes/{n}")) for n in range(4)]
    assert all(job.finished.wait(TIMEOUT) for job in quick)
    assert not any(job.is_finished for job in drawings)
    for job in drawings:
        job.cancel()

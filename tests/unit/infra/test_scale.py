"""The ideal queue that the benchmark compares with, and what it submits."""

import random

from tests.benchmarks.scale import LOAD, SHARING_WORKERS, SLOTS, arrivals, ideal_waits


def test_the_ideal_queue_gives_each_job_in_turn_the_slot_that_is_free_first() -> None:
    jobs = [(0.0, 2.0), (0.0, 1.0), (0.5, 1.0), (0.6, 0.1), (5.0, 1.0)]
    assert ideal_waits(jobs, slots=2) == [0.0, 0.0, 0.5, 1.4, 0.0]


def test_who_came_first_is_first_however_the_jobs_are_listed() -> None:
    assert ideal_waits([(1.0, 1.0), (0.0, 3.0)], slots=1) == [2.0, 0.0]


def test_arrivals_load_the_slots_as_they_should_and_are_the_same_for_a_seed() -> None:
    jobs = list(arrivals(random.Random(1), 2000.0))
    work_s = sum(job.takes_s for job in jobs)
    assert abs(work_s / 2000.0 / (SHARING_WORKERS * SLOTS) - LOAD) < 0.02
    assert jobs == list(arrivals(random.Random(1), 2000.0))

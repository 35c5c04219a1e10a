"""Waits and evaluations that go on at the same time, in one thread.

A task is a generator: it does what is due, yields the seconds until it wants to go on, and
returns its result. So the traffic stays evaluated whatever else a step waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from tarsrelease.gates import evaluation_times
from tarsrelease.ports.clock import Clock

T = TypeVar("T")
Task = Generator[float, None, T]

_SHORTEST = 0.01


def first_of(clock: Clock, *tasks: Task[Any]) -> tuple[Task[Any], Any]:
    """Go on with the tasks in turn until one ends: that task and its result.

    The others can go on later. Raises what a task raises.
    """
    due = dict.fromkeys(tasks, clock.now().timestamp())
    while True:
        for task in tasks:
            if clock.now().timestamp() >= due[task]:
                try:
                    wait = next(task)
                except StopIteration as end:
                    return task, end.value
                due[task] = clock.now().timestamp() + wait
        clock.sleep(max(_SHORTEST, min(due.values()) - clock.now().timestamp()))


def result_of(clock: Clock, task: Task[T]) -> T:
    """The result of one task."""
    result: T = first_of(clock, task)[1]
    return result


def asked_until_answered(answer: Callable[[], T | None]) -> Task[T]:
    """Call `answer` once a tick until it returns a value."""
    while (given := answer()) is None:
        yield evaluation_times.TICK
    return given


def with_each_tick(task: Task[T], each_tick: Callable[[], None]) -> Task[T]:
    """The task, with `each_tick` called whenever it yields."""
    while True:
        try:
            wait = next(task)
        except StopIteration as end:
            result: T = end.value
            return result
        each_tick()
        yield wait

"""Waits and evaluations that go on at the same time, in one thread.

So the traffic stays evaluated whatever else a step waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from tarsrelease.gates import evaluation_times
from tarsrelease.ports.clock import Clock, Task

T = TypeVar("T")

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


def in_thread(name: str, act: Callable[[], T]) -> Task[T]:
    """The result of `act`, which blocks in a thread of its own. Raises what it raises.

    The thread is a daemon: what nobody waits for any more keeps no process alive.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001 - for the one who waits
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    while not future.done():
        yield evaluation_times.TICK
    return future.result()


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

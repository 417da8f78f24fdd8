"""Eight tasks of half a second of CPU, on two processes, and their sum."""

import time

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner


@task
def work(number):
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass
    return number


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def fan_out():
    return sum(each.result() for each in work.map(range(8)))


if __name__ == "__main__":
    print("RESULT", fan_out())

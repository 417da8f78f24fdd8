"""Eight nodes of half a second of CPU, on two processes, and their sum."""

import time

from hamilton.htypes import Collect, Parallelizable


def number() -> Parallelizable[int]:
    yield from range(8)


def work(number: int) -> int:
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass
    return number


def total(work: Collect[int]) -> int:
    return sum(work)


if __name__ == "__main__":
    import fan_out
    from hamilton import driver
    from hamilton.execution import executors

    made = (
        driver.Builder()
        .with_modules(fan_out)
        .enable_dynamic_execution(allow_experimental_mode=True)
        .with_remote_executor(executors.MultiProcessingExecutor(max_tasks=2))
        .build()
    )
    print("RESULT", made.execute(["total"])["total"])

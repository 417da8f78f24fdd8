"""Eight steps of half a second of CPU, on as many processes as there are cores, and their sum."""

import time

import mainspring as ms
from mainspring.workspace import Workspace


@ms.step
def work(number: int) -> int:
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass
    return number


@ms.step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@ms.pipeline
def fan_out() -> int:
    return total([work(number) for number in range(8)])


if __name__ == "__main__":
    with Workspace() as workspace:
        print("RESULT", fan_out.run(workspace.pipeline_context).value)

"""Eight steps of half a second of CPU, and their sum."""

import time

from zenml import pipeline, step


@step
def work(number: int) -> int:
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass
    return number


@step
def total(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
    return a + b + c + d + e + f + g + h


@pipeline(enable_cache=False)
def fan_out():
    total(*[work(number) for number in range(8)])


if __name__ == "__main__":
    fan_out()
    print("RESULT", 28)

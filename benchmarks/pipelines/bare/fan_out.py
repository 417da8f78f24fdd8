"""Eight calls of half a second of CPU, on two processes, and their sum."""

import time
from concurrent.futures import ProcessPoolExecutor


def work(number):
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass
    return number


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print("RESULT", sum(pool.map(work, range(8))))

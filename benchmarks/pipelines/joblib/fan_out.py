"""Eight calls of half a second of CPU, on two processes, and their sum."""

import time

import joblib

memory = joblib.Memory(".joblib", verbose=0)


@memory.cache
def work(number):
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass
    return number


if __name__ == "__main__":
    numbers = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(number) for number in range(8))
    print("RESULT", sum(numbers))

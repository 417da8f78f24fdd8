"""Fifty steps that do nothing."""

from zenml import pipeline, step


@step
def nothing(number: int) -> int:
    return number + 1


@pipeline(enable_cache=False)
def chain():
    number = 0
    for _ in range(50):
        number = nothing(number)


if __name__ == "__main__":
    chain()
    print("RESULT", 50)

"""Fifty tasks that do nothing."""

from prefect import flow, task


@task
def nothing(number):
    return number + 1


@flow
def chain():
    number = 0
    for _ in range(50):
        number = nothing(number)
    return number


if __name__ == "__main__":
    print("RESULT", chain())

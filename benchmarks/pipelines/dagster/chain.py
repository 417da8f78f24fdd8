"""Fifty ops that do nothing, in one process."""

from dagster import job, op


@op
def first():
    return 1


@op
def nothing(number):
    return number + 1


@job
def chain():
    number = first()
    for _ in range(49):
        number = nothing(number)


if __name__ == "__main__":
    print("RESULT", chain.execute_in_process().output_for_node("nothing_49"))

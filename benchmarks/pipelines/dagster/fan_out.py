"""Eight ops of half a second of CPU, on two processes, and their sum."""

import time

from dagster import DagsterInstance, DynamicOut, DynamicOutput, execute_job, job, op, reconstructable


@op(out=DynamicOut())
def numbers():
    for number in range(8):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def work(number):
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass
    return number


@op
def total(found):
    return sum(found)


@job
def fan_out():
    total(numbers().map(work).collect())


if __name__ == "__main__":
    config = {"execution": {"config": {"multiprocess": {"max_concurrent": 2}}}}
    with execute_job(reconstructable(fan_out), instance=DagsterInstance.get(), run_config=config) as result:
        print("RESULT", result.output_for_node("total"))

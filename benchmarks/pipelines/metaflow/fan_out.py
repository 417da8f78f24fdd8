"""Eight tasks of half a second of CPU, two at a time, and their sum. Run without words, it runs itself."""

import sys
import time

from metaflow import FlowSpec, step


class FanOut(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range(8))
        self.next(self.work, foreach="numbers")

    @step
    def work(self):
        end = time.thread_time() + 0.5
        while time.thread_time() < end:
            pass
        self.number = self.input
        self.next(self.total)

    @step
    def total(self, inputs):
        self.total = sum(each.number for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        print("RESULT", self.total)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.argv += ["--quiet", "--no-pylint", "run", "--max-workers", "2"]
    FanOut()

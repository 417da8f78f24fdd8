"""Fifty steps that do nothing."""

import mainspring as ms
from mainspring.workspace import Workspace


@ms.step
def nothing(number: int) -> int:
    return number + 1


@ms.pipeline
def chain() -> int:
    number = 0
    for _ in range(50):
        number = nothing(number)
    return number


if __name__ == "__main__":
    with Workspace() as workspace:
        print("RESULT", chain.run(workspace.pipeline_context).value)

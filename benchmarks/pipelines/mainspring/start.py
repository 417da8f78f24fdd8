"""One step that does nothing: what starting costs."""

import mainspring as ms
from mainspring.workspace import Workspace


@ms.step
def nothing(number: int) -> int:
    return number + 1


@ms.pipeline
def start() -> int:
    return nothing(0)


if __name__ == "__main__":
    with Workspace() as workspace:
        print("RESULT", start.run(workspace.pipeline_context).value)

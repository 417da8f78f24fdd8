"""Fifty stages that do nothing."""

import subprocess
from pathlib import Path

lines = ["stages:", "  step_0:", "    cmd: echo 1 > 0.txt", "    outs:", "      - 0.txt"]
for number in range(1, 50):
    lines += [f"  step_{number}:", f"    cmd: expr `cat {number - 1}.txt` + 1 > {number}.txt"]
    lines += ["    deps:", f"      - {number - 1}.txt", "    outs:", f"      - {number}.txt"]
subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
Path("dvc.yaml").write_text("\n".join([*lines, ""]))
subprocess.run(["dvc", "repro", "--quiet"], check=True)
print("RESULT", Path("49.txt").read_text())

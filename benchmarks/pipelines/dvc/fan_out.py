"""Eight stages of half a second of CPU, and their sum. Without words: `dvc repro`."""

import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    if sys.argv[1:] == ["total"]:
        Path("total.txt").write_text(str(sum(int(Path(f"{each}.txt").read_text()) for each in range(8))))
    elif len(sys.argv) > 1:
        end = time.thread_time() + 0.5
        while time.thread_time() < end:
            pass
        Path(f"{sys.argv[1]}.txt").write_text(sys.argv[1])
    else:
        lines = ["stages:"]
        for number in range(8):
            lines += [f"  work_{number}:", f"    cmd: {sys.executable} fan_out.py {number}"]
            lines += ["    outs:", f"      - {number}.txt"]
        lines += ["  total:", f"    cmd: {sys.executable} fan_out.py total", "    deps:"]
        lines += [f"      - {number}.txt" for number in range(8)] + ["    outs:", "      - total.txt"]
        subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
        Path("dvc.yaml").write_text("\n".join([*lines, ""]))
        subprocess.run(["dvc", "repro", "--quiet"], check=True)
        print("RESULT", Path("total.txt").read_text())

"""Fifty steps that do nothing. A flow is read from its source, so the source is written out first."""

import subprocess
import sys
from pathlib import Path

lines = ["from metaflow import FlowSpec, step", "", "class Chain(FlowSpec):"]
for number in range(50):
    name = "start" if number == 0 else "end" if number == 49 else f"step_{number}"
    after = None if number == 49 else "end" if number == 48 else f"step_{number + 1}"
    body = f"self.number = {'0' if number == 0 else 'self.number'} + 1"
    last = f"self.next(self.{after})" if after else "print('RESULT', self.number)"
    lines += ["    @step", f"    def {name}(self):", f"        {body}", f"        {last}", ""]
Path("chain_flow.py").write_text("\n".join([*lines, "if __name__ == '__main__':", "    Chain()", ""]))
sys.exit(subprocess.run([sys.executable, "chain_flow.py", "--quiet", "--no-pylint", "run"]).returncode)

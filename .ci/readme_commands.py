"""Runs the README's commands as a new user would: every ```bash block, in order, in a fresh clone."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
if not blocks:
    sys.exit("README.md has no bash blocks")
with tempfile.TemporaryDirectory() as folder:
    clone = Path(folder) / "minillm"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True, timeout=300)
    for block in blocks:
        for command in block.strip().splitlines():
            start = time.perf_counter()
            print(f"$ {command}", flush=True)
            done = subprocess.run(command, shell=True, cwd=clone, stdin=subprocess.DEVNULL, timeout=900)
            if done.returncode:
                sys.exit(f"README command failed with exit code {done.returncode}: {command}")
            print(f"  [{time.perf_counter() - start:.0f} s]", flush=True)

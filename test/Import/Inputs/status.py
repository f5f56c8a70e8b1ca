"""Runs a command and fails unless its exit status is the expected one: status.py N COMMAND..."""

import subprocess
import sys

run = subprocess.run(sys.argv[2:], stderr=subprocess.STDOUT)
print("exit status", run.returncode, flush=True)
sys.exit(run.returncode != int(sys.argv[1]))

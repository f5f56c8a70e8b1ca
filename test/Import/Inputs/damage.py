"""Imports cut and changed copies of models; each must end with one of the documented statuses."""

import os
import random
import subprocess
import sys

import models

folder = sys.argv[1]
path = os.path.join(folder, "damaged.onnx")


def answer(content, statuses):
    with open(path, "wb") as out:
        out.write(content)
    run = subprocess.run(["tacq-translate", "--import-onnx", path, "-o", os.devnull],
                         capture_output=True, text=True, errors="replace")
    if run.returncode not in statuses or (run.returncode != 0) != ("error: " in run.stderr):
        sys.exit(f"status {run.returncode}: {run.stderr}")
    return run.stderr


originals = [make().SerializeToString()
             for make in (models.basic, models.functions, models.subgraphs)]
cut = 0
for content in originals:
    for end in range(1, len(content) - 1, max(1, len(content) // 25)):
        message = answer(content[:end], (3,))
        cut += 1
    print(message.strip())
print(answer(originals[0][:-400], (3,)).strip())
chance = random.Random(1)
for i in range(150):
    content = bytearray(originals[i % len(originals)])
    for _ in range(chance.choice((1, 1, 2, 8))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    answer(bytes(content), (0, 2, 3))
print(f"{cut} truncated, 150 changed: all answered")

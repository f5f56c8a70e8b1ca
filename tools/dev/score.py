#!/usr/bin/env python3
"""Exact match of generated tokens against answers: score.py GENERATED.jsonl ANSWERS.jsonl

GENERATED is what tacq-run --generate writes, a line {"tokens": [...]} for each prompt, from a model
whose tokens are bytes. ANSWERS has a line {"answer": "..."} for each prompt, in the same order. What
counts is the first line of a text.
"""
import json
import sys


def first_line(tokens):
    text = bytes(token for token in tokens if token < 256)
    return text.split(b"\n")[0].decode(errors="replace") + "\n"


def score(generated, answers):
    """Number of right answers. Both are lists of the parsed lines."""
    if len(generated) != len(answers):
        raise ValueError(f"{len(generated)} generated texts, but {len(answers)} answers")
    return sum(first_line(g["tokens"]) == a["answer"] for g, a in zip(generated, answers))


def read_lines(path):
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream if line.strip()]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    answers = read_lines(sys.argv[2])
    try:
        right = score(read_lines(sys.argv[1]), answers)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{right}/{len(answers)} exact ({100 * right / len(answers):.1f} %)")


if __name__ == "__main__":
    main()

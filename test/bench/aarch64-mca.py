#!/usr/bin/env python3
"""What the AArch64 kernel of a product with one row costs: instructions and, by llvm-mca, cycles.

The kernel is the 2-bit one with groups of 128 and a circuit in slots, compiled for
aarch64-v8.2+dotprod. Its loop over tiles of 16 by 128 weights is found in the assembly, and in it
the loop over a tile's slots; an average tile has as many slots as --circuit says. Prints a Markdown
table; the exit status is 1 if there are more instructions per 64 weights than --limit.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "aarch64-v8.2+dotprod"
TILE_ROWS, TILE_COLUMNS = 16, 128
KERNEL = """
func.func @k(%x: tensor<1x4096xi8>, %s: tensor<1x32x2xf32>,
             %w: !tacq.mixed<4096x4096, bits = 2, group = 128,
                  decode = #tacq.affine<scale = f16, zero = ui8>,
                  circuit = <slots, count = 0, exact>>) -> tensor<1x4096xf32> {
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "y",
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16,
                                   rows = sorted, circuit = tiles, little>]}
    : (tensor<1x4096xi8>, tensor<1x32x2xf32>, !tacq.mixed<4096x4096, bits = 2, group = 128,
       decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>)
    -> tensor<1x4096xf32>
  return %y : tensor<1x4096xf32>
}
"""


def assembly(build):
    bin_dir = pathlib.Path(build) / "bin"
    kernels = subprocess.run([bin_dir / "tacq-opt", "-", f"--tacq-emit-cpu-kernels=target={TARGET}"],
                             input=KERNEL, text=True, check=True, capture_output=True).stdout
    return subprocess.run([bin_dir / "tacq-translate", "-", "--kernels-to-assembly",
                           f"--target={TARGET}"],
                          input=kernels, text=True, check=True, capture_output=True).stdout


def basic_blocks(text):
    """The blocks of k.body in order: (label or None, instructions, successors)."""
    lines = text[text.index("k.body:"):text.index(".Lfunc_end0")].splitlines()[1:]
    blocks = [[None, []]]
    for line in lines:
        line = line.strip()
        label = re.match(r"(\.LBB\w+):", line)
        if label:
            blocks.append([label.group(1), []])
        elif line and not line.startswith((".", "//", "#")):
            if blocks[-1][1] and is_branch(blocks[-1][1][-1]):
                blocks.append([None, []])
            blocks[-1][1].append(line)
    numbers = {label: i for i, (label, _) in enumerate(blocks) if label}
    result = []
    for i, (label, instructions) in enumerate(blocks):
        last = instructions[-1] if instructions else ""
        successors = []
        if is_branch(last) and not last.startswith("ret"):
            successors.append(numbers[last.split()[-1]])
        if not re.match(r"(b|ret)\b(?!\.)", last) and i + 1 < len(blocks):
            successors.append(i + 1)
        result.append((label, instructions, successors))
    return result


def is_branch(instruction):
    return re.match(r"(b|b\.\w+|cbz|cbnz|tbz|tbnz|ret)\s|ret$", instruction) is not None


def loops(blocks):
    """Natural loops, as {header: set of blocks}."""
    count = len(blocks)
    dominators = [{0}] + [set(range(count)) for _ in range(count - 1)]
    predecessors = collections.defaultdict(list)
    for i, (_, _, successors) in enumerate(blocks):
        for successor in successors:
            predecessors[successor].append(i)
    changed = True
    while changed:
        changed = False
        for i in range(1, count):
            sets = [dominators[p] for p in predecessors[i]]
            new = (set.intersection(*sets) if sets else set()) | {i}
            changed |= new != dominators[i]
            dominators[i] = new
    found = {}
    for i, (_, _, successors) in enumerate(blocks):
        for header in successors:
            if header not in dominators[i]:
                continue
            body, work = found.setdefault(header, {header}), [i]
            while work:
                block = work.pop()
                if block not in body:
                    body.add(block)
                    work += predecessors[block]
    return found


def split(blocks):
    """Instructions of a tile without slots, of what a tile with slots has besides, and of a
    slot."""
    found = loops(blocks)
    has = lambda body, name: any(line.split()[0] == name for b in body for line in blocks[b][1])
    tile_header, tile = min(((h, body) for h, body in found.items() if has(body, "sdot")),
                            key=lambda loop: len(loop[1]))
    slot = min((body for body in found.values() if has(body, "tbx")), key=len)
    # The shortest way around the tile's loop does not enter that of the slots.
    ways = collections.deque([[tile_header]])
    path = None
    while ways and path is None:
        way = ways.popleft()
        for successor in blocks[way[-1]][2]:
            if successor == tile_header:
                path = way
                break
            if successor in tile and successor not in way and \
                    not has({successor}, "tbx"):
                ways.append(way + [successor])
    listing = lambda body: [line for b in body for line in blocks[b][1]]
    more = [b for b in sorted(tile - slot) if b not in path]
    return listing(path), listing(more), listing(sorted(slot - set(path)))


def cycles(instructions, cpu, llvm_mca, iterations=100):
    """Cycles of a round of a loop of these instructions."""
    body = "\n".join(line for line in instructions if not is_branch(line))
    if not body:
        return 0.0
    text = subprocess.run([llvm_mca, "-mtriple=aarch64", f"-mcpu={cpu}",
                           f"-iterations={iterations}"],
                          input=body, text=True, check=True, capture_output=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", text).group(1)) / iterations


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=ROOT / "build", help="build folder (default: build)")
    parser.add_argument("--circuit", type=float, default=0.0047,
                        help="share of the weights that is in slots (default: 0.0047)")
    parser.add_argument("--cpu", action="append",
                        help="processor (default: neoverse-n2, neoverse-v2, cortex-a78)")
    parser.add_argument("--limit", type=float, default=11.5,
                        help="most instructions per 64 weights (default: 11.5)")
    parser.add_argument("--llvm-mca", default="llvm-mca-19")
    args = parser.parse_args()

    tile, more, slot = split(basic_blocks(assembly(args.build)))
    slots = args.circuit * TILE_COLUMNS
    # As if no tile had two slots as long as another has none.
    with_slots = min(1.0, slots)
    units = TILE_ROWS * TILE_COLUMNS / 64

    def total(cost):
        return (cost(tile) + with_slots * cost(more) + slots * cost(slot)) / units

    instructions = total(len)
    print(f"{len(tile)} instructions a tile of {TILE_ROWS}x{TILE_COLUMNS} weights, {len(more)} more "
          f"in one with slots, {len(slot)} a slot; {slots:.2f} slots a tile\n")
    print("| per 64 weights | instructions | cycles | instructions without circuit | "
          "cycles without circuit |")
    print("|---|---|---|---|---|")
    for cpu in args.cpu or ["neoverse-n2", "neoverse-v2", "cortex-a78"]:
        cost = lambda part: cycles(part, cpu, args.llvm_mca)
        print(f"| {cpu} | {instructions:.2f} | {total(cost):.2f} | {len(tile) / units:.2f} | "
              f"{cost(tile) / units:.2f} |")
    if instructions > args.limit:
        print(f"more than {args.limit} instructions per 64 weights", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

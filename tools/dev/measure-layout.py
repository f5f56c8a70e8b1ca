#!/usr/bin/env python3
"""What circuits in slots keep when rows and columns are stored in other orders.

    measure-layout.py MODEL.onnx TASK.stats [--layers 0,7,14] [--saliency curvature|gradient]
                      [--circuit 0.35,0.5] [--head-size 64] [--passes 2] [--short]

Prints the part of all saliency that slots keep in `--circuit` percent at 4 bytes an entry, and how
many bytes less than the budget would keep what the compiler's layout keeps. Slots are chosen as the
compiler chooses them: at one price of a byte for all tensors, which pay for tables and permutations
(kernels' code is left out). Linears are expected in the order q, k, v, o, gate, up, down. Weights
have 2 bits, with levels of rows for curvature and groups of 128 for gradient.
"""
import argparse
import importlib.util
import pathlib

PATH = pathlib.Path(__file__).with_name("compare-codes.py")
SPEC = importlib.util.spec_from_file_location("compare_codes", PATH)
codes = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(codes)
np = codes.np  # after its limit of threads
KINDS = ["q", "k", "v", "o", "gate", "up", "down"]
MOST = 64  # slots of a tile


def affine_levels(w, bits=2):
    """The levels of each row, by the compiler's search for a clipped range."""
    top = 2 ** bits - 1
    best, levels = np.full(len(w), np.inf), np.zeros((len(w), top + 1))
    for shrink in np.linspace(1, 0.2, 17):
        low, high = np.minimum(w.min(1), 0) * shrink, np.maximum(w.max(1), 0) * shrink
        step = np.maximum((high - low) / top, 1e-12)
        zero = np.rint(-low / step)
        code = np.clip(np.rint(w / step[:, None]), -zero[:, None], top - zero[:, None])
        error = (np.abs(w - code * step[:, None]) ** 2.4).sum(1)
        better = error < best
        best = np.where(better, error, best)
        levels[better] = ((np.arange(top + 1) - zero[:, None]) * step[:, None])[better]
    return levels


class Book:
    """Levels of each row, or those of groups, fitted when a group is reached."""

    width = 1

    def __init__(self, weight, hessian, group, bits=2):
        self.group, self.bits = group, bits
        importance = np.broadcast_to(np.diag(hessian), weight.shape)
        self.levels = None if group else np.sort(codes.lloyd(weight, importance, 2 ** bits), 1)

    def reach(self, weight, column):
        if self.group and column % self.group == 0:
            self.levels = affine_levels(weight[:, column:column + self.group], self.bits)

    def quantize(self, block, column):
        nearest = (block > (self.levels[:, 1:] + self.levels[:, :-1]) / 2).sum(1)
        return np.take_along_axis(self.levels, nearest[:, None], 1)


def gptq(weight, hessian, group):
    """Group 0 has levels of rows."""
    book = Book(weight, hessian, group)
    return codes.compensated(book, weight, hessian, book.reach)


def saliency_of(m, kind):
    q = gptq(m.weight, m.hessian, 0 if kind == "curvature" else 128)
    if kind == "gradient":
        return (m.gradient * np.abs(m.weight - q) * np.abs(m.weight)).astype(np.float32)
    return (m.curvature[:, None] * np.diag(m.hessian) * (m.weight - q) ** 2).astype(np.float32)


def slots_of(s, width=128):
    """The saliencies of each row's tiles, largest first: [rows, tiles, slots]."""
    rows, columns = s.shape
    across = -(-columns // width)
    padded = np.zeros((rows, across * width), np.float32)
    padded[:, :columns] = s
    return -np.sort(-padded.reshape(rows, across, width), 2)[:, :, :MOST]


def worths(best, order=None, height=16):
    """What slots of panels are worth: [panels, tiles, slots]."""
    best = best if order is None else best[order]
    best = np.concatenate([best, np.zeros((-len(best) % height,) + best.shape[1:], np.float32)])
    return best.reshape(-1, height, *best.shape[1:]).sum(1)


class Layout:
    """Of all tensors: (shape, what slots are worth, bytes of permutations)."""

    def __init__(self, tensors, height=16):
        self.slot, self.tensors, shapes = 3 * height, [], {}
        for shape, worth, permutation in tensors:
            flat = np.sort(worth[worth > 0])[::-1].astype(np.float64)
            table = worth.shape[0] * (worth.shape[1] + 4) + 4 + permutation
            shapes.setdefault(shape, []).append(len(self.tensors))
            self.tensors.append((flat, np.append(0, np.cumsum(flat)), table))
        self.shapes = list(shapes.values())

    def choose(self, price):
        """(bytes, kept, slots) at a price of a byte; shapes have circuits all or none."""
        size, kept, slots = 0, 0.0, 0
        for members in self.shapes:
            n = [int(np.searchsorted(-self.tensors[t][0], -price * self.slot)) for t in members]
            b = sum(c * self.slot + self.tensors[t][2] for t, c in zip(members, n))
            k = sum(self.tensors[t][1][c] for t, c in zip(members, n))
            if k > price * b:
                size, kept, slots = size + b, kept + k, slots + sum(n)
        return size, kept, slots

    def price_where(self, is_lower):
        low, high = 0.0, max(t[0][0] for t in self.tensors) / self.slot
        for _ in range(60):
            price = (low + high) / 2
            low, high = (price, high) if is_lower(*self.choose(price)) else (low, price)
        return high

    def spend(self, budget):
        """(kept, price, slots); what is left, a part of a slot, is spent at the price."""
        price = self.price_where(lambda size, kept, slots: size > budget)
        size, kept, slots = self.choose(price)
        return kept + (budget - size) * price, price, slots

    def bytes_for(self, wanted):
        price = self.price_where(lambda size, kept, slots: kept >= wanted)
        size, kept, _ = self.choose(price)
        return size + (wanted - kept) / price


def cluster(best, threshold, order, block=0, passes=2, height=16):
    """Swaps rows of panels, in blocks of so many, as long as that raises the sum over panels and
    slots of max(0, worth - threshold)."""
    rows = len(best)
    live = np.sort(best, 0)[-height:].sum(0) > threshold  # else no panel makes the slot worth it
    x = best[:, live]
    if x.shape[1] == 0 or rows % height:
        return order
    order, random = order.copy(), np.random.default_rng(1)
    place = np.argsort(order)
    value = x[order].reshape(-1, height, x.shape[1]).sum(1)

    def over(v):
        return np.maximum(v - np.float32(threshold), 0).sum(-1)

    for _ in range(passes):
        changed = False
        for r in random.permutation(np.flatnonzero(x.max(1) > threshold / height)):
            p = place[r] // height
            first = r // block * block if block else 0
            others = np.arange(first, min(rows, first + block) if block else rows)
            at, now = place[others] // height, over(value)
            gain = over(value[p] - x[r] + x[others]) + over(value[at] - x[others] + x[r])
            gain -= now[p] + now[at]
            gain[at == p] = 0
            o = others[gain.argmax()]
            if gain.max() > 1e-6 * now.sum():
                value[p] += x[o] - x[r]
                value[place[o] // height] += x[r] - x[o]
                order[place[r]], order[place[o]] = o, r
                place[r], place[o] = place[o], place[r]
                changed = True
        if not changed:
            break
    return order


def by_count(mask, block=0):
    count, block = mask.sum(1), block or len(mask)
    return np.concatenate([b + np.argsort(-count[b:b + block], kind="stable")
                           for b in range(0, len(mask), block)])


def free_orders(s, masks, threshold, options, streamed, clustered):
    """Row orders that consumers absorb: gate's and up's alike, v's in its heads, and with `streamed`
    one for all of o and down; with the saliencies, whose columns have moved accordingly."""
    kinds = [KINDS[i % 7] for i in range(len(s))]
    orders, s, masks = [np.arange(len(a)) for a in s], list(s), list(masks)

    def order_of(members, block=0):
        start = by_count(np.concatenate([masks[i] for i in members], 1), block)
        best = np.concatenate([slots_of(s[i]) for i in members], 1) if clustered else None
        return cluster(best, threshold, start, block, options.passes) if clustered else start

    if streamed:
        out = [i for i, k in enumerate(kinds) if k in ("o", "down")]
        stream = order_of(out)
        for i in range(len(s)):
            if i in out:
                orders[i] = stream
            else:
                s[i], masks[i] = s[i][:, stream], masks[i][:, stream]
    for i, kind in enumerate(kinds):
        if kind == "v":  # o's columns stay in their tile
            orders[i] = order_of([i], options.head_size)
        elif kind == "gate":
            orders[i] = orders[i + 1] = order_of([i, i + 1])
            s[i + 2] = s[i + 2][:, orders[i]]
    return orders, [slots_of(a) for a in s]


def compare_layouts(s, part, options):
    weights, total = sum(a.size for a in s), sum(a.sum(dtype=np.float64) for a in s)
    budget = part * weights * 4
    ranked = np.sort(np.concatenate([a.ravel() for a in s]))[::-1]
    sums = np.append(0, np.cumsum(ranked, dtype=np.float64))
    masks = [a > ranked[round(part * weights)] for a in s]
    best = [slots_of(a) for a in s]

    def layout(orders=None, cost=0, source=best, height=16, extra=None):
        return Layout([(a.shape, worths(b, orders and orders[i], height),
                        cost * len(a) + (extra[i] if extra else 0))
                       for i, (a, b) in enumerate(zip(s, source))], height)

    sort = [by_count(m, 256) for m in masks]
    natural, blocks = layout(), layout(sort, 1)
    base = max(natural, blocks, key=lambda made: made.spend(budget)[0])
    kept, price, slots = base.spend(budget)
    threshold = price * base.slot
    print(f"{weights} weights, {budget / 1024:.1f} KiB ({budget * 8 / weights:.3f} bpw); the compiler's "
          f"rows are {'natural' if base is natural else 'sorted'}: {slots} slots\n\n"
          "| layout | kept, % | beside the compiler's | bytes for as much |\n|---|---|---|---|")

    def row(name, made):
        value, need = (made.spend(budget)[0], made.bytes_for(kept)) if isinstance(made, Layout) \
            else (sums[int(budget / made)], np.searchsorted(sums, kept) * made)
        print(f"| {name} | {100 * value / total:.2f} | {100 * (value / kept - 1):+.1f} % | "
              f"{100 * (need / budget - 1):+.1f} % |", flush=True)

    row("best entries at 3 bytes", 3)
    row("best entries at 4 bytes", 4)
    row("natural", natural)
    row("sorted in blocks (1 byte a row)", blocks)
    swapped = [cluster(b, threshold, o, 256, options.passes) for b, o in zip(best, sort)]
    row("clustered in blocks (1 byte a row)", layout(swapped, 1))
    for streamed in (False, True):
        for clustered in (False, True):
            orders, source = free_orders(s, masks, threshold, options, streamed, clustered)
            row(f"free, {'clustered' if clustered else 'sorted'}{', with the stream' * streamed}",
                layout(orders, 0, source))
    row("bound of rows: an order for each slot", layout(source=[-np.sort(-b, 0) for b in best]))
    if options.short:
        return
    mass = [np.where(m, a, 0).sum(0) + 1e-3 * a.sum(0) for a, m in zip(s, masks)]
    inputs = [range(i, i + 1) if i % 7 in (3, 6) else range(i - i % 7, i - i % 7 + 3) if i % 7 < 3 else
              range(i - i % 7 + 4, i - i % 7 + 6) for i in range(len(s))]
    columns = [slots_of(a[:, np.argsort(-sum(mass[j] for j in same), kind="stable")])
               for a, same in zip(s, inputs)]
    gather = [2 * a.shape[1] * (same[0] == i) for i, (a, same) in enumerate(zip(s, inputs))]
    row("columns by saliency (2 bytes a column)", layout(source=columns, extra=gather))
    row("the same and rows sorted in blocks", layout(sort, 1, columns, extra=gather))
    row("bound of columns: rows are one tile", layout(source=[slots_of(a, a.shape[1]) for a in s]))
    for height, width in ((16, 256), (8, 128), (8, 256)):
        other = [slots_of(a, width) for a in s]
        row(f"{height} x {width}, natural", layout(None, 0, other, height))
        row(f"{height} x {width}, sorted in blocks", layout(sort, 1, other, height))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("statistics", type=pathlib.Path)
    parser.add_argument("--layers", help="numbers, with commas (default: all)")
    parser.add_argument("--saliency", choices=["curvature", "gradient"], default="curvature")
    parser.add_argument("--circuit", default="0.35", help="percent, with commas")
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="orders of rows only")
    options = parser.parse_args()
    layers = options.layers and {int(n) for n in options.layers.split(",")}
    salient = [saliency_of(m, options.saliency)
               for i, m in enumerate(codes.matrices(options.model, options.statistics, 1))
               if not layers or i // 7 in layers]
    for part in options.circuit.split(","):
        print(f"\n## {part} %, {options.saliency}\n")
        compare_layouts(salient, float(part) / 100, options)


if __name__ == "__main__":
    main()

"""The rows of the comparison, and the table that is made of their samples."""
import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Row:
    """What is measured, and how many times the speed of its peer it must reach.

    `by` says which numbers decide: the medians of all samples, or the best ones, where a peer's
    threads spin and lose a factor to any neighbour.
    """
    name: str
    work: str
    against: str
    reach: float
    unit: str
    by: str = "median"
    # Smaller is better, as of memory: the ratio must be at most `reach`.
    limit: bool = False


KERNEL = "matvec 4096 x 4096, streamed, 1 thread: "

ROWS = (
    Row("matvec-slots", KERNEL + "2 bit g128 + circuit in slots", "gemv_slots, the same", 1.0,
        "Gw/s"),
    Row("matvec-uniform", KERNEL + "2 bit g128 + 1 entry in 128",
        "gemv_structured_circuit, the same", 1.0, "Gw/s"),
    Row("matvec-plain", KERNEL + "2 bit g128, no circuit", "gemv_slots without a circuit", 0.95,
        "Gw/s"),
    Row("matvec-plain-bandwidth", KERNEL + "2 bit g128, no circuit", "reading memory", 0.95,
        "GB/s"),
    Row("matvec-codebook", KERNEL + "2 bit codebook of rows + slots", "2 bit g128 + slots", 0.95,
        "Gw/s"),
    Row("matvec-3bit", KERNEL + "3 bit g128 + circuit in slots", "0.85 of reading memory", 0.95,
        "GB/s"),
    Row("matvec-avx2", KERNEL + "2 bit g128 + circuit in slots, AVX2", "gemv_avx2, no circuit",
        0.9, "Gw/s"),
    Row("matmul", "matmul 4096 x 4096 x 256, 1 thread: 2 bit g128 + circuit in slots",
        "vpdpbusd from registers (without AVX-512: vpmaddubsw)", 0.6, "GMAC/s"),
    Row("matmul-vectors", "the same on a target without AMX", "the same", 0.6, "GMAC/s"),
    Row("dense-matmul", "matmul 2048 x 2048 x 384, 1 thread: f16 weights, not quantized",
        "sgemm of numpy's BLAS", 0.95, "GMAC/s"),
    *(Row(f"decode-{model}-{bits}bit-{threads}t",
          f"decode 64, {model}, {bits} bit g128 + 0.47 % in slots, {threads} thread(s)",
          f"llama.cpp {peer}", reach, "tok/s", "best")
      for model, bits, peer, reach in (("1.1b", 2, "Q2_K pure", 2.4), ("small", 2, "Q2_K pure", 2.0),
                                       ("1.1b", 3, "Q3_K_S", 2.2))
      for threads in (1, 2)),
    *(Row(f"prefill-{model}-2bit-{threads}t",
          f"prefill 512, {model}, 2 bit g128 + 0.47 % in slots, {threads} thread(s)",
          "llama.cpp, fastest of Q2_K pure, Q4_0, IQ2_XXS", 2.2, "tok/s", "best")
      for model in ("1.1b", "small") for threads in (1, 2)),
    *(Row(f"prefill-small-f32-{threads}t", f"prefill 512, small, f32, {threads} thread(s)",
          "ONNX Runtime, same file", 1.0, "tok/s") for threads in (1, 2)),
    Row("memory", "peak resident memory, 1.1b, 2 bit, prompt 64 + 32 tokens",
        "module + cache + activations", 1.1, "MB", limit=True),
)


def selected(names):
    """Rows by their names or the beginnings of these; all of them without any."""
    if not names:
        return list(ROWS)
    for name in names:
        if not any(row.name.startswith(name) for row in ROWS):
            raise ValueError(f"there is no row '{name}'; there are "
                             f"{', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if any(row.name.startswith(name) for name in names)]


def best(row, samples):
    return min(samples) if row.limit else max(samples)


def result(row, ours, peer, note=""):
    """The row's entry of the JSON list."""
    medians = statistics.median(ours), statistics.median(peer)
    bests = best(row, ours), best(row, peer)
    ratio_median, ratio_best = medians[0] / medians[1], bests[0] / bests[1]
    ratio = ratio_best if row.by == "best" else ratio_median
    return {"row": row.name, "work": row.work, "against": row.against, "unit": row.unit,
            "reach": row.reach, "by": row.by, "ratio": ratio, "ratio_median": ratio_median,
            "ratio_best": ratio_best, "median": medians[0], "peer_median": medians[1],
            "best": bests[0], "peer_best": bests[1], "samples": list(ours),
            "peer_samples": list(peer), "note": note,
            "reached": ratio <= row.reach if row.limit else ratio >= row.reach}


def number(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def table(results):
    """Markdown. Of the two ratios the deciding one is marked."""
    head = ("row", "work", "against", "unit", "TACQ median (best)", "peer median (best)",
            "ratio of medians", "of bests", "reach", "")
    lines = [head, ["---"] * len(head)]
    for r in results:
        if "error" in r:
            lines.append((r["row"], r["work"], r["against"], "", "", "", "", "", r["reach"],
                          f"not measured: {r['error']}"))
            continue
        marks = {"median": ("**", ""), "best": ("", "**")}[r["by"]]
        memory = next(row for row in ROWS if row.name == r["row"]).limit
        lines.append((r["row"], r["work"], r["against"], r["unit"],
                      f"{number(r['median'])} ({number(r['best'])})",
                      f"{number(r['peer_median'])} ({number(r['peer_best'])})",
                      f"{marks[0]}{r['ratio_median']:.2f}{marks[0]}",
                      f"{marks[1]}{r['ratio_best']:.2f}{marks[1]}",
                      f"{'≤' if memory else '≥'} {r['reach']:g}",
                      ("reached" if r["reached"] else "NOT REACHED")
                      + (f"; {r['note']}" if r["note"] else "")))
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)

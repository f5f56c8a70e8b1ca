#!/usr/bin/env python3
"""TACQ beside hand-written loops, llama.cpp and ONNX Runtime, in alternation on one machine.

    compare.py [--only ROW ...] [--rounds 3] [--json] [--build build] [--work FOLDER]
               [--probes FOLDER] [--llama llama_bench.sh]

Prints a Markdown table of ratios, or with --json the list of its rows with all samples. README.md
says what is measured.
"""
import argparse
import json
import os
import pathlib
import sys

import peers
import table

SLOTS = ("--circuit", "0.35%")
# 1 entry in 128 in slots, which take 3 bytes, at 4 bytes an entry.
UNIFORM = ("--circuit", f"{3 / 4 / 128:.6f}", "--circuit-layout", "uniform")
MATVEC = {
    "matvec-slots": (("gemv_slots", "2b g128 + slots 0.47 %"), SLOTS),
    "matvec-uniform": (("gemv_structured_circuit", "2b g128 + 1 in 128 fp16"), UNIFORM),
    "matvec-plain": (("gemv_slots", "2b g128"), ()),
    "matvec-avx2": (("gemv_avx2", "AVX2 2b g128 8-row"), (*SLOTS, "--target", "x86-64-v3")),
}

# Of a random circuit of 0.39 %, 0.47 % of the weights lie in slots. The head is as wide as the
# peer's, which has 2.63 bits in "pure" models, and 6.56 bits in Q3_K_S.
CIRCUIT = ("--method", "nearest", "--no-clip", "--group", 128, "--circuit-from", "random",
           "--circuit", "0.39%")
MODULES = {
    "1.1b-2bit": ("1.1b", "f16", (*CIRCUIT, "--bits", 2, "--head-bits", 2)),
    "1.1b-3bit": ("1.1b", "f16", (*CIRCUIT, "--bits", 3, "--head-bits", 8)),
    "small-2bit": ("small", "f16", (*CIRCUIT, "--bits", 2)),
    "small-f32": ("small", "f32", ()),
}
DECODE_PEERS = {2: "Q2_K:pure", 3: "Q3_K_S"}
PREFILL_PEERS = ("Q2_K:pure", "Q4_0", "IQ2_XXS")


class Comparison:
    def __init__(self, options):
        options.work.mkdir(parents=True, exist_ok=True)
        self.rounds = options.rounds
        self.tacq = peers.Tacq(options.build, options.work)
        self.probes = peers.Probes(options.probes, options.work)
        self.llama = peers.Llama(options.llama, options.work, self.tacq.shapes())
        self.llama_samples = {}

    def alternate(self, ours, peer):
        """Samples of both: a round of one, then of the other."""
        samples = [], []
        for _ in range(self.rounds):
            samples[0].extend(ours())
            samples[1].extend(peer())
        return samples

    def measure(self, row):
        """Samples of TACQ, of the peer, and a note."""
        if row.name in MATVEC:
            return self.matvec(*MATVEC[row.name])
        kind = row.name.split("-")[0]
        return {"matvec": self.bandwidth_or_codebook, "matmul": self.matmul, "dense": self.dense,
                "decode": self.model, "prefill": self.model,
                "memory": self.memory}[kind](row)

    def matvec(self, probe, flags):
        details = []

        def ours():
            details.append(self.tacq.kernel("matvec", *flags))
            return [details[-1]["gweights_per_s"]]

        samples = self.alternate(ours, lambda: self.probes.samples(*probe))
        return *samples, f"{max(d['bandwidth_fraction'] for d in details):.2f} of reading"

    def bandwidth_or_codebook(self, row):
        if row.name == "matvec-codebook":
            def speed(*flags):
                return [self.tacq.kernel("matvec", *flags)["gweights_per_s"]]
            return *self.alternate(lambda: speed(*SLOTS, "--codebook"),
                                   lambda: speed(*SLOTS)), ""
        three = row.name == "matvec-3bit"
        flags = ("--bits", 3, *SLOTS) if three else ()
        results = [self.tacq.kernel("matvec", *flags) for _ in range(self.rounds)]
        note = f"{max(r['gweights_per_s'] for r in results):.1f} Gw/s"
        return ([r["gb_per_s"] for r in results],
                [(0.85 if three else 1) * r["read_gb_per_s"] for r in results], note)

    def matmul(self, row):
        """Beside the peak of vectors, also where kernels multiply tiles."""
        def run(*target):
            return self.tacq.kernel("matmul", "--n", 256, *SLOTS, *target)

        def run_vectors():
            try:
                return run("--target", "x86-64-v4")
            except peers.CannotMeasure:
                return run()

        vectors = [run_vectors() for _ in range(self.rounds)]
        ours = vectors if row.name == "matmul-vectors" else [run() for _ in range(self.rounds)]
        note = (f"{ours[0]['target']}: {max(r['compute_fraction'] for r in ours):.2f} of "
                f"{ours[0]['peak_instruction']}")
        return ([r["gmacs_per_s"] for r in ours], [r["peak_gmacs_per_s"] for r in vectors], note)

    def dense(self, row):
        shape = ("--m", 2048, "--k", 2048, "--n", 384)

        def ours():
            return [self.tacq.kernel("matmul", *shape, "--bits", 16)["gmacs_per_s"]]

        return *self.alternate(ours, lambda: [peers.blas_speed(*shape[1::2])]), ""

    def model(self, row):
        work, preset, form, threads = row.name.split("-")
        threads, prefill = int(threads.rstrip("t")), work == "prefill"
        name = f"{preset}-{form}"
        module = self.tacq.module(name, *MODULES[name][:2], *MODULES[name][2])
        sizes = (512, 0) if prefill else (0, 64)

        def ours():
            return self.tacq.speed(module, *sizes, threads)

        if form == "f32":
            onnx = self.tacq.model(preset, form)
            return *self.alternate(ours, lambda: peers.onnx_runtime_speed(onnx, threads)), ""
        kinds = PREFILL_PEERS if prefill else (DECODE_PEERS[int(form[0])],)
        samples, of_kind, failed = [], {}, {}
        for number in range(self.rounds):
            samples.extend(ours())
            for kind in kinds:
                try:
                    found = self.llama_round(preset, kind, threads, number)[not prefill]
                    of_kind.setdefault(kind, []).extend(found)
                except peers.CannotMeasure as error:
                    failed[kind] = error
        if not of_kind:
            raise next(iter(failed.values()))
        fastest = max(of_kind, key=lambda kind: max(of_kind[kind]))
        note = f"{fastest}; module {module.stat().st_size / 1e6:.0f} MB"
        return samples, of_kind[fastest], note + "".join(f"; no {kind}" for kind in failed)

    def llama_round(self, preset, kind, threads, number):
        """llama-bench measures both prompt and decoding: rows share their rounds."""
        key = (preset, kind, threads, number)
        if key not in self.llama_samples:
            self.llama_samples[key] = self.llama.speeds(preset, kind, threads)
        return self.llama_samples[key]

    def memory(self, row):
        name = "1.1b-2bit"
        module = self.tacq.module(name, *MODULES[name][:2], *MODULES[name][2])
        peak, held = self.tacq.memory(module)
        return [peak / 1e6], [held / 1e6], ""


def arguments(argv):
    shared = peers.ROOT.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", metavar="ROW",
                        help="only this row, or those whose names begin so; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--rounds", type=int, default=3, help="of each side (default: 3)")
    parser.add_argument("--json", action="store_true", help="print all samples instead of a table")
    parser.add_argument("--build", type=pathlib.Path, default=peers.ROOT / "build",
                        help="build folder (default: build)")
    parser.add_argument("--work", type=pathlib.Path,
                        help="folder of models and modules, which are kept (default: bench in the "
                             "build folder; about 4 GB)")
    parser.add_argument("--probes", type=pathlib.Path,
                        default=os.environ.get("TACQ_PROBES", shared / "probes"),
                        help="folder of the hand-written loops (default: $TACQ_PROBES, or "
                             "../shared/probes)")
    parser.add_argument("--llama", type=pathlib.Path,
                        default=os.environ.get("TACQ_LLAMA_BENCH",
                                               shared / "peers" / "llama_bench.sh"),
                        help="llama_bench.sh (default: $TACQ_LLAMA_BENCH, or "
                             "../shared/peers/llama_bench.sh)")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds must be positive")
    try:
        options.rows = table.selected(options.only)
    except ValueError as error:
        parser.error(str(error))
    options.build = options.build.resolve()
    options.work = (options.work or options.build / "bench").resolve()
    options.probes, options.llama = pathlib.Path(options.probes), pathlib.Path(options.llama)
    return options


def main(argv=None):
    options = arguments(argv)
    if options.list:
        print("\n".join(row.name for row in options.rows))
        return 0
    load = os.getloadavg()[0]
    if load > 0.3:
        print(f"note: others use this machine (load {load:.1f}); do not trust the figures",
              file=sys.stderr)
    results = []
    try:
        comparison = Comparison(options)
    except peers.CannotMeasure as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 1
    for row in options.rows:
        print(row.name, file=sys.stderr)
        try:
            results.append(table.result(row, *comparison.measure(row)))
        except peers.CannotMeasure as error:
            results.append({"row": row.name, "work": row.work, "against": row.against,
                            "reach": row.reach, "error": str(error)})
    print(json.dumps(results, indent=1) if options.json else table.table(results))
    return 1 if any("error" in r for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())

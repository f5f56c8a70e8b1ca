#!/usr/bin/env python3
"""Runs clang-tidy over the project's sources; see check-tidy.sh."""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LLVM = pathlib.Path("/usr/lib/llvm-19/include")
PLUGIN = ROOT / "tools/dev/tidy-scope.cpp"


def compile_commands(build):
    """The compile commands of the project's own sources."""
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        if not path.is_relative_to(ROOT) or path.is_relative_to(build):
            continue
        if "third_party" in path.parts or path.name == "pch.cpp" or path.suffix not in (".cpp", ".c"):
            continue
        words = [w for w in shlex.split(entry["command"]) if not w.endswith("/ccache")]
        entries[str(path)] = dict(file=str(path), directory=entry["directory"], arguments=words)
    return entries


def digest_of_headers():
    """Identifies all that a finding can depend on but the file itself."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.h", "*.td", "*.fbs", ".clang-tidy",
         str(PLUGIN)],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    hashed = hashlib.sha256()
    for name in sorted(names):
        if (ROOT / name).is_file():
            hashed.update(name.encode() + (ROOT / name).read_bytes())
    return hashed


def build_plugin(folder):
    """The plugin that keeps checks out of the headers of others."""
    library = folder / "tidy-scope.so"
    if not library.exists() or library.stat().st_mtime < PLUGIN.stat().st_mtime:
        made = library.with_suffix(f".{os.getpid()}.so")
        subprocess.run(["clang++-19", "-std=c++17", "-O1", "-fPIC", "-shared", "-fno-rtti",
                        "-isystem", str(LLVM), str(PLUGIN), "-o", str(made)], check=True)
        made.rename(library)
    return library


def check(entry, folder, plugin, headers, clean):
    hashed = headers.copy()
    hashed.update(" ".join(entry["arguments"]).encode() + pathlib.Path(entry["file"]).read_bytes())
    mark = clean / hashed.hexdigest()
    if mark.exists():
        return entry["file"], 0, ""
    result = subprocess.run(["clang-tidy-19", "--load", str(plugin), "--checks=tacq-scope",
                             "--quiet", "-p", str(folder), entry["file"]],
                            capture_output=True, text=True)
    if result.returncode == 0:
        mark.touch()
    return entry["file"], result.returncode, result.stdout + result.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("TACQ_JOBS", "2")))
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    build = (ROOT / args.build).resolve()
    entries = compile_commands(build)
    folder = build / "tidy"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    clean = pathlib.Path(cache) / "tacq-tidy"
    clean.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compile_commands.json").write_text(json.dumps(list(entries.values())))
    chosen = [str((ROOT / f).resolve()) for f in args.files] or sorted(entries)
    unknown = [f for f in chosen if f not in entries]
    if unknown:
        sys.exit(f"error: {unknown[0]} is not compiled in {build}")
    headers = digest_of_headers()
    plugin = build_plugin(folder)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        tasks = [pool.submit(check, entries[f], folder, plugin, headers, clean) for f in chosen]
        for number, task in enumerate(concurrent.futures.as_completed(tasks), 1):
            file, status, text = task.result()
            if status:
                bad += 1
                print(text)
            print(f"[{number}/{len(chosen)}] {os.path.relpath(file, ROOT)}", file=sys.stderr)
    print(f"{len(chosen) - bad} of {len(chosen)} files are clean")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

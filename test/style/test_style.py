"""The sources keep the project's style."""
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sources(*patterns):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout.split("\n")
    return [name for name in listed if name and (ROOT / name).is_file()]


def test_clang_format():
    result = subprocess.run(["tools/dev/check-format.sh"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]


def test_clang_tidy():
    build = os.environ.get("TACQ_BUILD", "build")
    result = subprocess.run(["tools/dev/check-tidy.sh", "--build", build], cwd=ROOT,
                            capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-8000:]


def test_files_are_short():
    long = {}
    for name in sources("*.cpp", "*.h", "*.td", "*.py", "*.sh"):
        if "third_party" not in name:
            lines = (ROOT / name).read_text().count("\n")
            if lines > 600:
                long[name] = lines
    assert not long, "files over 600 lines, split them"


def test_no_unfinished_marks():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = []
    for name in sources("*.cpp", "*.h", "*.td", "*.py", "*.sh", "*.mlir", "CMakeLists.txt"):
        if "third_party" in name or name.startswith("test/style/"):
            continue
        for number, line in enumerate((ROOT / name).read_text().split("\n"), 1):
            if marks.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "\n".join(found)

"""The sources keep the project's style."""
import importlib.util
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


def test_clang_tidy_finds_what_is_wrong(tmp_path):
    """The plugin that leaves out the headers of others leaves the rest to every check."""
    spec = importlib.util.spec_from_file_location("check_tidy", ROOT / "tools/dev/check-tidy.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (tmp_path / "own.h").write_text("""
inline int half(const std::string &text) {
  if (text.size() == 0)
    return 0;
  return int(int(text.size()) / 2 * 1.5);
}
""")
    (tmp_path / "bad.cpp").write_text("""
#include <string>
#include <vector>
#include "own.h"
namespace {
struct Guard { Guard() {} ~Guard() {} };
int use(std::vector<std::string> names) {
  Guard();
  std::vector<std::string> taken = std::move(names);
  for (auto name : taken)
    if (half(name) == 1)
      return 1;
  return int(names.size());
}
} // namespace
int main() { return use({}); }
""")
    result = subprocess.run(
        ["clang-tidy-19", "--load", script.build_plugin(tmp_path), "--checks=tacq-scope", "--quiet",
         f"--config-file={ROOT / '.clang-tidy'}", "--header-filter=.*", tmp_path / "bad.cpp", "--",
         "-std=c++17"], capture_output=True, text=True)
    found = set(re.findall(r"(\w+\.\w+):\d+:\d+: error: .*\[([a-z-]+)", result.stdout))
    assert result.returncode != 0
    assert found == {("own.h", "readability-container-size-empty"),
                     ("own.h", "bugprone-integer-division"), ("bad.cpp", "bugprone-unused-raii"),
                     ("bad.cpp", "bugprone-use-after-move"),
                     ("bad.cpp", "performance-for-range-copy")}


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

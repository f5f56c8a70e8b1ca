"""The documents agree with the code."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAMILIES = {"attention", "attention_grad", "buffer", "constant", "copy", "dispatch", "get_param",
            "if", "kernel", "launch", "layout", "linear", "mixed", "node", "norm", "quantize_rows",
            "require", "rope", "schedule", "shape", "symbolic", "tiling", "vulkan_profile"}


def tracked(*patterns):
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT,
                           check=True, capture_output=True, text=True).stdout.split()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def labels_in_spec():
    return set(re.findall(r"^- \*\*`([a-z_]+\.[a-z_]+)`\*\*", (ROOT / "docs/Spec.md").read_text(),
                          re.MULTILINE))


def labels_in_verifiers():
    found = set()
    for path in tracked("dialects/lib/*.cpp", "dialects/lib/**/*.cpp"):
        found |= set(re.findall(r'"([a-z_]+\.[a-z_]+)[:"]', path.read_text()))
    return {label for label in found if label.split(".")[0] in FAMILIES}


def labels_in_tests():
    found = set()
    for path in tracked("test/*.mlir", "test/**/*.mlir"):
        found |= set(re.findall(r"expected-error[^{]*\{\{(?:'[^']*' op )?([a-z_]+\.[a-z_]+)",
                                path.read_text()))
    return {label for label in found if label.split(".")[0] in FAMILIES}


def test_every_rule_has_a_verifier_and_a_test():
    spec = labels_in_spec()
    assert len(spec) > 20
    assert spec == labels_in_verifiers()
    assert spec == labels_in_tests()


def test_generated_pages_are_fresh():
    result = subprocess.run(["tools/dev/generate-docs.sh", "--check"], cwd=ROOT,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_links_lead_somewhere():
    missing = []
    for page in tracked("*.md", "**/*.md"):
        if "third_party" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert not missing, "\n".join(missing)


def test_readme_names_every_tool():
    text = (ROOT / "README.md").read_text()
    tools = [path.name for path in sorted((ROOT / "tools").glob("tacq-*"))]
    assert tools and not [tool for tool in tools if f"`{tool}`" not in text]

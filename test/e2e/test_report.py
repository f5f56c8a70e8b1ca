"""tacq-dump --report: one page that a browser shows, with the figures of the module."""
import html
import json
import math
import pathlib
import re
import subprocess

import html5lib
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import exports

EXPORT = "dynamo_past_opset18"
BROWSER = "chromium-headless-shell"
HOSTILE = "</td><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&\u202e"


def parse(path):
    """The page as a tree; anything that is no HTML raises an error."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text(encoding="utf-8"))


def text_of(element):
    return "".join(element.itertext())


def table(tree, name):
    """The rows of a table's body, as texts."""
    found = tree.find(f".//table[@id='{name}']")
    assert found is not None, f"there is no table {name}"
    return [[text_of(cell) for cell in row] for row in found.find("tbody")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def tasks(calibrated):
    return [calibrated("first"), calibrated("backwards"), calibrated("few")]


@pytest.fixture(scope="module")
def module_file(tools, onnx_file, folder, tasks):
    path = folder / "m.tacq"
    tools.run("tacq-compile", onnx_file(EXPORT), "--stats", tasks[0], "--bits", 2, "--codebook",
              "--circuit", "0.35%", "--method", "nearest", "-o", path)
    return path


@pytest.fixture(scope="module")
def plan(tools, folder, module_file):
    """A plan that has every third tensor in another format, as tacq-plan writes it."""
    summary = json.loads(tools.run("tacq-dump", module_file, "--json").stdout)
    mixed = [t for t in summary["tensors"] if t["scheme"] == "mixed"]
    tensors = [{"name": t["name"], "bits": 3 if i % 3 == 0 else 2, "group": 0, "codebook": True,
                "bytes": t["bytes"], "bpw": t["bpw"], "predicted_loss": 0.001 * (i + 1)}
               for i, t in enumerate(mixed)]
    random = np.random.default_rng(5)
    candidates = [{"bits": bits, "group": group, "codebook": False, "circuit": circuit,
                   "bytes": int(1e5 * (bits + 16 / group + 32 * circuit)), "bpw": bits + 16 / group,
                   "predicted_loss": float(10.0 ** -bits * random.uniform(1, 9))}
                  for bits in (2, 3, 4, 8) for group in (64, 128) for circuit in (0, 0.0035)]
    candidates += [{"circuit": 0.0035, "bytes": sum(t["bytes"] for t in tensors), "bpw": 2.3,
                    "predicted_loss": 0.02, "measured_loss": 0.03, "chosen": True}]
    candidates.sort(key=lambda candidate: candidate["bytes"])
    path = folder / "plan.json"
    path.write_text(json.dumps({"version": 1, "model": summary["model_hash"], "mean_loss": 0.4,
                                "circuit_layout": "slots", "circuit": 0.0035, "tensors": tensors,
                                "candidates": candidates}))
    return path


@pytest.fixture(scope="module")
def page(tools, folder, module_file, plan, tasks):
    path = folder / "report.html"
    result = tools.run("tacq-dump", module_file, "--report", path, "--plan", plan,
                       *(flag for task in tasks for flag in ("--stats", task)))
    assert result.stdout == ""
    return path


@pytest.fixture(scope="module")
def hostile_page(tools, folder):
    """Two layers of products with weights of such names."""
    names = [f"layers.{layer}.{role}{HOSTILE}.weight" for layer in range(2) for role in "ab"]
    value = helper.make_tensor_value_info
    nodes, last = [], "x"
    for i, name in enumerate(names):
        nodes.append(helper.make_node("MatMul", [last, name], [f"y{i}"]))
        last = f"y{i}"
    weights = [numpy_helper.from_array(np.full((64, 64), i, np.float32), name)
               for i, name in enumerate(names)]
    graph = helper.make_graph(nodes, "g", [value("x", onnx.TensorProto.FLOAT, ["n", 64])],
                              [value(last, onnx.TensorProto.FLOAT, ["n", 64])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10),
              folder / "hostile.onnx")
    tools.run("tacq-compile", folder / "hostile.onnx", "-o", folder / "<b>hostile.tacq")
    tools.run("tacq-dump", folder / "<b>hostile.tacq", "--report", folder / "hostile.html")
    return folder / "hostile.html"


# ---- the figures

def test_tensors_are_those_of_the_module(tools, page, module_file, plan):
    summary = json.loads(tools.run("tacq-dump", module_file, "--json").stdout)
    planned = {t["name"]: t for t in json.loads(plan.read_text())["tensors"]}
    base = json.loads(plan.read_text())["mean_loss"]
    tree = parse(page)
    tensors = [t for t in summary["tensors"] if len(t["shape"]) > 1]
    tensors += [t for t in summary["tensors"] if len(t["shape"]) < 2]
    rows = table(tree, "tensors") + table(tree, "vectors")
    assert len(rows) == len(tensors) > 50
    losses = 0
    for tensor, row in zip(tensors, rows):
        assert row[0] == tensor["name"]
        assert row[1] == " × ".join(map(str, tensor["shape"]))
        assert int(row[3]) == tensor["bytes"] and row[4] == f"{tensor['bpw']:.3f}"
        if tensor["scheme"] != "mixed":
            assert row[5] == row[7] == ""
            continue
        assert row[2] == "2 bits, levels of each row"
        assert int(row[5]) == tensor["circuit"]
        assert row[6] == f"{100 * tensor['circuit_share']:.3f} %"
        if planned[tensor["name"]]["bits"] == 2 and planned[tensor["name"]]["codebook"]:
            loss = 100 * planned[tensor["name"]]["predicted_loss"] / base
            assert float(row[7].rstrip(" %")) == pytest.approx(loss, rel=0.01)
            losses += 1
        else:
            assert row[7] == ""
    assert losses > 0 and summary["totals"]["circuit"] > 10000
    roles = {row[0]: int(row[1]) for row in table(tree, "roles")}
    assert sum(roles.values()) == summary["totals"]["bytes"]


def test_map_is_what_the_tensors_add_up_to(tools, page, module_file):
    """The export does not number layers in the names of matrices, but in those of norms."""
    tensors = json.loads(tools.run("tacq-dump", module_file, "--json").stdout)["tensors"]
    layers, current = {}, None
    for tensor in tensors:
        numbered = re.search(r"layers\.(\d+)\.", tensor["name"])
        current = numbered.group(1) if numbered else current
        layers[tensor["name"]] = current
    by_name = {tensor["name"]: tensor for tensor in tensors}
    heat = parse(page).find(".//table[@id='map-circuit']")
    header = [text_of(cell) for cell in heat.find("thead/tr")]
    assert header == ["layer", *(f"matrix {i}" for i in range(1, 8)), "all"]
    strongest, seen = 0, set()
    for row in heat.find("tbody"):
        circuit = elements = 0
        for cell in row[1:-1]:
            tensor = by_name[cell.get("title")]
            seen.add(tensor["name"])
            assert layers[tensor["name"]] == text_of(row[0])
            assert float(text_of(cell).rstrip(" %")) == pytest.approx(
                100 * tensor["circuit_share"], rel=0.01)
            circuit += tensor["circuit"]
            elements += tensor["elements"]
            strongest = max(strongest, float(cell.get("style").split(":")[1]))
        assert float(text_of(row[-1]).rstrip(" %")) == pytest.approx(100 * circuit / elements,
                                                                    rel=0.01)
    assert strongest == 1
    assert seen == {tensor["name"] for tensor in tensors if tensor["scheme"] == "mixed"}


def test_saliency_is_of_each_task(page, tasks):
    tree = parse(page)
    for number in (1, 2, 3):
        heat = tree.find(f".//table[@id='map-saliency-{number}']")
        assert tasks[number - 1].name in text_of(heat.find("caption"))
        assert text_of(heat.find("tfoot/tr")[-1]) == "1.00"
    rows = table(tree, "tensors")
    for column in (8, 9, 10):
        parts = [float(row[column].rstrip(" %")) for row in rows if row[column]]
        assert len(parts) == 42 and sum(parts) == pytest.approx(100, rel=0.01)


def test_candidates_are_those_of_the_plan(page, plan):
    made = json.loads(plan.read_text())
    tree = parse(page)
    rows = table(tree, "candidates")
    assert len(rows) == len(made["candidates"])
    markers = [marker for marker in tree.find(".//{*}svg[@id='frontier-chart']").findall(".//{*}path")
               if marker.find("{*}title") is not None]
    assert len(markers) == len(rows)
    least = math.inf
    for candidate, row, marker in zip(made["candidates"], rows, markers):
        assert int(row[3]) == candidate["bytes"]
        assert f": {candidate['bytes']} bytes" in text_of(marker.find("{*}title"))
        assert float(row[4].rstrip(" %")) == pytest.approx(
            100 * candidate["predicted_loss"] / made["mean_loss"], rel=0.01)
        # The plan has them by size.
        assert ("on the frontier" in row[6]) == (candidate["predicted_loss"] < least)
        least = min(least, candidate["predicted_loss"])
        assert ("chosen" in row[6]) == candidate.get("chosen", False)
        assert row[5] == "" or float(row[5].rstrip(" %")) == pytest.approx(
            100 * candidate["measured_loss"] / made["mean_loss"], rel=0.01)
        assert bool(row[5]) == ("measured_loss" in candidate)
    circles = [circle for circle in tree.findall(".//{*}circle")
               if circle.get("class") == "measured"]
    assert len(circles) == 1 and "measured: +7.5 %" in text_of(circles[0].find("{*}title"))
    assert sum("chosen" in row[6] for row in rows) == 1


def test_samples(tools, page, tasks):
    def interval(text):
        return [float(number) for number in re.fullmatch(r"(.*) % \[(.*), (.*)\]", text).groups()]

    def shown(part):
        return pytest.approx([100 * part[name] for name in ("mean", "low", "high")], abs=0.051)

    summary = parse(page)
    first, other, few = table(summary, "tasks")
    assert first[:2] == [tasks[0].name, "20"] and first[-1] == "the same task: keep"
    assert other[0] == tasks[1].name and other[-1] == "another task: calibrate again"
    assert few[1] == "5" and few[3] == "takes 16 samples" and few[-1] == "too few samples to tell"
    circuit = sum(int(row[5]) for row in table(summary, "tensors") if row[5])
    weights = sum(math.prod(map(int, row[1].split(" × "))) for row in table(summary, "tensors")
                  if row[5])
    flags = ["--circuit", repr(circuit / weights), "--json"]
    stated = json.loads(tools.run("tacq-calibrate", "inspect", tasks[0], *flags).stdout)
    assert first[2] == f"{stated['mean_loss']:.4f}"
    for text, name in zip(first[3:6], ("bootstrap_common", "halves_common", "doubling_changes")):
        assert interval(text) == shown(stated["stability"][name])
    pairs = table(summary, "pairs")
    assert [pair[:2] for pair in pairs] == [[tasks[i].name, tasks[j].name]
                                            for i, j in ((0, 1), (0, 2), (1, 2))]
    stated = json.loads(tools.run("tacq-calibrate", "inspect", *tasks[:2], *flags).stdout)
    for text, name in zip(pairs[0][2:5], ("common", "halves_of_first_common", "saliency_captured")):
        assert interval(text) == shown(stated["circuits"][name])
    assert pairs[0][5] == f"{stated['drift']['distance']:.2f}"
    assert pairs[1][2] == "takes 16 samples of each"


# ---- the page

@pytest.mark.parametrize("name", ["page", "hostile_page"])
def test_page_needs_nothing_else(request, name):
    path = request.getfixturevalue(name)
    tree = parse(path)
    text = path.read_text(encoding="utf-8")
    assert not list(tree.iter("script")) and not re.search(r"url\(|@import", text)
    policy = tree.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
    assert policy.startswith("default-src 'none'")
    for element in tree.iter():
        if isinstance(element.tag, str):
            assert not {"src", "href", "srcset", "action", "data"} & set(element.attrib)
            assert not [name for name in element.attrib if name.startswith("on")]
    identifiers = [e.get("id") for e in tree.iter() if isinstance(e.tag, str) and e.get("id")]
    assert len(identifiers) == len(set(identifiers))
    for element in tree.iter():
        if isinstance(element.tag, str) and element.get("aria-labelledby"):
            assert element.get("aria-labelledby") in identifiers


def test_hostile_names_are_text(hostile_page):
    tree = parse(hostile_page)
    names = [row[0] for row in table(tree, "tensors")]
    assert names == [f"layers.{layer}.{role}{HOSTILE}.weight" for layer in range(2)
                     for role in "ab"]
    assert not list(tree.iter("img")) and "owned" not in text_of(tree.find(".//title"))
    assert "<b>hostile.tacq" in text_of(tree.find(".//h1"))
    header = [text_of(cell) for cell in tree.find(".//table[@id='map-bits']/thead/tr")]
    assert header == ["layer", "a<", "b<", "all"]  # without what both end with, from "/" on


def browse(path, *flags):
    """The document once a browser has shown the page."""
    result = subprocess.run([BROWSER, "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                             *flags, "--dump-dom", path.as_uri()],
                            capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("name", ["page", "hostile_page"])
@pytest.mark.parametrize("width, dark", [(1100, False), (420, True)])
def test_browser_shows_it(request, folder, name, width, dark):
    """Contrast of all text, pictures within their frames, no page wider than the window."""
    path = request.getfixturevalue(name)
    checks = (pathlib.Path(__file__).parent / "page_checks.js").read_text()
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"<meta\s+http-equiv=[^>]*>", "", text).replace(
        "</body>", f"<script>{checks}</script></body>").replace("<details>", "<details open>")
    checked = folder / "checked.html"
    checked.write_text(text, encoding="utf-8")
    shown, console = browse(checked, f"--window-size={width},900",
                            f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    assert not console
    result = json.loads(html.unescape(re.search(r'<pre id="findings">(.*?)</pre>', shown,
                                                re.DOTALL).group(1)))
    assert result["dark"] == dark and result["texts"] > 10 and result["strongest"] > 0
    assert result["findings"] == []


@pytest.mark.parametrize("name", ["page", "hostile_page"])
def test_browser_has_no_complaints(request, name):
    """With the page's own policy, and nothing of it changed."""
    shown, console = browse(request.getfixturevalue(name))
    assert not console
    assert "<title>TACQ report: " in shown and "</main>" in shown


# ---- what users get wrong

def test_errors(tools, tmp_path, module_file, plan, tasks, module):
    output = tmp_path / "r.html"
    other = module("legacy_past_opset17")
    tools.fails("tacq-dump", other, "--report", output, "--stats", tasks[0], status=3,
                says=["first.stats", "other contents"])
    tools.fails("tacq-dump", other, "--report", output, "--plan", plan, status=3,
                says=["plan.json", "other contents"])
    tools.fails("tacq-dump", module_file, "--report", output, "--stats", plan, status=3,
                says="plan.json")
    tools.fails("tacq-dump", module_file, "--report", output, "--json", status=1, says="--json")
    tools.fails("tacq-dump", module_file, "--plan", plan, status=1, says="--report")
    tools.fails("tacq-dump", module_file, "--report", tmp_path / "no" / "r.html", status=3,
                says="r.html")
    assert not list(tmp_path.iterdir())
    tools.run("tacq-dump", other, "--report", output)
    assert not table(parse(output), "tensors")[0][5]

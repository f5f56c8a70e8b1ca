# lit configuration: tests are .mlir and .test files; see docs/guides/debugging.md for how to run
# a single one.
import os

import lit.formats

config.name = "TACQ"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "data", "e2e", "style", "out-of-tree"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.tacq_binary_test_dir

config.environment["PATH"] = os.pathsep.join(
    [config.tacq_bin_dir, config.llvm_bin_dir, "/usr/bin", "/bin"]
)
config.environment["FILECHECK_OPTS"] = "--dump-input-filter=all"
config.substitutions += [
    ("%python", config.python),
    ("%models", os.path.join(config.tacq_source_dir, "models")),
    ("%data", os.path.join(config.tacq_source_dir, "test", "data")),
    ("%onnx", config.python + " " + os.path.join(config.test_source_root, "onnx_text.py")),
    ("%tacq_lib_dir", config.tacq_lib_dir),
    # Debian's does not know cooperative matrices.
    ("%spirv_dis", os.path.join(os.path.dirname(config.python), "spirv-dis") + " --no-color"),
]
plugin = os.path.join(config.tacq_lib_dir, "TACQPlugin.so")
config.substitutions.append(
    ("%tacq_plugins", f"--load-dialect-plugin={plugin} --load-pass-plugin={plugin}")
)
if os.path.exists(plugin):
    config.available_features.add("tacq-plugin")

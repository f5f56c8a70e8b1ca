"""The shaders of modules: whether they are valid, and within what their profiles allow."""
import hashlib
import pathlib
import struct
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor

PROFILES = ["generic", "lavapipe", "arm-mali", "intel-xe", "nvidia-hopper"]
TARGETS = ",".join(f"vulkan={name}" for name in PROFILES)
# OpCapability operands that a profile allows: Shader, Float64 and Int64; Float16, Int16, Int8, the
# storage of 16 and 8 bits and DotProduct of packed bytes; GroupNonUniform with arithmetic and
# shuffles; VulkanMemoryModel and CooperativeMatrixKHR.
GENERIC = {1, 10, 11}
NARROW = {9, 22, 39, 4433, 4448, 6018, 6019}
SUBGROUPS = {61, 63, 65}
MATRICES = {5345, 6022}
ALLOWED = {"generic": GENERIC, "lavapipe": GENERIC | NARROW | SUBGROUPS,
           "arm-mali": GENERIC - {10} | NARROW, "intel-xe": GENERIC - {10} | NARROW,
           "nvidia-hopper": GENERIC | NARROW | SUBGROUPS | MATRICES}
# Invocations of a workgroup, bytes that they share, and buffers.
LIMITS = {"generic": (128, 16 << 10, 32), "lavapipe": (1024, 32 << 10, 32),
          "arm-mali": (512, 32 << 10, 32), "intel-xe": (1024, 64 << 10, 64),
          "nvidia-hopper": (1024, 48 << 10, 1024)}
# The program itself, since the script in front of it takes longer than it does. Debian's does not
# know cooperative matrices.
VALIDATOR = pathlib.Path(sysconfig.get_path("purelib")) / "cmeel.prefix" / "bin" / "spirv-val"


def shaders(module):
    """The codes of the shaders of each SPIR-V executable of a module."""
    data = module.read_bytes()
    # Weights may have these bytes, too, but not where executables begin.
    for at in range(0, len(data), 64):
        if data[at:at + 4] != b"TQSV":
            continue
        _, version, count, _, variants, _ = struct.unpack_from("<6I", data, at)
        assert version == 5
        codes = []
        for i in range(count + variants):
            offset, size = struct.unpack_from("<2Q", data, at + 24 + 48 * i)
            # Kernels without a shader have none.
            if size:
                codes.append(data[at + offset:at + offset + size])
        yield codes


class Shader:
    """What a binary shader says of itself."""

    def __init__(self, code):
        words = struct.unpack(f"<{len(code) // 4}I", code)
        self.capabilities, self.invocations, self.shared, bindings = set(), 0, 0, set()
        size, constants, pointers, at = {}, {}, {}, 5
        while at < len(words):
            length, operation = words[at] >> 16, words[at] & 0xFFFF
            own = words[at + 1:at + length]
            at += length
            if operation == 54:  # OpFunction: all of that is in front of it
                break
            if operation == 17:  # OpCapability
                self.capabilities.add(own[0])
            elif operation == 16 and own[1] == 17:  # OpExecutionMode LocalSize
                self.invocations = own[2] * own[3] * own[4]
            elif operation == 71 and own[1] == 33:  # OpDecorate Binding
                bindings.add(own[2])
            elif operation in (21, 22):  # OpTypeInt, OpTypeFloat
                size[own[0]] = own[1] // 8
            elif operation == 43:  # OpConstant
                constants[own[1]] = own[2]
            elif operation == 23:  # OpTypeVector
                size[own[0]] = own[2] * size[own[1]]
            elif operation == 28:  # OpTypeArray
                size[own[0]] = constants[own[2]] * size[own[1]]
            elif operation == 30:  # OpTypeStruct
                size[own[0]] = sum(size.get(member, 0) for member in own[1:])
            elif operation == 32:  # OpTypePointer
                pointers[own[0]] = own[2]
            elif operation == 59 and own[2] == 4:  # OpVariable Workgroup
                self.shared += size[pointers[own[0]]]
        self.buffers = len(bindings)


class ShaderChecks:
    """Checks each shader once, several at a time."""

    def __init__(self, jobs):
        self.jobs, self.seen = jobs, set()
        self.used = {profile: set() for profile in PROFILES}

    def check(self, modules):
        """Of modules for all profiles; returns how many shaders were new."""
        new = {}
        for module in modules:
            executables = list(shaders(module))
            assert len(executables) == len(PROFILES), module
            for profile, codes in zip(PROFILES, executables):
                for number, code in enumerate(codes):
                    key = profile, hashlib.sha256(code).digest()
                    if key not in self.seen:
                        new[key] = f"{module.name}, {profile}, shader {number}", code
        self.seen |= set(new)
        for (profile, _), (name, code) in new.items():
            shader = Shader(code)
            assert shader.capabilities <= ALLOWED[profile], name
            own = shader.invocations, shader.shared, shader.buffers
            assert all(0 <= a <= b for a, b in zip(own, LIMITS[profile])), (name, own)
            assert shader.invocations > 0, name
            self.used[profile] |= shader.capabilities
        # The same code may be that of several profiles.
        codes = {digest: value for (_, digest), value in new.items()}
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(self.jobs) as pool:
            def validate(item):
                number, (name, code) = item
                path = pathlib.Path(folder) / f"{number}.spv"
                path.write_bytes(code)
                # A device with matrices has Vulkan 1.3.
                version = "vulkan1.3" if 6022 in Shader(code).capabilities else "vulkan1.1"
                result = subprocess.run([VALIDATOR, "--target-env", version, path], text=True,
                                        capture_output=True)
                path.unlink()
                assert result.returncode == 0, f"{name}: {result.stdout}{result.stderr}"
            for _ in pool.map(validate, enumerate(codes.values())):
                pass
        return len(new)

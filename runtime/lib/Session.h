//===- Session.h - A module on a device -------------------------*- C++ -*-===//

#ifndef TACQ_LIB_SESSION_H
#define TACQ_LIB_SESSION_H

#include "Objects.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace tacq {

/// Entries that caches without a fixed capacity start with.
inline constexpr int64_t kFirstCapacity = 256;

/// A buffer of a driver with its owner.
class DeviceMemory {
public:
  static Error create(tacq_device *device, int64_t size, std::shared_ptr<DeviceMemory> &result);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;

  tacq_device *const device;
  tacq_driver_buffer_t *const buffer;
  const int64_t size;

private:
  DeviceMemory(tacq_device *device, tacq_driver_buffer_t *buffer, int64_t size)
      : device(device->retain()), buffer(buffer), size(size) {}
};

struct SessionInput {
  bool set = false;
  const void *data = nullptr;
  std::vector<int64_t> dims;
  int64_t bytes = 0;
  tacq_driver_buffer_t *wrapped = nullptr; // the caller's memory, where the driver can do that
  /// Otherwise; one of them may be read by a run that is going on.
  std::shared_ptr<DeviceMemory> uploaded[2];
  /// The output whose last value it is, or -1, and that value's memory.
  int64_t link = -1;
  std::shared_ptr<DeviceMemory> linked;
};

struct SessionOutput {
  std::shared_ptr<DeviceMemory> memory;
  std::vector<int64_t> dims; // of the last run
  int64_t bytes = 0;
};

/// A run that was started and is not finished.
struct StartedRun {
  std::vector<SessionOutput> outputs;
  /// Of linked inputs, which it may still be reading.
  std::vector<std::shared_ptr<DeviceMemory>> linked;
  /// Of the states before it, for when it fails.
  std::vector<int64_t> lengths;
  std::vector<std::vector<int64_t>> stateDims;
  uint64_t startedAt = 0;
  /// The driver has finished it, with this error.
  bool done = false;
  Error error;
};

/// A state's memory. In place: a tensor of extents `dims` whose extent along the axis is the
/// capacity, of which `length` entries are in use. Not in place: the tensor that the last call
/// left, of extents `dims`; `spare` is the memory for the next one.
struct SessionState {
  std::shared_ptr<DeviceMemory> memory, spare;
  std::vector<int64_t> dims;
  int64_t length = 0;
};

} // namespace tacq

struct tacq_session {
public:
  static tacq::Error create(tacq_module *module, tacq_device *device,
                            const tacq_session_options_t &options, tacq_session **result);
  ~tacq_session();

  tacq::Error setInput(size_t index, tacq_element_type_t type, const int64_t *dims, size_t rank,
                       const void *data, size_t size);
  tacq::Error run();
  tacq::Error start();
  tacq::Error finish();
  tacq::Error link(size_t output, size_t input);
  tacq::Error outputShape(size_t index, const std::vector<int64_t> *&dims) const;
  tacq::Error getOutput(size_t index, DLManagedTensor **tensor);
  tacq::Error copyOutput(size_t index, void *data, size_t size);
  tacq::Error rewind(int64_t position);
  int64_t position() const;
  int64_t capacity() const;
  void getCounters(tacq_session_counters_t &result) const;
  tacq::Error profile(tacq_profile_fn fn, void *user) const;

private:
  tacq_session() = default;
  tacq::Error selectExecutable(int32_t &index) const;
  void noteChoice(int32_t index, const std::string &reasons) const;

  // One run, in this order.
  tacq::Error resolveShapes();
  tacq::Error bindDims(size_t input, const std::vector<int64_t> &dims);
  tacq::Error keptDims(size_t state, std::vector<int64_t> &dims) const;
  tacq::Error runPrologue();
  tacq::Error growCapacities(bool &again);
  tacq::Error prepareStates();
  tacq::Error prepareInputs();
  tacq::Error finishOutputs();
  tacq::Error launch();
  /// Of all that was started; what went wrong is found when each is finished.
  void waitForStarted();
  tacq::Error takeLinked();
  bool canReuse(const std::shared_ptr<tacq::DeviceMemory> &memory) const;
  /// Undoes what `run`, which has failed, and those behind it did to the states.
  tacq::Error fail(tacq::StartedRun run);
  void advanceStates();
  static tacq_status_t *reserveOutput(tacq_run_t *run, uint32_t index, int64_t bytes);

  const tacq::format::State &stateOf(size_t state) const {
    return *metadata->states()->Get(static_cast<uint32_t>(state));
  }
  /// Whether the session keeps the input from call to call.
  bool isKept(size_t input) const { return options.stateful && module->inputs[input].state >= 0; }
  tacq::Error readOutput(size_t index, void *data);

  tacq_module *module = nullptr;
  tacq_device *device = nullptr;
  tacq_session_options_t options = {};
  const tacq::format::Module *metadata = nullptr;
  tacq_driver_program_t *program = nullptr;

  tacq::RunContext context;
  std::vector<int32_t> definedBy; // by symbol: the input that defined it in this run, or -1
  std::vector<tacq::SessionInput> inputs;
  std::vector<tacq::SessionOutput> outputs;
  std::vector<tacq::SessionState> states;
  /// Of the last run that was finished; `outputs` are those of the run that is being started.
  std::vector<tacq::SessionOutput> results;
  bool hasOutputs = false;
  std::deque<tacq::StartedRun> started;
  /// Which memory the inputs of the run that is being started are written to.
  size_t side = 0;
  uint64_t lastEnd = 0;

  // What tacq_run points to.
  std::vector<tacq_driver_buffer_t *> inputBuffers, outputBuffers, stateBuffers;
  std::vector<int64_t> inputSizes, outputSizes, stateSizes;
  uint64_t runs = 0, dispatches = 0, commands = 0, allocations = 0, bytesTransient = 0,
           bytesCopied = 0, runNs = 0, deviceNs = 0;
  std::vector<uint64_t> profileNs, profileCount;
};

namespace tacq {

/// A tensor seen as rows along one axis: `rows` rows, of `inner` bytes for each entry.
struct AxisRows {
  int64_t rows = 1;
  int64_t inner = 1;
};
AxisRows axisRows(const std::vector<int64_t> &dims, int32_t axis, size_t elementBytes);

/// Product with `elementBytes`; false when it overflows.
bool shapeBytes(const std::vector<int64_t> &dims, size_t elementBytes, int64_t &bytes);

/// "[2, 3]"
std::string shapeText(const std::vector<int64_t> &dims);

} // namespace tacq

#endif // TACQ_LIB_SESSION_H

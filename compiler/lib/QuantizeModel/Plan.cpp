//===- Plan.cpp - Plans as JSON -------------------------------------------===//

#include "tacq/Quantize/Plan.h"
#include "tacq/CPU/LinearTiling.h"
#include "tacq/TextFile.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <set>

using namespace tacq;
namespace json = llvm::json;

static constexpr int64_t planVersion = 1;

const TensorPlan *Plan::find(const std::string &name) const {
  for (const TensorPlan &tensor : tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

const char *tacq::circuitLayoutName(WeightFormat::Circuit circuit) {
  switch (circuit) {
  case WeightFormat::Circuit::None:
    return "none";
  case WeightFormat::Circuit::Scattered:
    return "scattered";
  case WeightFormat::Circuit::Slots:
    return "slots";
  case WeightFormat::Circuit::Uniform:
    return "uniform";
  }
  return "none";
}

std::optional<WeightFormat::Circuit> tacq::parseCircuitLayout(const std::string &name) {
  for (auto circuit : {WeightFormat::Circuit::None, WeightFormat::Circuit::Scattered,
                       WeightFormat::Circuit::Slots, WeightFormat::Circuit::Uniform})
    if (name == circuitLayoutName(circuit))
      return circuit;
  return std::nullopt;
}

namespace {

/// Reads the members of an object, each once, and says what is wrong with it.
class ObjectReader {
public:
  ObjectReader(const json::Object &object, std::string where)
      : object(object), where(std::move(where)) {}

  template <typename T, typename Get>
  void read(llvm::StringRef name, T &value, const char *kind, Get get) {
    known.insert(name);
    const json::Value *member = object.get(name);
    if (!member)
      return;
    if (auto found = get(*member))
      value = *found;
    else
      fail("'" + name.str() + "' is not " + kind);
  }
  void integer(llvm::StringRef name, int64_t &value) {
    read(name, value, "an integer", [](const json::Value &v) { return v.getAsInteger(); });
  }
  void number(llvm::StringRef name, double &value) {
    read(name, value, "a number", [](const json::Value &v) { return v.getAsNumber(); });
  }
  void bytes(llvm::StringRef name, uint64_t &value) {
    read(name, value, "a number of bytes", [](const json::Value &v) { return v.getAsUINT64(); });
  }
  void boolean(llvm::StringRef name, bool &value) {
    read(name, value, "true or false", [](const json::Value &v) { return v.getAsBoolean(); });
  }
  void string(llvm::StringRef name, std::string &value) {
    read(name, value, "a text", [](const json::Value &v) { return v.getAsString(); });
  }
  void ignore(llvm::StringRef name) { known.insert(name); }
  void fail(const std::string &what) {
    if (reason.empty())
      reason = where + what;
  }
  /// What is wrong, or "".
  std::string finish() {
    for (const auto &member : object)
      if (!known.contains(llvm::StringRef(member.first)))
        fail("there is no member '" + llvm::StringRef(member.first).str() + "' in a plan");
    return reason;
  }

private:
  const json::Object &object;
  std::string where, reason;
  llvm::StringSet<> known;
};

} // namespace

static bool isFraction(double value) { return value >= 0 && value <= 1; }

static std::string readTensor(const json::Object &object, size_t index, TensorPlan &tensor) {
  std::string where = "tensor " + std::to_string(index + 1);
  if (auto name = object.getString("name"))
    where += " ('" + name->str() + "')";
  ObjectReader reader(object, where + ": ");
  int64_t bits = 0;
  double circuit = -1;
  reader.string("name", tensor.name);
  reader.integer("bits", bits);
  reader.integer("group", tensor.group);
  reader.boolean("codebook", tensor.codebook);
  reader.number("circuit", circuit);
  reader.bytes("bytes", tensor.bytes);
  reader.number("bpw", tensor.bitsPerWeight);
  reader.number("predicted_loss", tensor.predictedLoss);
  reader.ignore("shape");
  if (tensor.name.empty())
    reader.fail("it has no 'name'");
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8 && bits != 16)
    reader.fail("'bits' is 2, 3, 4, 8, or 16 for a tensor that stays as it is, not " +
                std::to_string(bits));
  constexpr int64_t groups[] = {0, 32, 64, 128, 256};
  if (llvm::find(groups, tensor.group) == std::end(groups))
    reader.fail("'group' is 0 for a whole row, 32, 64, 128 or 256, not " +
                std::to_string(tensor.group));
  // A tensor that stays as it is may have kept the rest of its entry.
  if (tensor.codebook && bits != 16 && (tensor.group != 0 || bits > 4))
    reader.fail("a codebook is for whole rows (\"group\": 0) of 2, 3 or 4 bits");
  if (object.get("circuit")) {
    if (!isFraction(circuit))
      reader.fail("'circuit' is a part between 0 and 1");
    tensor.circuit = circuit;
  }
  tensor.bits = unsigned(bits);
  return reader.finish();
}

static std::string readKernel(const json::Object &object, size_t index, KernelTiling &kernel) {
  ObjectReader reader(object, "kernel " + std::to_string(index + 1) + ": ");
  reader.string("target", kernel.target);
  reader.string("weight", kernel.weight);
  reader.integer("task_rows", kernel.taskRows);
  reader.read("prefetch", kernel.prefetch, "a list of integers",
              [](const json::Value &value) -> std::optional<std::vector<int64_t>> {
                std::vector<int64_t> numbers;
                json::Path::Root root;
                if (!json::fromJSON(value, numbers, root))
                  return std::nullopt;
                return numbers;
              });
  if (kernel.target.empty() || kernel.weight.empty())
    reader.fail("it needs a 'target' and a 'weight'");
  llvm::ArrayRef<int64_t> rows = taskRowsChoices();
  if (!llvm::is_contained(rows, kernel.taskRows))
    reader.fail(
        "'task_rows' is one of " +
        llvm::join(llvm::map_range(rows, [](int64_t n) { return std::to_string(n); }), ", ") +
        ", not " + std::to_string(kernel.taskRows));
  if (kernel.prefetch.size() != 3 || llvm::any_of(kernel.prefetch, [](int64_t bytes) {
        return bytes < 0 || bytes > largestPrefetch;
      }))
    reader.fail("'prefetch' are three numbers of 0 to " + std::to_string(largestPrefetch) +
                " bytes");
  return reader.finish();
}

static std::string readCandidate(const json::Object &object, size_t index, PricedPlan &candidate) {
  ObjectReader reader(object, "candidate " + std::to_string(index + 1) + ": ");
  int64_t bits = 0;
  reader.integer("bits", bits);
  reader.integer("group", candidate.group);
  reader.boolean("codebook", candidate.codebook);
  reader.number("circuit", candidate.circuit);
  reader.bytes("bytes", candidate.bytes);
  reader.number("bpw", candidate.bitsPerWeight);
  reader.number("predicted_loss", candidate.predictedLoss);
  if (object.get("measured_loss"))
    reader.number("measured_loss", candidate.measuredLoss.emplace());
  reader.boolean("chosen", candidate.chosen);
  candidate.mixed = !object.get("bits");
  candidate.bits = unsigned(bits);
  return reader.finish();
}

/// Reads the members of the list `name`, if there is one.
template <typename Entry>
static std::string readList(const json::Object &object, llvm::StringRef name,
                            std::vector<Entry> &entries,
                            std::string read(const json::Object &, size_t, Entry &)) {
  const json::Array *list = object.getArray(name);
  if (!list)
    return object.get(name) ? "'" + name.str() + "' is no list" : "";
  for (const auto &[i, value] : llvm::enumerate(*list)) {
    const json::Object *entry = value.getAsObject();
    if (!entry)
      return "entry " + std::to_string(i + 1) + " of '" + name.str() + "' is no object";
    if (std::string reason = read(*entry, i, entries.emplace_back()); !reason.empty())
      return reason;
  }
  return "";
}

static std::string readObject(const json::Object &object, Plan &plan) {
  ObjectReader reader(object, "");
  int64_t version = 0;
  std::string layout = circuitLayoutName(plan.circuitLayout);
  reader.integer("version", version);
  reader.string("model", plan.modelHash);
  reader.string("circuit_layout", layout);
  reader.number("circuit", plan.circuit);
  reader.number("mean_loss", plan.meanLoss);
  for (const char *name :
       {"tensors", "kernels", "candidates", "budget", "bpw", "bytes", "predicted_loss"})
    reader.ignore(name);
  if (version != planVersion)
    reader.fail("'version' is " + std::to_string(version) +
                ", this program reads plans of version " + std::to_string(planVersion));
  if (auto parsed = parseCircuitLayout(layout))
    plan.circuitLayout = *parsed;
  else
    reader.fail("'circuit_layout' is none, scattered, slots or uniform, not '" + layout + "'");
  if (!isFraction(plan.circuit))
    reader.fail("'circuit' is a part between 0 and 1");
  if (!object.get("tensors"))
    reader.fail("there is no list 'tensors'");
  std::string reason = reader.finish();
  if (reason.empty())
    reason = readList(object, "tensors", plan.tensors, readTensor);
  if (reason.empty())
    reason = readList(object, "kernels", plan.kernels, readKernel);
  if (reason.empty())
    reason = readList(object, "candidates", plan.candidates, readCandidate);
  if (!reason.empty())
    return reason;
  llvm::StringSet<> names;
  for (const TensorPlan &tensor : plan.tensors)
    if (!names.insert(tensor.name).second)
      return "tensor '" + tensor.name + "' is there twice";
  std::set<std::pair<std::string, std::string>> kernels;
  for (const KernelTiling &kernel : plan.kernels)
    if (!kernels.insert({kernel.target, kernel.weight}).second)
      return "kernels of '" + kernel.target + "' for '" + kernel.weight + "' are there twice";
  return "";
}

Error tacq::readPlan(const std::string &path, Plan &plan) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return Error(TACQ_IO, "the plan '" + path + "' cannot be read: " + buffer.getError().message());
  llvm::Expected<json::Value> value = json::parse((*buffer)->getBuffer());
  if (!value)
    return Error(TACQ_INVALID_INPUT,
                 "the plan '" + path + "' is no JSON: " + llvm::toString(value.takeError()));
  const json::Object *object = value->getAsObject();
  if (!object)
    return Error(TACQ_INVALID_INPUT, "the plan '" + path + "' is no JSON object");
  if (std::string reason = readObject(*object, plan); !reason.empty())
    return Error(TACQ_INVALID_INPUT, "the plan '" + path + "': " + reason);
  return Error();
}

static void writeCandidate(json::OStream &stream, const PricedPlan &candidate) {
  stream.object([&] {
    if (!candidate.mixed) {
      stream.attribute("bits", int64_t(candidate.bits));
      stream.attribute("group", candidate.group);
      stream.attribute("codebook", candidate.codebook);
    }
    stream.attribute("circuit", candidate.circuit);
    stream.attribute("bytes", int64_t(candidate.bytes));
    stream.attribute("bpw", candidate.bitsPerWeight);
    stream.attribute("predicted_loss", candidate.predictedLoss);
    if (candidate.measuredLoss)
      stream.attribute("measured_loss", *candidate.measuredLoss);
    if (candidate.chosen)
      stream.attribute("chosen", true);
  });
}

Error tacq::writePlan(const std::string &path, const Plan &plan) {
  return writeTextFile(path, [&](llvm::raw_ostream &os) {
    uint64_t bytes = 0;
    double loss = 0;
    for (const TensorPlan &tensor : plan.tensors) {
      bytes += tensor.bytes;
      loss += tensor.predictedLoss;
    }
    json::OStream stream(os, 1);
    stream.object([&] {
      stream.attribute("version", planVersion);
      stream.attribute("model", plan.modelHash);
      if (bytes > 0) {
        stream.attribute("bytes", int64_t(bytes));
        stream.attribute("predicted_loss", loss);
      }
      if (plan.meanLoss > 0)
        stream.attribute("mean_loss", plan.meanLoss);
      stream.attribute("circuit_layout", circuitLayoutName(plan.circuitLayout));
      stream.attribute("circuit", plan.circuit);
      if (!plan.kernels.empty())
        stream.attributeArray("kernels", [&] {
          for (const KernelTiling &kernel : plan.kernels)
            stream.object([&] {
              stream.attribute("target", kernel.target);
              stream.attribute("weight", kernel.weight);
              stream.attribute("task_rows", kernel.taskRows);
              stream.attribute("prefetch", json::Array(kernel.prefetch));
            });
        });
      stream.attributeArray("tensors", [&] {
        for (const TensorPlan &tensor : plan.tensors)
          stream.object([&] {
            stream.attribute("name", tensor.name);
            stream.attribute("bits", int64_t(tensor.bits));
            stream.attribute("group", tensor.group);
            stream.attribute("codebook", tensor.codebook);
            if (tensor.circuit)
              stream.attribute("circuit", *tensor.circuit);
            if (tensor.bytes == 0)
              return; // the planner has not filled it in
            stream.attribute("bytes", int64_t(tensor.bytes));
            stream.attribute("bpw", tensor.bitsPerWeight);
            stream.attribute("predicted_loss", tensor.predictedLoss);
          });
      });
      if (!plan.candidates.empty())
        stream.attributeArray("candidates", [&] {
          for (const PricedPlan &candidate : plan.candidates)
            writeCandidate(stream, candidate);
        });
    });
    os << "\n";
  });
}

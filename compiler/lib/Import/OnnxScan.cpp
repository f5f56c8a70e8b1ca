//===- OnnxScan.cpp - Finding tensor data inside of an ONNX file ----------===//

#include "OnnxScan.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include <cstring>

using namespace llvm;
using namespace tacq;

namespace {

enum class Message { Model, Graph, Node, Attribute, Tensor, Sparse, Function };
enum WireType : unsigned { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// As protobuf's own limit; beyond it the parser would refuse the model anyway.
constexpr unsigned maxDepth = 100;
constexpr unsigned rawDataField = 9;

struct Child {
  Message message;
  const char *what;
};

std::optional<Child> childOf(Message parent, uint64_t field) {
  switch (parent) {
  case Message::Model:
    if (field == 7)
      return Child{Message::Graph, "the graph"};
    if (field == 25)
      return Child{Message::Function, "a function"};
    break;
  case Message::Graph:
    if (field == 1)
      return Child{Message::Node, "a node"};
    if (field == 5)
      return Child{Message::Tensor, "an initializer"};
    if (field == 15)
      return Child{Message::Sparse, "a sparse initializer"};
    break;
  case Message::Node:
    if (field == 5)
      return Child{Message::Attribute, "a node's attribute"};
    break;
  case Message::Attribute:
    if (field == 5 || field == 10)
      return Child{Message::Tensor, "a node's tensor"};
    if (field == 6 || field == 11)
      return Child{Message::Graph, "a node's subgraph"};
    if (field == 22 || field == 23)
      return Child{Message::Sparse, "a node's sparse tensor"};
    break;
  case Message::Sparse:
    if (field == 1 || field == 2)
      return Child{Message::Tensor, "a sparse tensor"};
    break;
  case Message::Function:
    if (field == 7)
      return Child{Message::Node, "a function's node"};
    if (field == 11)
      return Child{Message::Attribute, "a function's attribute"};
    break;
  case Message::Tensor:
    break;
  }
  return std::nullopt;
}

bool isTensorData(uint64_t field) {
  return field == 4 || field == 5 || field == 7 || field == 9 || field == 10 || field == 11;
}

/// What nothing in the compiler reads and may be large: documentation, training, metadata.
bool isIgnored(Message message, uint64_t field) {
  switch (message) {
  case Message::Model:
    return field == 6 || field == 14 || field == 20;
  case Message::Graph:
    return field == 10 || field == 14 || field == 16;
  case Message::Node:
    return field == 6 || field == 9;
  default:
    return false;
  }
}

void appendVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

class Scanner {
public:
  explicit Scanner(StringRef file) : file(file) {}

  bool message(Message kind, uint64_t begin, uint64_t end, unsigned depth, const char *what,
               std::string &out);
  std::string error;

private:
  bool fail(const Twine &reason) {
    error = reason.str();
    return false;
  }
  bool damaged(uint64_t at, const char *what) {
    return fail("its bytes are damaged at byte " + Twine(at) + ", in " + what);
  }
  bool cut(const char *what) {
    return fail("it ends in the middle of " + Twine(what) + ", after " + Twine(file.size()) +
                " bytes");
  }
  /// False at the end of the message or if it is longer than 64 bits.
  bool varint(uint64_t &at, uint64_t end, uint64_t &value) const {
    value = 0;
    for (unsigned shift = 0; at < end && shift < 64; shift += 7) {
      uint64_t byte = static_cast<uint8_t>(file[at++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }

  StringRef file;
};

} // namespace

bool Scanner::message(Message kind, uint64_t begin, uint64_t end, unsigned depth, const char *what,
                      std::string &out) {
  if (depth > maxDepth)
    return fail("its subgraphs are nested too deep");
  DataReference reference = {0, 0, 0};
  bool hasData = false;
  // A message that goes beyond its end is a truncated file only if that is the end of the file.
  auto overrun = [&](uint64_t at, const char *inside) {
    return end == file.size() ? cut(inside) : damaged(at, inside);
  };
  for (uint64_t at = begin; at < end;) {
    uint64_t start = at, tag = 0, length = 0;
    if (!varint(at, end, tag))
      return overrun(start, what);
    uint64_t field = tag >> 3;
    if (field == 0 || tag > UINT32_MAX)
      return damaged(start, what);
    std::optional<Child> child = childOf(kind, field);
    const char *inside = child ? child->what : what;
    uint64_t payload = 0;
    switch (static_cast<unsigned>(tag & 7)) {
    case Varint:
      if (!varint(at, end, length))
        return overrun(start, inside);
      break;
    case Fixed64:
    case Fixed32:
      length = (tag & 7) == Fixed64 ? 8 : 4;
      if (length > end - at)
        return overrun(start, inside);
      at += length;
      break;
    case Bytes:
      if (!varint(at, end, length))
        return overrun(start, inside);
      if (length > end - at) {
        // What of it is there tells more exactly where the file was cut.
        std::string ignored;
        if (child && end == file.size() &&
            !message(child->message, at, end, depth + 1, inside, ignored))
          return false;
        return overrun(start, inside);
      }
      payload = at;
      at += length;
      break;
    default:
      return damaged(start, what);
    }

    if (kind == Message::Tensor && isTensorData(field)) {
      bool onePiece = !hasData && (tag & 7) == Bytes;
      reference = onePiece ? DataReference{field, payload, length} : DataReference{0, 0, 0};
      hasData = true;
    } else if (isIgnored(kind, field)) {
      continue;
    } else if (child && (tag & 7) == Bytes) {
      std::string inner;
      if (!message(child->message, payload, payload + length, depth + 1, child->what, inner))
        return false;
      appendVarint(out, tag);
      appendVarint(out, inner.size());
      out += inner;
    } else {
      out.append(file.data() + start, at - start);
    }
  }
  if (hasData) {
    appendVarint(out, rawDataField << 3 | Bytes);
    appendVarint(out, sizeof(reference));
    out.append(reinterpret_cast<const char *>(&reference), sizeof(reference));
  }
  return true;
}

std::string tacq::stripTensorData(StringRef file, std::string &stripped) {
  Scanner scanner(file);
  if (file.empty())
    return "it is empty";
  if (!scanner.message(Message::Model, 0, file.size(), 0, "the model", stripped))
    return scanner.error;
  if (stripped.size() > INT32_MAX)
    return "it has more than 2 GiB that are no tensor data";
  return "";
}

std::optional<DataReference> tacq::readReference(StringRef rawData) {
  DataReference reference;
  if (rawData.size() != sizeof(reference))
    return std::nullopt;
  std::memcpy(&reference, rawData.data(), sizeof(reference));
  return reference;
}

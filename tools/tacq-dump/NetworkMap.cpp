//===- NetworkMap.cpp - Layers and projections ----------------------------===//

#include "NetworkMap.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"

#include <map>
#include <optional>
#include <set>

using namespace tacq::tools;
using llvm::StringRef;

namespace {

/// A name around one of its numbers.
struct NumberedName {
  StringRef before, number, after;
};

/// A layer: what its numbers follow, and its number.
using Layer = std::pair<std::string, uint64_t>;

} // namespace

static std::vector<NumberedName> numbersIn(StringRef name) {
  std::vector<NumberedName> found;
  for (size_t at = 0; at < name.size();) {
    StringRef digits = name.substr(at).take_while(llvm::isDigit);
    // Longer ones are hashes.
    if (!digits.empty() && digits.size() < 6)
      found.push_back({name.take_front(at), digits, name.drop_front(at + digits.size())});
    at += std::max<size_t>(digits.size(), 1);
  }
  return found;
}

/// A linear operation's weight and bias are one name.
static StringRef withoutRole(StringRef name) {
  for (StringRef role : {".weight", ".bias"})
    if (name.consume_back(role))
      break;
  return name;
}

/// The texts that layers' numbers follow.
static std::set<StringRef> layerPrefixes(const std::vector<NamedTensor> &tensors) {
  std::map<StringRef, std::map<StringRef, std::set<StringRef>>> names;
  for (const NamedTensor &tensor : tensors)
    for (const NumberedName &name : numbersIn(tensor.name))
      names[name.before][name.number].insert(withoutRole(name.after));
  std::set<StringRef> prefixes;
  for (const auto &[prefix, numbers] : names) {
    auto layers = llvm::count_if(numbers, [](const auto &n) { return n.second.size() > 1; });
    if (layers > 1 && 2 * size_t(layers) > numbers.size())
      prefixes.insert(prefix);
  }
  return prefixes;
}

static bool isSeparator(char c) { return c == '.' || c == '/' || c == '_' || c == ':'; }

/// Without what all of the names end with, from a separator on.
static void dropCommonEnd(std::vector<std::string> &names) {
  if (names.size() < 2)
    return;
  size_t common = names.front().size();
  for (StringRef name : names) {
    size_t same = 0;
    while (same < std::min(common, name.size()) &&
           name[name.size() - 1 - same] == names.front()[names.front().size() - 1 - same])
      ++same;
    common = same;
  }
  StringRef end = StringRef(names.front()).take_back(common);
  while (!end.empty() && !isSeparator(end.front()))
    end = end.drop_front();
  if (llvm::all_of(names, [&](const std::string &name) { return name.size() > end.size(); }))
    for (std::string &name : names)
      name.resize(name.size() - end.size());
}

/// The number of `name` in `names`, to which it is added.
template <typename T> static size_t indexOf(std::vector<T> &names, const T &name) {
  auto found = llvm::find(names, name);
  if (found == names.end())
    found = names.insert(names.end(), name);
  return size_t(found - names.begin());
}

NetworkMap tacq::tools::mapNetwork(const std::vector<NamedTensor> &tensors) {
  std::set<StringRef> prefixes = layerPrefixes(tensors);
  struct Place {
    size_t tensor, layer, projection;
  };
  NetworkMap map;
  std::vector<Layer> layers;
  std::vector<Place> places;
  std::optional<size_t> current;
  size_t unnamed = 0; // matrices of the current layer whose names do not tell it
  for (auto [i, tensor] : llvm::enumerate(tensors)) {
    std::vector<NumberedName> numbers = numbersIn(tensor.name);
    auto numbered = llvm::find_if(
        numbers, [&](const NumberedName &name) { return prefixes.count(name.before) > 0; });
    if (numbered != numbers.end()) {
      uint64_t number = 0;
      numbered->number.getAsInteger(10, number);
      size_t layer = indexOf(layers, Layer(numbered->before.str(), number));
      if (current != layer)
        unnamed = 0;
      current = layer;
      if (tensor.isMatrix) {
        StringRef rest = numbered->after.drop_while(isSeparator);
        places.push_back({i, layer, indexOf(map.projections, rest.str())});
      }
    } else if (!tensor.isMatrix) {
      current.reset();
    } else if (current) {
      std::string projection = "matrix " + std::to_string(++unnamed);
      places.push_back({i, *current, indexOf(map.projections, projection)});
    } else {
      map.outside.push_back(i);
    }
  }
  map.cells.assign(layers.size(), std::vector<std::vector<size_t>>(map.projections.size()));
  for (const Place &place : places)
    map.cells[place.layer][place.projection].push_back(place.tensor);
  bool oneStack =
      llvm::all_of(layers, [&](const Layer &layer) { return layer.first == layers.front().first; });
  for (const Layer &layer : layers)
    map.layers.push_back((oneStack ? "" : layer.first) + std::to_string(layer.second));
  dropCommonEnd(map.projections);
  return map;
}

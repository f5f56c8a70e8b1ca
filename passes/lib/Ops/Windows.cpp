//===- Windows.cpp - Windows of convolutions and pools --------------------===//

#include "Windows.h"

using namespace mlir;
using namespace tacq;

static SmallVector<int64_t> integersOr(const NodeAttrs &attrs, StringRef name, size_t count,
                                       int64_t fallback) {
  SmallVector<int64_t> values = attrs.integers(name);
  if (values.empty())
    values.assign(count, fallback);
  return values;
}

LogicalResult tacq::checkWindowAttributes(InferContext &ctx, size_t spatialRank) {
  for (StringRef name : {"strides", "dilations", "pads", "kernel_shape", "output_padding"}) {
    size_t count = ctx.attrs.integers(name).size();
    size_t expected = spatialRank * (name == "pads" ? 2 : 1);
    if (count != 0 && count != expected)
      return ctx.fail("attribute " + name + " must have " + Twine(expected) + " elements, not " +
                      Twine(count));
  }
  for (int64_t stride : ctx.attrs.integers("strides"))
    if (stride < 1)
      return ctx.fail("strides must be positive");
  return success();
}

Windows tacq::windowsOf(const NodeAttrs &attrs, ArrayRef<Sym> in, ArrayRef<Sym> kernel) {
  size_t rank = in.size();
  Windows w;
  w.in.assign(in.begin(), in.end());
  w.kernel.assign(kernel.begin(), kernel.end());
  w.strides = integersOr(attrs, "strides", rank, 1);
  w.dilations = integersOr(attrs, "dilations", rank, 1);
  SmallVector<int64_t> pads = integersOr(attrs, "pads", 2 * rank, 0);
  std::string autoPad = attrs.string("auto_pad", "NOTSET");
  bool ceil = attrs.integer("ceil_mode", 0) != 0;
  for (size_t i = 0; i < rank; ++i) {
    Sym stride = w.strides[i];
    Sym covered = (kernel[i] - Sym(1)) * Sym(w.dilations[i]) + Sym(1);
    if (autoPad == "SAME_UPPER" || autoPad == "SAME_LOWER") {
      Sym out = Sym::ceilDiv(in[i], stride);
      Sym total = Sym::max((out - Sym(1)) * stride + covered - in[i], Sym());
      Sym half = Sym::floorDiv(total, 2);
      bool upper = autoPad == "SAME_UPPER";
      w.out.push_back(out);
      w.padBegin.push_back(upper ? half : total - half);
      w.padEnd.push_back(upper ? total - half : half);
      continue;
    }
    bool valid = autoPad == "VALID";
    Sym begin = valid ? 0 : pads[i], end = valid ? 0 : pads[rank + i];
    Sym room = in[i] + begin + end - covered;
    Sym out = Sym::floorDiv(room, stride) + Sym(1);
    if (ceil) {
      // A window may hang over the end, but not begin behind it.
      Sym last = Sym::floorDiv(in[i] + begin - Sym(1), stride);
      out = Sym::min(Sym::ceilDiv(room, stride), last) + Sym(1);
    }
    w.out.push_back(out);
    w.padBegin.push_back(begin);
    w.padEnd.push_back(end);
  }
  return w;
}

Windows tacq::transposedWindowsOf(const NodeAttrs &attrs, ArrayRef<Sym> in, ArrayRef<Sym> kernel) {
  size_t rank = in.size();
  Windows w;
  w.in.assign(in.begin(), in.end());
  w.kernel.assign(kernel.begin(), kernel.end());
  w.strides = integersOr(attrs, "strides", rank, 1);
  w.dilations = integersOr(attrs, "dilations", rank, 1);
  SmallVector<int64_t> pads = integersOr(attrs, "pads", 2 * rank, 0);
  SmallVector<int64_t> outputPadding = integersOr(attrs, "output_padding", rank, 0);
  SmallVector<int64_t> outputShape = attrs.integers("output_shape");
  // The sizes of batch and channels may be given too.
  if (outputShape.size() > rank)
    outputShape.erase(outputShape.begin(), outputShape.end() - rank);
  std::string autoPad = attrs.string("auto_pad", "NOTSET");
  bool same = autoPad == "SAME_UPPER" || autoPad == "SAME_LOWER";
  for (size_t i = 0; i < rank; ++i) {
    Sym stride = w.strides[i];
    Sym covered = (kernel[i] - Sym(1)) * Sym(w.dilations[i]) + Sym(1);
    Sym full = stride * (in[i] - Sym(1)) + Sym(outputPadding[i]) + covered;
    if (!outputShape.empty() || same) {
      Sym out = outputShape.empty() ? in[i] * stride : Sym(outputShape[i]);
      Sym total = Sym::max(full - out, Sym());
      Sym half = Sym::floorDiv(total, 2);
      bool upper = autoPad == "SAME_UPPER";
      w.out.push_back(out);
      w.padBegin.push_back(upper ? half : total - half);
      w.padEnd.push_back(upper ? total - half : half);
      continue;
    }
    bool valid = autoPad == "VALID";
    w.padBegin.push_back(valid ? 0 : pads[i]);
    w.padEnd.push_back(valid ? 0 : pads[rank + i]);
    w.out.push_back(full - w.padBegin.back() - w.padEnd.back());
  }
  return w;
}

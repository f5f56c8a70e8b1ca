//===- QuantizationInputs.cpp - What quantization passes read -------------===//

#include "QuantizationInputs.h"

using namespace mlir;
using namespace tacq;

Error QuantizationInputs::open(ModuleOp module, QuantizationContext *context,
                               const QuantizationFiles &files) {
  if (context) {
    parameters = context->parameters;
    options = *context->options;
    return Error();
  }
  if (files.method != "gptq" && files.method != "nearest")
    return Error(TACQ_INVALID_ARGUMENT,
                 "'" + files.method + "' is no method: it is gptq or nearest");
  options.method = files.method == "gptq" ? QuantizeMethod::Gptq : QuantizeMethod::Nearest;
  options.hessian.damping = files.damping;
  options.hessian.activationOrder = files.actOrder;
  if (!files.clip)
    options.gptq.clip.steps = 0;
  options.threads = files.threads;
  if (Error error = ParameterStore::open(module, files.folder, store))
    return error;
  parameters = &store;
  if (files.stats.empty())
    return Error();
  options.statistics = &statistics;
  return Statistics::read(files.stats, statistics);
}

void tacq::report(ModuleOp module, QuantizationContext *context, const Error &error) {
  if (context)
    context->error = error;
  else
    module.emitError() << error.message();
}

//===- OnnxProto.h - The protobuf classes of ONNX ---------------*- C++ -*-===//

#ifndef TACQ_LIB_IMPORT_ONNXPROTO_H
#define TACQ_LIB_IMPORT_ONNXPROTO_H

#ifndef ONNX_ML
#define ONNX_ML 1
#endif
#ifndef ONNX_NAMESPACE
#define ONNX_NAMESPACE onnx
#endif
#include <onnx/onnx_pb.h>

#endif // TACQ_LIB_IMPORT_ONNXPROTO_H

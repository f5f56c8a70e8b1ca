//===- SerialBlas.h - OpenBLAS on one thread --------------------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZE_SERIALBLAS_H
#define TACQ_LIB_QUANTIZE_SERIALBLAS_H

namespace tacq {

/// Makes OpenBLAS use one thread as long as it lives, with kernels that fit the processor.
class SerialBlas {
public:
  SerialBlas();
  ~SerialBlas();
  SerialBlas(const SerialBlas &) = delete;
  SerialBlas &operator=(const SerialBlas &) = delete;

private:
  int before;
};

/// OpenBLAS knows processors by their model numbers, and takes kernels of SSE3 for those that are
/// younger than itself. Chooses by what the processor has, in that case. No other thread may be in
/// OpenBLAS. Does nothing where the user has chosen (OPENBLAS_CORETYPE), or the library has no
/// choice.
void chooseBlasKernels();

} // namespace tacq

#endif // TACQ_LIB_QUANTIZE_SERIALBLAS_H

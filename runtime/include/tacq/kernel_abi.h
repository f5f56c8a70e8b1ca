/* How the runtime's cpu driver calls compiled kernels. Plain C; the compiler generates functions of
 * this type, and hand-written kernels may include this header.
 *
 * An executable is a position-independent ELF shared object ("elf64-x86-64", "elf64-aarch64"),
 * linked with `ld.lld -shared -Bsymbolic`. It exports one global function for each kernel. It may
 * import only the C functions that the cpu driver lists (memcpy, memmove, memset, bzero and the
 * float and double functions of libm); it may have neither constructors nor thread-local storage,
 * and no writable data that outlives a call matters: kernels must be re-entrant.
 *
 * Feature names that an executable may require:
 *   x86-64:  sse4.2 popcnt avx avx2 fma f16c bmi2 avxvnni avx512f avx512bw avx512cd avx512dq
 *            avx512vl avx512vnni avx512vbmi avx512bf16 avx512fp16 amx-tile amx-int8 amx-bf16
 *            (the tile registers are enabled for every worker before an executable that requires
 *            amx-tile is used)
 *   aarch64: neon fp16 dotprod i8mm bf16 sve sve2
 */
#ifndef TACQ_KERNEL_ABI_H
#define TACQ_KERNEL_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TACQ_KERNEL_ABI_VERSION 1

/* Everything a kernel gets. All pointers are valid for the duration of the call only.
 *
 * On 64-bit targets the fields lie at byte offsets 0, 8, 16, 24, 32; sizeof is 40. */
typedef struct tacq_kernel_args {
  /* One pointer for each buffer of the dispatch, in its order. Aligned to 64 bytes, except inputs
   * (the alignment of their element type) and buffers that have an offset. A buffer of size 0 may
   * be a null pointer. */
  void *const *bindings;
  /* The values of the dispatch's symbols, in its order. */
  const int64_t *symbols;
  /* TACQ_STATUS_WORDS words, zero on entry, of this worker alone; see below. */
  int32_t *status;
  /* Scratch memory of this worker alone, 64-byte aligned, contents undefined; NULL when the
   * dispatch asks for none. */
  void *scratch;
  int64_t scratch_size;
} tacq_kernel_args;

/* Computes tasks [begin, end) of the dispatch. The runtime splits [0, tasks) into contiguous
 * ranges, calls the kernel at most once for each worker, concurrently, and never with an empty
 * range. `worker` is in [0, number of threads); on another number of threads the ranges differ, so
 * results must not depend on how the tasks were split.
 *
 * On entry the floating-point environment is the default one (round to nearest, no traps,
 * denormals kept). */
typedef void (*tacq_kernel_fn)(const tacq_kernel_args *args, int64_t begin, int64_t end,
                               int32_t worker);

/* Errors in data. A kernel that meets one stores
 *   status[0] = node + 1   (index of the node in the module's `nodes`; 0 means no error)
 *   status[1] = one of the codes below
 *   status[2], status[3] = low and high half of an int64 value (what was found)
 *   status[4], status[5] = low and high half of an int64 limit
 * and returns; it must still not access memory outside its bindings. The call then fails with an
 * invalid-input status that names the node. */
#define TACQ_STATUS_WORDS 8

enum {
  TACQ_KERNEL_INDEX_OUT_OF_RANGE = 1, /* "index {value} is out of range for an axis of {limit}" */
  TACQ_KERNEL_DIVISION_BY_ZERO = 2,   /* "integer division by zero" */
  TACQ_KERNEL_INVALID_VALUE = 3,      /* "value {value} is not allowed (limit {limit})" */
  TACQ_KERNEL_SHAPE_MISMATCH = 4      /* "extent {value} does not match {limit}" */
};

#ifdef __cplusplus
}
#endif

#endif

/* Executables of the driver "vulkan", of format "spirv": SPIR-V 1.3 shaders for Vulkan 1.1 or
 * newer.
 *
 * An executable is this header, a table of `kernel_count` entries and behind them `variant_count`
 * more, and the shaders, all little-endian. A kernel may have a variant among the latter, for many
 * rows or many keys, which may have another one, and a shader that runs first: a dispatch runs the
 * first of these variants that has tasks, and the kernel if there is none. A shader has one entry
 * point, "main", without specialization constants, and one descriptor set (0) of storage buffers:
 *
 *   binding 0 … buffer_count - 1    the buffers of the dispatch, in its order
 *   binding buffer_count            the values of the dispatch's symbols as int64
 *   binding buffer_count + 1        TACQ_STATUS_WORDS status words (tacq/kernel_abi.h), shared by
 *                                   all dispatches of a run; word 6 counts the reports
 *   binding buffer_count + 2        with TACQ_VULKAN_ORDERED, flags: int32 counters, 0 at first
 *
 * With TACQ_VULKAN_ORDERED there need be no barriers between dispatches, other than in front of and
 * behind variants, which do not bind the flags. In front of the values of
 * the symbols are three numbers: a flag, or -1; a count; another flag. Each workgroup waits until
 * the first flag has the count, and before it ends adds 1 to the other. One that has waited for too
 * long goes on, and stores 1 in word 7 of the status. Devices have to begin workgroups in the order
 * of the dispatches, or those that wait might keep those that they wait for from beginning.
 *
 * A workgroup does `tasks_per_group` tasks at once: the first has its number (WorkgroupId.x) times
 * that, and further ones are multiples of what the whole grid does away, so that any number of
 * workgroups along x is right. The number of tasks is the shader's own, not that of the dispatch.
 * A shader with cooperative matrices is SPIR-V 1.6 of the Vulkan memory model.
 *
 * Feature names that an executable may require: int64 float64 int16 int8 float16 storage16 storage8
 * dot8 (the device features of these names; dot8 is shaderIntegerDotProduct), buffers=N (a shader
 * binds N storage buffers), invocations=N (a workgroup has N invocations, along x; where there is
 * no such name, 128 at most, which any device has), shared=N (a workgroup shares N bytes; else
 * 16384 at most), matrix16 (subgroups multiply cooperative matrices of f16, 16 by 16 by 16, into
 * sums of f32, in the Vulkan memory model), in-order (as above), subgroup=N (subgroups have N
 * invocations and do arithmetic and shuffles).
 */
#ifndef TACQ_VULKAN_EXECUTABLE_H
#define TACQ_VULKAN_EXECUTABLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TACQ_VULKAN_EXECUTABLE_MAGIC 0x56535154u /* "TQSV" */
#define TACQ_VULKAN_EXECUTABLE_VERSION 5u

typedef struct tacq_vulkan_header {
  uint32_t magic, version, kernel_count, flags, variant_count, reserved;
} tacq_vulkan_header;

typedef struct tacq_vulkan_kernel {
  /* The shader: bytes from the start of the executable; multiples of 4. No bytes for kernels that
   * the module says the executable does not have (Executable.absent): the host runs them. What it
   * finds in buffers behind `buffer_count` need not be there, and is not kept. */
  uint64_t code_offset, code_size;
  uint32_t buffer_count;
  /* Buffers that the kernel only reads come first. */
  uint32_t read_count;
  /* The number of tasks: a symbol of the dispatch, or with TACQ_VULKAN_NO_SYMBOL `task_count`. */
  uint32_t task_symbol;
  uint32_t tasks_per_group;
  int64_t task_count;
  /* The entries of a kernel's variant, or of the next variant behind a variant, and of what runs
   * before a variant; larger than their own numbers, or TACQ_VULKAN_NO_SHADER. */
  uint32_t variant, first;
} tacq_vulkan_kernel;

#define TACQ_VULKAN_ORDERED 1u
#define TACQ_VULKAN_NO_SYMBOL 0xFFFFFFFFu
#define TACQ_VULKAN_NO_SHADER 0xFFFFFFFFu

#ifdef __cplusplus
}
#endif

#endif

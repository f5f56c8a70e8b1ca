/* The table of functions that makes a device usable: what a hardware vendor implements.
 *
 * runtime/drivers/NullDriver.cpp is a complete driver in which kernels do nothing; copy it.
 * runtime/drivers/cpu is the one that computes. tacq_runtime_register_driver adds a driver to a
 * runtime; runtime/cts is the conformance suite.
 *
 * What the runtime does itself, for all drivers: it opens and verifies modules, checks input
 * tensors, evaluates shapes (the prologue), sizes and keeps inputs, outputs and states, and picks
 * the executable.
 *
 * What a driver does: it owns memory, turns a verified module and one of its executables into a
 * program, and runs the program's commands. It sees the whole command list when the program is
 * created (tacq_program_desc.metadata, the FlatBuffer of runtime/schema/module.fbs) and a table of
 * symbol values at each run, so it can record its commands once and replay them. A driver that has
 * no such form calls tacq_interpret in its run function and gets the commands one by one, with
 * control flow, symbols and sizes already resolved.
 *
 * Functions return NULL or a status from tacq_status_create. They may be called from any thread,
 * but those of one program (and its buffers) by one thread at a time. */
#ifndef TACQ_DRIVER_H
#define TACQ_DRIVER_H

#include "tacq/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TACQ_DRIVER_VERSION 1

/* The driver's own objects. */
typedef struct tacq_driver_device tacq_driver_device_t;
typedef struct tacq_driver_buffer tacq_driver_buffer_t;
typedef struct tacq_driver_program tacq_driver_program_t;

/* What the application gave to the runtime. Valid as long as the device. */
typedef struct tacq_host {
  size_t struct_size;
  tacq_allocator_t allocator; /* never NULL inside */
  tacq_log_fn log;            /* may be NULL */
  void *log_user;
} tacq_host_t;

/* A status to be returned; `message` is copied. Never NULL. */
TACQ_API tacq_status_t *tacq_status_create(tacq_code_t code, const char *message);

/* An executable of the module, as far as the choice needs it. */
typedef struct tacq_executable_desc {
  size_t struct_size;
  const char *target;
  const char *format;
  const char *const *features;
  size_t feature_count;
  int32_t rank;
} tacq_executable_desc_t;

/* What a program is made of. Everything stays valid as long as the program. */
typedef struct tacq_program_desc {
  size_t struct_size;
  const tacq_module_t *module;
  const char *name; /* of the module, for messages */
  /* The verified FlatBuffer. */
  const void *metadata;
  size_t metadata_size;
  /* The data section; offsets of constants and executables refer to it. */
  const void *data;
  size_t data_size;
  /* Index of the chosen executable; -1: none (only drivers that need none). */
  int32_t executable;
} tacq_program_desc_t;

/* `rows` rows of `row_bytes` bytes. Rows start `offset` + i * `pitch` bytes into an object. */
typedef struct tacq_region {
  int64_t offset;
  int64_t pitch;
} tacq_region_t;

/* One run of a program. The prologue has been evaluated. Buffers of index i belong to input,
 * output, state i of the module; NULL where there is none (inputs and outputs of in-place states,
 * states that are not in place). Sizes are bytes in use, buffers may be larger. */
typedef struct tacq_run {
  size_t struct_size;
  const tacq_module_t *module;
  int64_t *symbols;
  uint32_t symbol_count;
  tacq_driver_buffer_t *const *inputs;
  const int64_t *input_sizes;
  tacq_driver_buffer_t *const *states;
  const int64_t *state_sizes;
  tacq_driver_buffer_t *const *outputs;
  const int64_t *output_sizes;
  /* Makes output `index` hold at least `bytes` bytes, keeping its contents; updates `outputs` and
   * `output_sizes`. tacq_interpret does this on its own. */
  tacq_status_t *(*reserve_output)(struct tacq_run *run, uint32_t index, int64_t bytes);
  /* To be counted by the driver (tacq_interpret counts the first two). */
  uint64_t *dispatches;
  uint64_t *commands;
  uint64_t *allocations;     /* device memory allocations made in this run */
  uint64_t *bytes_transient; /* device memory that the program holds; set, not added to */
  /* Totals of time and count by dispatch ordinal (tacq_dispatch.ordinal); NULL: no profile. */
  uint64_t *profile_ns;
  uint64_t *profile_count;
  void *internal;      /* of the runtime */
  uint64_t *device_ns; /* time that the device worked while the host waited; added to */
} tacq_run_t;

typedef struct tacq_driver {
  size_t struct_size;
  uint32_t version; /* TACQ_DRIVER_VERSION */
  const char *name; /* "cpu"; letters, digits, '-' and '_' */
  void *user;

  /* Like tacq_runtime_list_devices, for this driver's devices. */
  tacq_status_t *(*list_devices)(const struct tacq_driver *self, tacq_device_info_t *infos,
                                 size_t capacity, size_t *count);
  /* `options` is the text after "NAME:", "" when there is none. Unknown options are errors. */
  tacq_status_t *(*open_device)(const struct tacq_driver *self, const tacq_host_t *host,
                                const char *options, tacq_driver_device_t **device);
  void (*close_device)(tacq_driver_device_t *device);
  tacq_status_t *(*describe_device)(tacq_driver_device_t *device, tacq_device_info_t *info);

  /* Nonzero when the device can run the executable. Else 0 and the reason, a few words such as
   * "needs avx512f, avx512vnni", is written to `reason`. */
  int32_t (*supports)(tacq_driver_device_t *device, const tacq_executable_desc_t *executable,
                      char *reason, size_t reason_size);
  /* Nonzero when programs run without any executable (the null driver). */
  int32_t needs_no_executable;

  /* Memory of at least `size` bytes (size may be 0), 64-byte aligned, zero. */
  tacq_status_t *(*create_buffer)(tacq_driver_device_t *device, int64_t size,
                                  tacq_driver_buffer_t **buffer);
  /* Optional (NULL: the runtime copies). A buffer that is the caller's memory, which is only read,
   * outlives the buffer and is aligned to its element type only. */
  tacq_status_t *(*wrap_host)(tacq_driver_device_t *device, const void *memory, int64_t size,
                              tacq_driver_buffer_t **buffer);
  void (*destroy_buffer)(tacq_driver_device_t *device, tacq_driver_buffer_t *buffer);
  /* Optional. The memory of the buffer when the host can read it directly between runs, or NULL. */
  void *(*host_pointer)(tacq_driver_device_t *device, tacq_driver_buffer_t *buffer);

  /* Transfers of `rows` rows of `row_bytes` bytes; the regions do not overlap. */
  tacq_status_t *(*write)(tacq_driver_device_t *device, tacq_driver_buffer_t *dst,
                          tacq_region_t dst_region, const void *src, tacq_region_t src_region,
                          int64_t row_bytes, int64_t rows);
  tacq_status_t *(*read)(tacq_driver_device_t *device, void *dst, tacq_region_t dst_region,
                         tacq_driver_buffer_t *src, tacq_region_t src_region, int64_t row_bytes,
                         int64_t rows);
  tacq_status_t *(*copy)(tacq_driver_device_t *device, tacq_driver_buffer_t *dst,
                         tacq_region_t dst_region, tacq_driver_buffer_t *src,
                         tacq_region_t src_region, int64_t row_bytes, int64_t rows);

  /* A program belongs to one session. */
  tacq_status_t *(*create_program)(tacq_driver_device_t *device, const tacq_program_desc_t *desc,
                                   tacq_driver_program_t **program);
  void (*destroy_program)(tacq_driver_program_t *program);
  /* Runs all commands; results are complete when it returns. */
  tacq_status_t *(*run)(tacq_driver_program_t *program, tacq_run_t *run);

  /* Optional, both or neither (NULL: the runtime calls `run`, and tacq_session_start does all of
   * the work). `start` is `run` that may return before the work is done; its argument is not used
   * afterwards, but for what the counters point to. A second run may be started while one is going
   * on: its commands come after those of the first. `finish` waits for the earliest that was
   * started, and returns what went wrong in it. Memory is not released meanwhile. */
  tacq_status_t *(*start)(tacq_driver_program_t *program, tacq_run_t *run);
  tacq_status_t *(*finish)(tacq_driver_program_t *program);
} tacq_driver_t;

/* ---- the shared interpreter -------------------------------------------------------------- */

typedef enum tacq_buffer_kind {
  TACQ_BUFFER_INPUT = 0,
  TACQ_BUFFER_OUTPUT = 1,
  TACQ_BUFFER_CONSTANT = 2,
  TACQ_BUFFER_TRANSIENT = 3,
  TACQ_BUFFER_STATE = 4
} tacq_buffer_kind_t;

/* A buffer of the module with its symbols' current values: bytes [offset, offset + size) of object
 * `index` of its kind (a transient's object is its slot). Inside the object: checked. */
typedef struct tacq_binding {
  int32_t kind;
  uint32_t index;
  int64_t offset;
  int64_t size; /* -1: the symbols make no valid range now; commands that use it are refused */
} tacq_binding_t;

typedef struct tacq_dispatch {
  uint32_t kernel;
  uint32_t node;    /* 0xFFFFFFFF: unknown */
  uint32_t ordinal; /* number of the dispatch in the module, in block order */
  uint32_t buffer_count;
  const uint32_t *buffers; /* numbers of the module's buffers */
  const int64_t *symbols;  /* values */
  uint32_t symbol_count;
  uint32_t share_count;
  int64_t tasks;   /* > 0 */
  int64_t scratch; /* bytes for each worker */
  int64_t cost;    /* of all tasks on one core, ns; 0: unknown */
  /* Relative costs of equal, consecutive parts of the tasks; none: all tasks cost the same. */
  const uint16_t *shares;
} tacq_dispatch_t;

typedef struct tacq_interpreter_ops {
  size_t struct_size;
  /* A slot must hold at least `bytes` bytes from now on, keeping its contents. */
  tacq_status_t *(*reserve_slot)(void *user, uint32_t slot, int64_t bytes);
  /* The bindings of all buffers of the module, in their order, or the objects behind them, have
   * changed. Called before the first command and after each Eval that changed something. */
  tacq_status_t *(*bind)(void *user, const tacq_binding_t *buffers, uint32_t count);
  tacq_status_t *(*dispatch)(void *user, const tacq_dispatch_t *dispatch);
  /* Offsets are relative to the buffer's start, ranges lie inside; they may overlap. */
  tacq_status_t *(*copy)(void *user, uint32_t dst, int64_t dst_offset, uint32_t src,
                         int64_t src_offset, int64_t size);
  tacq_status_t *(*fill)(void *user, uint32_t dst, int64_t offset, int64_t size, uint64_t pattern,
                         uint32_t width);
  /* Reads `size` (at most 8) bytes, after all commands before it. */
  tacq_status_t *(*read)(void *user, uint32_t buffer, int64_t offset, void *value, int64_t size);
} tacq_interpreter_ops_t;

/* Executes the module's blocks for `run`. */
TACQ_API tacq_status_t *tacq_interpret(tacq_run_t *run, const tacq_interpreter_ops_t *ops,
                                       void *user);

/* The status for an error that a kernel left in its status words (tacq/kernel_abi.h). */
TACQ_API tacq_status_t *tacq_kernel_error(const tacq_module_t *module, const int32_t *words);

#ifdef __cplusplus
}
#endif

#endif

/* The C API of the TACQ runtime.
 *
 *   tacq_runtime_t  one instance: allocator, log sink, registered drivers. Nothing is global.
 *   tacq_device_t   an opened device: "cpu", "cpu:threads=2", "null", a vendor's "name:options".
 *   tacq_module_t   a module file, mapped read-only and verified. Shared by any number of sessions.
 *   tacq_session_t  a module on a device, with its buffers and its key/value caches.
 *
 * Lifetime: an object keeps what it was created from alive; release in any order. Threads: all
 * objects may be used from any thread, a session from one thread at a time.
 *
 * Errors: functions that can fail return NULL on success and otherwise a status, which the caller
 * frees with tacq_status_free. Its message is one sentence for people. Output parameters are
 * written on success only (or set to NULL). No C++ exception leaves a function.
 *
 * Versions: each struct that the caller fills starts with struct_size = sizeof(it). Fields that are
 * added later come at the end, zero means the default; older callers keep working.
 *
 * A first program:
 *
 *   tacq_runtime_t *rt; tacq_device_t *dev; tacq_module_t *mod; tacq_session_t *s;
 *   CHECK(tacq_runtime_create(NULL, &rt));
 *   CHECK(tacq_device_open(rt, "cpu:threads=2", &dev));
 *   CHECK(tacq_module_open(rt, "model.tacq", NULL, &mod));
 *   CHECK(tacq_session_create(mod, dev, NULL, &s));
 *   CHECK(tacq_session_set_input(s, 0, &my_dltensor));    // borrowed until the run returns
 *   CHECK(tacq_session_run(s));
 *   DLManagedTensor *out;
 *   CHECK(tacq_session_get_output(s, 0, &out));           // out->deleter(out) when done
 */
#ifndef TACQ_RUNTIME_H
#define TACQ_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "dlpack/dlpack.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TACQ_API
#define TACQ_API __attribute__((visibility("default")))
#endif

/* Changes when a function or struct changes incompatibly. */
#define TACQ_API_VERSION 1

/* The version the library was built with, to compare with TACQ_API_VERSION. */
TACQ_API uint32_t tacq_api_version(void);
/* "0.1.0" */
TACQ_API const char *tacq_version_string(void);

/* ---- status ------------------------------------------------------------------------------ */

typedef struct tacq_status tacq_status_t;

typedef enum tacq_code {
  TACQ_OK = 0,
  TACQ_INVALID_ARGUMENT = 1, /* the API was used in a wrong way */
  TACQ_INVALID_INPUT = 2,    /* a tensor's type, shape or content does not fit the model */
  TACQ_INVALID_MODULE = 3,   /* the module is damaged, truncated or of another version */
  TACQ_UNSUPPORTED = 4,      /* this device or build cannot do it */
  TACQ_OUT_OF_MEMORY = 5,
  TACQ_IO = 6,             /* a file cannot be opened or read */
  TACQ_CAPACITY = 7,       /* a key/value cache is full */
  TACQ_DEVICE_FAILURE = 8, /* the device reported an error */
  TACQ_INTERNAL = 9        /* a bug in the runtime or in the code of the module */
} tacq_code_t;

/* TACQ_OK for NULL. */
TACQ_API tacq_code_t tacq_status_code(const tacq_status_t *status);
/* "" for NULL; valid until the status is freed. */
TACQ_API const char *tacq_status_message(const tacq_status_t *status);
/* Accepts NULL. */
TACQ_API void tacq_status_free(tacq_status_t *status);

/* ---- runtime ----------------------------------------------------------------------------- */

typedef struct tacq_runtime tacq_runtime_t;
typedef struct tacq_device tacq_device_t;
typedef struct tacq_module tacq_module_t;
typedef struct tacq_session tacq_session_t;

/* Memory for tensors, caches, transients and scratch (bookkeeping of a few kB uses operator new).
 * `allocate` returns `size` bytes aligned to `alignment` (a power of two), or NULL; any contents.
 * `release` gets the same size and alignment. Both must be callable from any thread. */
typedef struct tacq_allocator {
  void *user;
  void *(*allocate)(void *user, size_t size, size_t alignment);
  void (*release)(void *user, void *memory, size_t size, size_t alignment);
} tacq_allocator_t;

typedef enum tacq_log_level {
  TACQ_LOG_DEBUG = 0,
  TACQ_LOG_INFO = 1,
  TACQ_LOG_WARNING = 2,
  TACQ_LOG_ERROR = 3
} tacq_log_level_t;

/* `message` is one line without a newline, valid during the call. Called from any thread. */
typedef void (*tacq_log_fn)(void *user, tacq_log_level_t level, const char *message);

typedef struct tacq_runtime_options {
  size_t struct_size;
  tacq_allocator_t allocator; /* all NULL: aligned malloc */
  tacq_log_fn log;            /* NULL: nothing is logged */
  void *log_user;
} tacq_runtime_options_t;

/* `options` may be NULL. The drivers "cpu" and "null" are registered. */
TACQ_API tacq_status_t *tacq_runtime_create(const tacq_runtime_options_t *options,
                                            tacq_runtime_t **runtime);
TACQ_API void tacq_runtime_release(tacq_runtime_t *runtime);

/* Adds a driver; see tacq/driver.h. The table must outlive the runtime. */
struct tacq_driver;
TACQ_API tacq_status_t *tacq_runtime_register_driver(tacq_runtime_t *runtime,
                                                     const struct tacq_driver *driver);

/* ---- devices ----------------------------------------------------------------------------- */

typedef struct tacq_device_info {
  size_t struct_size;
  char name[64];         /* what tacq_device_open takes: "cpu", "vulkan:0" */
  char description[448]; /* "Intel(R) Xeon(R), 2 cores; avx2 fma f16c avx512f" */
} tacq_device_info_t;

/* Writes up to `capacity` entries (struct_size of infos[0] must be set) and the number of devices
 * there are to *count. A driver that cannot list its devices is logged as a warning, and has none.
 */
TACQ_API tacq_status_t *tacq_runtime_list_devices(tacq_runtime_t *runtime,
                                                  tacq_device_info_t *infos, size_t capacity,
                                                  size_t *count);

/* DRIVER[:OPTION,...]; "cpu:threads=2" (default: one thread for each core this process may use),
 * "null". */
TACQ_API tacq_status_t *tacq_device_open(tacq_runtime_t *runtime, const char *name,
                                         tacq_device_t **device);
TACQ_API void tacq_device_release(tacq_device_t *device);
TACQ_API tacq_status_t *tacq_device_get_info(const tacq_device_t *device, tacq_device_info_t *info);

/* ---- modules ----------------------------------------------------------------------------- */

typedef enum tacq_element_type {
  TACQ_ELEMENT_NONE = 0,
  TACQ_BOOL = 1,
  TACQ_I8 = 2,
  TACQ_I16 = 3,
  TACQ_I32 = 4,
  TACQ_I64 = 5,
  TACQ_U8 = 6,
  TACQ_U16 = 7,
  TACQ_U32 = 8,
  TACQ_U64 = 9,
  TACQ_F16 = 10,
  TACQ_BF16 = 11,
  TACQ_F32 = 12,
  TACQ_F64 = 13
} tacq_element_type_t;

/* Bytes; 0 for TACQ_ELEMENT_NONE and unknown values. */
TACQ_API size_t tacq_element_size(tacq_element_type_t type);
/* "f16", "i64", "bool", ...; "none" */
TACQ_API const char *tacq_element_name(tacq_element_type_t type);
/* The type in DLPack's terms (lanes 1), and back; TACQ_ELEMENT_NONE for what TACQ has not. */
TACQ_API DLDataType tacq_element_to_dlpack(tacq_element_type_t type);
TACQ_API tacq_element_type_t tacq_element_from_dlpack(DLDataType type);

typedef struct tacq_module_options {
  size_t struct_size;
  /* Nonzero: the checksum of the data section (all weights) is not verified, so that opening a
   * large module does not read all of it. Everything else still is. */
  int32_t skip_data_checksum;
} tacq_module_options_t;

/* Maps the file and verifies it. The file must not be changed while the module is open. */
TACQ_API tacq_status_t *tacq_module_open(tacq_runtime_t *runtime, const char *path,
                                         const tacq_module_options_t *options,
                                         tacq_module_t **module);
/* The same from memory, which must be 64-byte aligned and outlive the module and its sessions.
 * `name` is for messages and may be NULL. */
TACQ_API tacq_status_t *tacq_module_open_memory(tacq_runtime_t *runtime, const void *data,
                                                size_t size, const char *name,
                                                const tacq_module_options_t *options,
                                                tacq_module_t **module);
TACQ_API void tacq_module_release(tacq_module_t *module);

typedef struct tacq_tensor_info {
  size_t struct_size;
  const char *name; /* all pointers are valid as long as the module */
  tacq_element_type_t element_type;
  int32_t rank;
  const int64_t *dims;          /* rank many; -1: dynamic */
  const char *const *dim_texts; /* rank many: "batch", "past + sequence", "64" */
  /* The state (key/value cache) it belongs to, or -1. A stateful session keeps such inputs. */
  int32_t state;
} tacq_tensor_info_t;

TACQ_API size_t tacq_module_input_count(const tacq_module_t *module);
TACQ_API size_t tacq_module_output_count(const tacq_module_t *module);
TACQ_API size_t tacq_module_state_count(const tacq_module_t *module);
TACQ_API tacq_status_t *tacq_module_input_info(const tacq_module_t *module, size_t index,
                                               tacq_tensor_info_t *info);
TACQ_API tacq_status_t *tacq_module_output_info(const tacq_module_t *module, size_t index,
                                                tacq_tensor_info_t *info);
/* The index of the input or output of that name, or -1. */
TACQ_API int64_t tacq_module_find_input(const tacq_module_t *module, const char *name);
TACQ_API int64_t tacq_module_find_output(const tacq_module_t *module, const char *name);
/* The value of a metadata key ("producer", "model_name", "model_hash" or what the producer added),
 * or NULL. */
TACQ_API const char *tacq_module_metadata(const tacq_module_t *module, const char *key);

/* ---- sessions ---------------------------------------------------------------------------- */

typedef struct tacq_session_options {
  size_t struct_size;
  /* Entries along the growing axis that each key/value cache can hold. 0: starts small and grows
   * by doubling (which copies the cache). Otherwise a call that needs more fails with
   * TACQ_CAPACITY and leaves the session as it was. */
  int64_t cache_capacity;
  /* Nonzero: the session keeps the module's states from call to call. Inputs that belong to a
   * state are then not set by the caller, and nothing is copied. Zero: the caller passes the past
   * and fetches the present like any other tensor. */
  int32_t stateful;
  /* Nonzero: time each dispatch; see tacq_session_profile. */
  int32_t profile;
} tacq_session_options_t;

TACQ_API tacq_status_t *tacq_session_create(tacq_module_t *module, tacq_device_t *device,
                                            const tacq_session_options_t *options,
                                            tacq_session_t **session);
TACQ_API void tacq_session_release(tacq_session_t *session);

/* Sets input `index`. The tensor must be on the host (kDLCPU), contiguous (strides NULL or
 * row-major), aligned to its element type, with the type, the rank and the fixed extents that the
 * model declares. The struct is copied, the data is borrowed: it must stay valid and unchanged
 * until tacq_session_run returns or the input is set again. An input stays set for later runs. */
TACQ_API tacq_status_t *tacq_session_set_input(tacq_session_t *session, size_t index,
                                               const DLTensor *tensor);
/* The same from plain arguments: `data` holds `size` bytes; refused when the shape needs more. */
TACQ_API tacq_status_t *tacq_session_set_input_data(tacq_session_t *session, size_t index,
                                                    tacq_element_type_t type, const int64_t *dims,
                                                    size_t rank, const void *data, size_t size);

/* Runs the module once; returns when the outputs are there. After an error the outputs are gone,
 * and the states are as before the call. */
TACQ_API tacq_status_t *tacq_session_run(tacq_session_t *session);

/* tacq_session_run in two steps, so that a device gets its next work before the host has seen the
 * results of the last. `start` hands a run to the device, and may return before it is done; inputs
 * stay borrowed until it is finished. `finish` waits for the earliest run that was started: its
 * outputs are then those of the session. Two runs may be started and not finished; the second one
 * sees the states that the first one leaves. When a run fails, so do those behind it: none is left
 * to finish, and the states are as before it. Outputs of earlier runs are gone at `start`, as at
 * tacq_session_run. Until all runs are finished the session cannot be run, reset or rewound. */
TACQ_API tacq_status_t *tacq_session_start(tacq_session_t *session);
TACQ_API tacq_status_t *tacq_session_finish(tacq_session_t *session);
/* From now on, and until it is set again, `input` is what the run before has left in `output`,
 * which stays on the device: the token that a model has chosen, for one. They must have the same
 * type and rank, must not belong to a state, and no shape may depend on the input's elements. */
TACQ_API tacq_status_t *tacq_session_link(tacq_session_t *session, size_t output, size_t input);

/* The shape of an output of the last run: writes up to `capacity` extents and the rank. */
TACQ_API tacq_status_t *tacq_session_output_shape(tacq_session_t *session, size_t index,
                                                  int64_t *dims, size_t capacity, size_t *rank);
/* The output as a host tensor. It stays valid, and the same, until its deleter is called, also
 * after later runs (the session then uses other memory) and after the session is released. No
 * copy on the cpu, except for outputs that belong to an in-place state. */
TACQ_API tacq_status_t *tacq_session_get_output(tacq_session_t *session, size_t index,
                                                DLManagedTensor **tensor);
/* Copies the output to `data`; `size` must be exactly its size in bytes. */
TACQ_API tacq_status_t *tacq_session_copy_output(tacq_session_t *session, size_t index, void *data,
                                                 size_t size);

/* Forgets the kept states: the next run starts from nothing. */
TACQ_API tacq_status_t *tacq_session_reset(tacq_session_t *session);
/* Number of entries in the caches of a stateful session: 0 after a reset, then the sum of the
 * lengths it has seen. 0 for modules without caches. */
TACQ_API int64_t tacq_session_position(const tacq_session_t *session);
/* Keeps the first `position` entries of each cache and forgets the rest. Fails when the module has
 * a state that is not a cache (other than to 0). */
TACQ_API tacq_status_t *tacq_session_rewind(tacq_session_t *session, int64_t position);
/* The capacity of the caches now; 0 without in-place states. */
TACQ_API int64_t tacq_session_capacity(const tacq_session_t *session);

typedef struct tacq_session_counters {
  size_t struct_size;
  uint64_t runs;            /* successful ones */
  uint64_t dispatches;      /* of all runs */
  uint64_t commands;        /* executed, dispatches included */
  uint64_t allocations;     /* of device memory since the session was created */
  uint64_t bytes_transient; /* memory held now: slots and scratch */
  uint64_t bytes_state;     /* caches */
  uint64_t bytes_output;
  uint64_t bytes_copied; /* states and inputs copied in or out by the runtime */
  uint64_t run_ns;       /* wall time of all runs */
  /* Of run_ns, from handing commands to the device until they are done, for drivers whose devices
   * work by themselves; else 0. */
  uint64_t device_ns;
} tacq_session_counters_t;

TACQ_API tacq_status_t *tacq_session_get_counters(const tacq_session_t *session,
                                                  tacq_session_counters_t *counters);

/* One line of the profile: a dispatch of the schedule with its total over all runs. */
typedef struct tacq_profile_entry {
  const char *kernel;
  const char *node; /* "" when unknown */
  const char *op;
  uint64_t count;
  uint64_t total_ns;
} tacq_profile_entry_t;

typedef void (*tacq_profile_fn)(void *user, const tacq_profile_entry_t *entry);

/* Calls `fn` for each dispatch that has run, in schedule order. Needs options.profile. */
TACQ_API tacq_status_t *tacq_session_profile(const tacq_session_t *session, tacq_profile_fn fn,
                                             void *user);

#ifdef __cplusplus
}
#endif

#endif

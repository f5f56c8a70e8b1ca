/* kernel-server.c - Runs kernels for a test on another machine, which may be emulated.
 *
 * Reads requests from the standard input and answers on the standard output. Numbers are
 * little-endian and of eight bytes:
 *
 *   0, length, path                   loads a shared object with a kernel "k"; answers its number,
 *                                     or -1
 *   1, number, bindings, symbols, tasks, pieces, each symbol, and for each binding size and bytes
 *                                     runs [0, tasks) in so many calls; answers status[0] and the
 *                                     bytes of all bindings
 */
#include "tacq/kernel_abi.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_KERNELS = 1 << 16 };

static tacq_kernel_fn kernels[MAX_KERNELS];
static int64_t count;

static void get(void *to, size_t size) {
  if (size > 0 && fread(to, size, 1, stdin) != 1)
    exit(0);
}

static int64_t number(void) {
  int64_t value;
  get(&value, sizeof(value));
  return value;
}

static void *allocate(size_t size) {
  /* The next multiple of 64, so that all that lies behind is not another buffer's. */
  void *memory = aligned_alloc(64, size / 64 * 64 + 64);
  if (!memory)
    exit(1);
  return memory;
}

static void load(void) {
  size_t length = (size_t)number();
  char *path = calloc(length + 1, 1);
  get(path, length);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  free(path);
  void *kernel = library ? dlsym(library, "k") : NULL;
  if (!kernel)
    fprintf(stderr, "%s\n", dlerror());
  int64_t result = -1;
  if (kernel && count < MAX_KERNELS) {
    result = count++;
    kernels[result] = (tacq_kernel_fn)kernel;
  }
  fwrite(&result, sizeof(result), 1, stdout);
}

static void run(void) {
  int64_t kernel = number(), bindings = number(), symbols = number(), tasks = number(),
          pieces = number();
  int64_t *values = allocate((size_t)symbols * sizeof(int64_t));
  get(values, (size_t)symbols * sizeof(int64_t));
  void **buffers = allocate((size_t)bindings * sizeof(void *));
  size_t *sizes = allocate((size_t)bindings * sizeof(size_t));
  for (int64_t i = 0; i < bindings; ++i) {
    sizes[i] = (size_t)number();
    buffers[i] = allocate(sizes[i]);
    get(buffers[i], sizes[i]);
  }
  int32_t status[TACQ_STATUS_WORDS] = {0};
  tacq_kernel_args args = {buffers, values, status, NULL, 0};
  for (int64_t piece = 0; piece < pieces; ++piece) {
    int64_t begin = tasks * piece / pieces, end = tasks * (piece + 1) / pieces;
    if (begin < end)
      kernels[kernel](&args, begin, end, (int32_t)piece);
  }
  int64_t result = status[0];
  fwrite(&result, sizeof(result), 1, stdout);
  for (int64_t i = 0; i < bindings; ++i) {
    if (sizes[i] > 0)
      fwrite(buffers[i], sizes[i], 1, stdout);
    free(buffers[i]);
  }
  free(sizes);
  free(buffers);
  free(values);
}

int main(void) {
  for (;;) {
    if (number() == 0)
      load();
    else
      run();
    fflush(stdout);
  }
}

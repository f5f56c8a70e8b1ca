/* Kernels for the tests, compiled to an executable as the compiler's are. */
#include "tacq/kernel_abi.h"

float expf(float);
double sin(double);
void *memcpy(void *, const void *, __SIZE_TYPE__);

/* out[i] = a[i] + b[i]; tasks: elements */
void add_f32(const tacq_kernel_args *args, int64_t begin, int64_t end, int32_t worker) {
  const float *a = args->bindings[0], *b = args->bindings[1];
  float *out = args->bindings[2];
  (void)worker;
  for (int64_t i = begin; i < end; ++i)
    out[i] = a[i] + b[i];
}

/* out[i] = 1000 * number of the symbol that is i % 2, plus worker; checks splitting and symbols */
void who(const tacq_kernel_args *args, int64_t begin, int64_t end, int32_t worker) {
  int64_t *out = args->bindings[0];
  for (int64_t i = begin; i < end; ++i)
    out[i] = args->symbols[i % 2] * 1000 + worker;
}

/* rows of 4 floats: out[i] = table[index[i]]; symbols: n, rows of the table, node */
void gather(const tacq_kernel_args *args, int64_t begin, int64_t end, int32_t worker) {
  const float *table = args->bindings[0];
  const int64_t *index = args->bindings[1];
  float *out = args->bindings[2];
  (void)worker;
  for (int64_t i = begin; i < end; ++i) {
    if (index[i] < 0 || index[i] >= args->symbols[1]) {
      args->status[0] = (int32_t)args->symbols[2] + 1;
      args->status[1] = TACQ_KERNEL_INDEX_OUT_OF_RANGE;
      args->status[2] = (int32_t)(uint32_t)(uint64_t)index[i];
      args->status[3] = (int32_t)(index[i] >> 32);
      args->status[4] = (int32_t)args->symbols[1];
      args->status[5] = 0;
      return;
    }
    memcpy(out + 4 * i, table + 4 * index[i], 16);
  }
}

/* Function pointers in constant data need relocations. */
static float square(float x) { return x * x; }
static float negate(float x) { return -x; }
static float (*const table[])(float) = {square, negate, expf};

/* out[i] = table[symbol](in[i]) */
void apply(const tacq_kernel_args *args, int64_t begin, int64_t end, int32_t worker) {
  const float *in = args->bindings[0];
  float *out = args->bindings[1];
  (void)worker;
  for (int64_t i = begin; i < end; ++i)
    out[i] = table[args->symbols[0]](in[i]) + (float)sin(0.0);
}

/* Fills its scratch memory with its worker number and counts; out[i] = sum of the scratch */
void use_scratch(const tacq_kernel_args *args, int64_t begin, int64_t end, int32_t worker) {
  int64_t *out = args->bindings[0];
  unsigned char *scratch = args->scratch;
  for (int64_t i = begin; i < end; ++i) {
    int64_t sum = 0;
    for (int64_t k = 0; k < args->scratch_size; ++k)
      scratch[k] = (unsigned char)(worker + 1);
    for (int64_t k = 0; k < args->scratch_size; ++k)
      sum += scratch[k];
    out[i] = sum == args->scratch_size * (worker + 1) && (uintptr_t)scratch % 64 == 0;
  }
}

#ifdef TACQ_BAD_IMPORT
int system(const char *);
int call_system(void) { return system("true"); }
#endif

#ifdef TACQ_CONSTRUCTOR
static volatile int seen;
__attribute__((constructor)) static void construct(void) { seen = 1; }
int read_seen(void) { return seen; }
#endif

#ifdef TACQ_THREAD_LOCAL
static _Thread_local int own;
int count_own(void) { return ++own; }
#endif

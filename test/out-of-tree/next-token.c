/* Continues a sequence of tokens: next-token MODULE COUNT TOKEN...
 *
 * A module with a key/value cache runs in a stateful session: the first run reads the whole prompt,
 * each further one reads the token that was just made. */
#include <tacq/runtime.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(tacq_status_t *status) {
  if (!status)
    return;
  fprintf(stderr, "next-token: %s\n", tacq_status_message(status));
  tacq_status_free(status);
  exit(1);
}

/* Sets an int64 input of shape [1, count], unless the model has no such input. */
static void setInput(tacq_session_t *session, tacq_module_t *module, const char *name,
                     const int64_t *values, int64_t count) {
  int64_t index = tacq_module_find_input(module, name);
  if (index < 0)
    return;
  int64_t dims[2] = {1, count};
  check(tacq_session_set_input_data(session, (size_t)index, TACQ_I64, dims, 2, values,
                                    (size_t)count * sizeof(int64_t)));
}

/* The most likely token after the last position of logits [1, sequence, vocabulary]. */
static int64_t bestToken(tacq_session_t *session, size_t output) {
  DLManagedTensor *tensor;
  check(tacq_session_get_output(session, output, &tensor));
  const DLTensor *logits = &tensor->dl_tensor;
  if (logits->ndim != 3 || tacq_element_from_dlpack(logits->dtype) != TACQ_F32) {
    fprintf(stderr, "next-token: the logits are not f32[1, sequence, vocabulary]\n");
    exit(1);
  }
  int64_t vocabulary = logits->shape[2];
  const float *row = (const float *)((const char *)logits->data + logits->byte_offset) +
                     (logits->shape[1] - 1) * vocabulary;
  int64_t best = 0;
  for (int64_t i = 1; i < vocabulary; ++i)
    if (row[i] > row[best])
      best = i;
  tensor->deleter(tensor);
  return best;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: next-token MODULE COUNT TOKEN...\n");
    return 1;
  }
  if (tacq_api_version() != TACQ_API_VERSION) {
    fprintf(stderr, "next-token: the library has another API version than its header\n");
    return 1;
  }
  tacq_runtime_t *runtime;
  tacq_device_t *device;
  tacq_module_t *module;
  tacq_session_t *session;
  check(tacq_runtime_create(NULL, &runtime));
  check(tacq_device_open(runtime, "cpu:threads=2", &device));
  check(tacq_module_open(runtime, argv[1], NULL, &module));
  tacq_session_options_t options = {sizeof(options), 0, 1, 0};
  check(tacq_session_create(module, device, &options, &session));
  int64_t output = tacq_module_find_output(module, "logits");
  if (output < 0 || tacq_module_state_count(module) == 0) {
    fprintf(stderr, "next-token: the module has no output logits or no cache\n");
    return 1;
  }

  int64_t count = atoll(argv[2]), prompt = argc - 3, total = prompt + count;
  int64_t *tokens = calloc((size_t)total, sizeof(int64_t));
  int64_t *positions = calloc((size_t)total, sizeof(int64_t));
  int64_t *mask = calloc((size_t)total, sizeof(int64_t));
  for (int64_t i = 0; i < total; ++i) {
    tokens[i] = i < prompt ? atoll(argv[3 + i]) : 0;
    positions[i] = i;
    mask[i] = 1;
  }
  int64_t past = 0;
  for (int64_t length = prompt; length < total; ++length) {
    setInput(session, module, "input_ids", tokens + past, length - past);
    setInput(session, module, "position_ids", positions + past, length - past);
    setInput(session, module, "attention_mask", mask, length);
    check(tacq_session_run(session));
    tokens[length] = bestToken(session, (size_t)output);
    printf("%lld\n", (long long)tokens[length]);
    past = length;
  }
  free(tokens);
  free(positions);
  free(mask);
  tacq_session_release(session);
  tacq_module_release(module);
  tacq_device_release(device);
  tacq_runtime_release(runtime);
  return 0;
}

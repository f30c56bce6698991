/* Runs a net for the computer that exported it: requests on standard input, answers on standard output, integers as this machine has them.
 *
 *     'i' n samples               n labels (u16)
 *     'l' n (sample label u16)*   n guesses (u16)
 *     's'                         the state's bytes
 *
 * A return code other than 0 is a call of the runtime that failed: its negative. */
#include <stdio.h>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include DRIVER_NET

static _Alignas(8) uint8_t pool[EL_APP_POOL_BYTES];
static union {
  uint8_t bytes[EL_APP_INPUTS * sizeof(float)];
  float aligned;
} sample;
static el_t el;

static int take(void *out, size_t bytes) { return fread(out, bytes, 1, stdin) == 1; }

static int put(const void *bytes, size_t n) { return fwrite(bytes, n, 1, stdout) == 1 ? EL_OK : EL_ERR_ARG; }

static int infer(void) {
  uint16_t label;
  int code = take(sample.bytes, DRIVER_SAMPLE_BYTES) ? el_infer(&el, &sample, &label) : EL_ERR_ARG;
  return code ? code : put(&label, sizeof label);
}

static int learn(void) {
  uint16_t label, guess;
  if (!take(sample.bytes, DRIVER_SAMPLE_BYTES) || !take(&label, sizeof label)) return EL_ERR_ARG;
  int code = el_learn(&el, &sample, label, &guess);
  return code ? code : put(&guess, sizeof guess);
}

static int repeat(int (*call)(void)) {
  uint32_t n;
  int code = take(&n, sizeof n) ? EL_OK : EL_ERR_ARG;
  for (; code == EL_OK && n; n--) code = call();
  return code;
}

static int answer(int request) {
  switch (request) {
    case 'i': return repeat(infer);
    case 'l': return repeat(learn);
    case 's': return put(el.state, el.state_bytes);
    default: return EL_ERR_UNKNOWN;
  }
}

static int open_net(void) {
#ifdef DRIVER_PLAN_ONLY
  int code = el_open(&el, NULL, el_app_plan, el_app_plan_bytes, pool, sizeof pool, DRIVER_SEED);
#ifdef DRIVER_LEARNT
  if (!code) code = el_start(&el, el_app_state, el_app_state_bytes);
#endif
  return code;
#else
  return el_app_open(&el, NULL, pool, sizeof pool);
#endif
}

int main(void) {
#ifdef _WIN32
  _setmode(_fileno(stdin), _O_BINARY);
  _setmode(_fileno(stdout), _O_BINARY);
#endif
  int code = open_net(), request;
  while (code == EL_OK && (request = getchar()) != EOF) {
    code = answer(request);
    fflush(stdout);
  }
  return -code;
}

/* What the fuzz targets share. With -DREPLAY they run the files they are given, with any compiler; without, libFuzzer brings its own main. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* A block of exactly n bytes, so that a sanitizer sees the first access beyond. */
static inline uint8_t *fuzz_block(size_t n) {
  uint8_t *bytes = malloc(n ? n : 1);
  if (!bytes) exit(2);
  return bytes;
}

static inline void fuzz_demand(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

#ifdef REPLAY
#define MOST_INPUT (1u << 20)

int main(int argc, char **argv) {
  static uint8_t input[MOST_INPUT];
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file) return 2;
    size_t n = fread(input, 1, sizeof input, file);
    fclose(file);
    uint8_t *exact = fuzz_block(n);
    memcpy(exact, input, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
  }
  printf("%d\n", argc - 1);
  return 0;
}
#endif

#endif

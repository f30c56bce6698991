/* Damages frames in every way that a few bits can, and at random, and counts what the decoder takes for a frame that was never sent.
 *
 * frames FILE SAMPLE EVERY flips BITS | frames FILE SAMPLE EVERY noise STREAMS. FILE: frames as they stand on the line, each after its length
 * (u16). A stream is one of them, damaged, and two good ones. Prints streams, wrong frames, and streams after which the second good frame
 * was lost; see tests/link/test_damage.py. Every EVERY-th stream goes to SAMPLE for the decoder in Python: u16 length, the frames that were
 * taken (bits: the damaged one, the first good one, the second, a wrong one), bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "el_bytes.h"
#include "el_link.h"

#define MOST_FRAMES 64
#define MOST_BYTES 400
#define MOST_CHANGES 8

enum { DAMAGED = 1, FIRST = 2, SECOND = 4, WRONG = 8 };

typedef struct frame {
  uint16_t n, decoded_n;
  uint8_t bytes[MOST_BYTES], decoded[MOST_BYTES];
} frame;

static frame frames[MOST_FRAMES], good[2];
static uint32_t n_frames, noise = 1, every;
static uint64_t streams, wrong, lost;
static el_link link;
static FILE *sample;

static uint32_t any(uint32_t below) { return (uint32_t)(((uint64_t)(noise = noise * 1664525u + 1013904223u) * below) >> 32); }

/* Feeds bytes to the decoder; which frames it made of them. */
static uint8_t feed(const uint8_t *bytes, uint32_t n, const frame *sent) {
  uint8_t taken = 0;
  while (n--) {
    uint16_t got = el_frame_feed(&link, *bytes++);
    if (!got) continue;
    const frame *known[] = {sent, &good[0], &good[1]};
    uint8_t which = WRONG;
    for (uint8_t i = 0; i < 3; i++)
      if (known[i] && got == known[i]->decoded_n && !memcmp(link.rx, known[i]->decoded, got)) which = (uint8_t)(1u << i);
    taken |= which;
  }
  return taken;
}

static void keep_sample(const uint8_t *bytes, uint16_t n, uint8_t taken) {
  uint8_t head[3] = {(uint8_t)n, (uint8_t)(n >> 8), taken};
  fwrite(head, 1, sizeof head, sample);
  fwrite(bytes, 1, n, sample);
}

static void try_stream(const uint8_t *bytes, uint16_t n, const frame *sent) {
  uint8_t taken = feed(bytes, n, sent);
  taken |= feed(good[0].bytes, good[0].n, NULL);
  taken |= feed(good[1].bytes, good[1].n, NULL);
  wrong += (taken & WRONG) != 0;
  lost += !(taken & SECOND);
  if (streams++ % every == 0) keep_sample(bytes, n, taken);
}

/* Every way to turn one, two or three bits, the delimiter's among them. */
static void flips(const frame *f, uint32_t bits, uint32_t from, uint8_t *bytes) {
  for (uint32_t bit = from; bit < 8u * f->n; bit++) {
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (bits == 1) try_stream(bytes, f->n, f);
    else flips(f, bits - 1, bit + 1, bytes);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
}

/* A byte is changed, lost, sent twice, swapped with the next, put in, or the rest is cut off. */
static uint16_t change(uint8_t *bytes, uint16_t n) {
  uint16_t at = (uint16_t)any(n);
  uint8_t byte = bytes[at];
  switch (any(6)) {
    case 0: bytes[at] ^= (uint8_t)(1 + any(255)); return n;
    case 1: memmove(bytes + at, bytes + at + 1, (size_t)(n - at - 1)); return (uint16_t)(n - 1);
    case 2: byte = (uint8_t)any(256); /* fall through */
    case 3:
      memmove(bytes + at + 1, bytes + at, (size_t)(n - at));
      bytes[at] = byte;
      return (uint16_t)(n + 1);
    case 4:
      bytes[at] = bytes[(at + 1) % n];
      bytes[(at + 1) % n] = byte;
      return n;
    default: return at ? at : 1;
  }
}

static void random_damage(uint32_t count) {
  uint8_t bytes[MOST_BYTES + MOST_CHANGES];
  while (count--) {
    const frame *f = &frames[any(n_frames)];
    uint16_t n = f->n;
    memcpy(bytes, f->bytes, n);
    for (uint32_t changes = 1 + any(MOST_CHANGES); changes-- && n;) n = change(bytes, n);
    if (n) try_stream(bytes, n, f);
  }
}

static void decode(frame *f) {
  for (uint16_t i = 0; i < f->n; i++) {
    f->decoded_n = el_frame_feed(&link, f->bytes[i]);
    if (f->decoded_n) memcpy(f->decoded, link.rx, f->decoded_n);
  }
  if (!f->decoded_n) exit(3);
}

/* The last two are the good ones. */
static void read_frames(const char *path) {
  FILE *file = fopen(path, "rb");
  uint8_t size[2];
  while (file && n_frames < MOST_FRAMES && fread(size, 1, 2, file) == 2) {
    frame *f = &frames[n_frames++];
    f->n = el_get16(size);
    if (f->n > MOST_BYTES || fread(f->bytes, 1, f->n, file) != f->n) exit(2);
    decode(f);
  }
  if (!file || n_frames < 3) exit(2);
  fclose(file);
  n_frames -= 2;
  memcpy(good, frames + n_frames, sizeof good);
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  read_frames(argv[1]);
  sample = fopen(argv[2], "wb");
  every = (uint32_t)atoi(argv[3]);
  uint32_t number = (uint32_t)atoi(argv[5]);
  if (!sample || !every) return 2;
  if (!strcmp(argv[4], "noise")) random_damage(number);
  else
    for (uint32_t i = 0; i < n_frames; i++) flips(&frames[i], number, 0, frames[i].bytes);
  fclose(sample);
  printf("%llu %llu %llu\n", (unsigned long long)streams, (unsigned long long)wrong, (unsigned long long)lost);
  return 0;
}

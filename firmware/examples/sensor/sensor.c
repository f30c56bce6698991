/* A made-up wrist: gestures as an accelerometer sees them, with noise, and a user who shows them in turns.
 *
 * make_data.py draws the same windows, number for number: the network's first exponents come from there. */
#include "sensor.h"

#define TURN 12  /* windows that show the same gesture */
#define LESSON 10 /* of which the button is pressed for this many */
#define WINDOW_DRAWS 64 /* random numbers set aside for each window */

/* An axis swings `turns` times per window, starting `lead` / 256 of a turn late, by `gain` / 64 g around `rest`. */
typedef struct {
  uint8_t turns, lead;
  int16_t gain, rest;
} axis;

static const axis gestures[SENSOR_CLASSES][SENSOR_AXES] = {
    {{3, 0, 64, 0}, {3, 32, 16, 0}, {0, 0, 0, 48}},   /* shake */
    {{1, 0, 64, 0}, {1, 64, 64, 0}, {0, 0, 0, 48}},   /* circle */
    {{1, 0, 12, 0}, {0, 0, 0, 0}, {1, 128, 64, 48}},  /* lift */
};

static uint32_t windows; /* read so far */

/* The i-th random number. */
static uint32_t draw(uint32_t i) {
  i ^= i >> 16;
  i *= (uint32_t)0x7FEB352D;
  i ^= i >> 15;
  i *= (uint32_t)0x846CA68B;
  return i ^ i >> 16;
}

/* A sine of 256 steps, -64 to 64, from parabolas. */
static int16_t wave(uint8_t phase) {
  int16_t half = phase & 127, height = (int16_t)((half * (128 - half)) >> 6);
  return phase & 128 ? (int16_t)-height : height;
}

static int gesture_of(uint32_t window) { return (int)(draw(window / TURN) % SENSOR_CLASSES); }

/* One reading; `style` is how this very gesture is done: when it starts and how strongly. */
static int8_t acceleration(const axis *a, uint8_t sample, uint32_t style, uint32_t noise) {
  uint8_t phase = (uint8_t)(sample * a->turns * (256 / SENSOR_SAMPLES) + a->lead + (style & 63));
  int32_t strength = 40 + (int32_t)(style >> 6 & 31); /* of 64 */
  int32_t swing = (int32_t)wave(phase) * a->gain * strength >> 12;
  int32_t g = a->rest + swing + (int32_t)((noise & 63) + (noise >> 6 & 63)) - 63;
  return (int8_t)(g > 127 ? 127 : g < -127 ? -127 : g);
}

int sensor_read(int8_t *window) {
  const axis *moves = gestures[gesture_of(windows)];
  uint32_t first = ~(windows * WINDOW_DRAWS), style = draw(first);
  for (uint8_t i = 0; i < SENSOR_VALUES; i++)
    window[i] = acceleration(&moves[i % SENSOR_AXES], i / SENSOR_AXES, style, draw(first - 1 - i));
  windows++;
  return 1;
}

int button_label(void) {
  uint32_t last = windows - 1;
  return last % TURN < LESSON ? gesture_of(last) : -1;
}

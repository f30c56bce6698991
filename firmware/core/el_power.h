/* What a board can say of its own supply: by a meter beside the chip, and by a pin that tells a meter on the bench when the chip computes.
 * Both are optional. A port that has one fills in an el_power and names it in its el_hal; an image without it has none of power.c.
 *
 *     static el_power power = {EL_POWER_BY_CORE, .read = meter_read, .name = "INA219", .every_us = 20000};
 *
 * docs/energy.md shows ports and drivers. Whoever has a program without the link calls el_power_moment himself. Images for the least RAM
 * (EL_SMALL) have none of it.
 */
#ifndef EL_POWER_H
#define EL_POWER_H

#include "el_hal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What happens, for el_power_moment: nothing in particular, or an inference or a training step begins or ends. */
enum { EL_MOMENT_POLL, EL_MOMENT_BEGIN, EL_MOMENT_END };

/* What a meter's `read` answers, besides errors below zero. */
enum { EL_METER_VALUE = 0, EL_METER_NO_NEWS = 1 };

/* A sum of products of 32 bits, low word first: no core needs arithmetic of 64 bits for it. */
typedef struct el_sum {
  uint32_t word[2];
} el_sum;

typedef struct el_power el_power;
struct el_power {
  /* EL_POWER_BY_CORE. Pointers, so that the linker drops power.c where no port names it. */
  void (*moment)(const el_hal *hal, uint8_t what);
  uint16_t (*asked)(const el_hal *hal, const uint8_t *tlvs, uint16_t n, uint8_t *out, uint16_t room);

  /* The port's; a NULL function is a thing that it has not. */
  void *ctx;
  /* Current into the board, negative if it flows out of it, and voltage, as means over about `every_us`. Takes no longer than it must: the
   * board does nothing else meanwhile. */
  int (*read)(void *ctx, int32_t *out_ua, uint32_t *out_mv);
  void (*marker)(void *ctx, int high);
  const char *name;       /* of the meter, up to 16 characters */
  uint32_t every_us;      /* readings are never closer: the chip needs so long for a value, and the time of readings stays a small share */
  uint32_t resolution_ua; /* the least step of current that it tells */
  uint8_t synthetic;      /* it measures nothing: for tests */

  /* The core's. See POWER in edgelearn/link/messages.py. */
  uint8_t marks; /* EL_MARKER_* */
  uint8_t window;
  uint8_t working;
  uint32_t work_from;
  uint32_t tried_at; /* when `read` was called last, and when it last gave a value */
  uint32_t read_at;
  uint32_t count, failed, covered_us, missed_us, work_us, seen_us;
  uint32_t peak_uw, peak_before; /* of this window, and of the one before */
  int32_t ua;
  uint32_t mv;
  el_sum energy, work;
};

#define EL_POWER_BY_CORE .moment = el_power_moment, .asked = el_power_asked

void el_power_moment(const el_hal *hal, uint8_t what);

/* Answers what the TLVs of `stats` ask of meter and marker: writes TLVs of at most `room` bytes, returns how many. */
uint16_t el_power_asked(const el_hal *hal, const uint8_t *tlvs, uint16_t n, uint8_t *out, uint16_t room);

#ifdef __cplusplus
}
#endif
#endif

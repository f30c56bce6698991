/* Energy out of a meter's readings. A reading stands for the time since the one before: the chips that we know tell the mean over all of that,
 * or, after two or three of their periods, over its end. What lies farther back is counted as missed and has no energy. Sums are exact. */
#include "el_power.h"

#ifndef EL_SMALL
#include <string.h>

#include "../gen/el_proto.h"
#include "el_bytes.h"

#define STANDS_FOR 3u /* periods, at most */
#define BACKWARDS 0x80000000u

/* ua x mv / 1000 in 32 bits: right for all that is below 4.2 kW. */
static uint32_t microwatts(int32_t ua, uint32_t mv) {
  uint32_t size = ua < 0 ? 0u - (uint32_t)ua : (uint32_t)ua;
  return size / 1000u * mv + size % 1000u * mv / 1000u;
}

static void add_word(el_sum *sum, uint32_t low, uint32_t high) {
  sum->word[0] += low;
  sum->word[1] += high + (sum->word[0] < low);
}

/* Adds a x b, or takes it away, by its four products of 16 bits. */
static void add_product(el_sum *sum, uint32_t a, uint32_t b, int negative) {
  uint32_t a0 = a & 0xFFFFu, a1 = a >> 16, b0 = b & 0xFFFFu, b1 = b >> 16;
  uint32_t ends = a0 * b0, middle = a1 * b0 + (ends >> 16), other = a0 * b1 + (middle & 0xFFFFu);
  uint32_t low = other << 16 | (ends & 0xFFFFu), high = a1 * b1 + (middle >> 16) + (other >> 16);
  if (negative) {
    low = 0u - low;
    high = ~high + (low == 0);
  }
  add_word(sum, low, high);
}

/* The value `uw` stands for the time from the reading before to `now`. */
static void count_energy(el_power *p, uint32_t now, uint32_t uw) {
  uint32_t passed = now - p->read_at;
  if (passed > STANDS_FOR * p->every_us) {
    p->missed_us += passed;
    return;
  }
  p->covered_us += passed;
  add_product(&p->energy, uw, passed, p->ua < 0);
  if (!p->working || p->read_at - p->work_from >= BACKWARDS) return;
  p->seen_us += passed;
  add_product(&p->work, uw, passed, p->ua < 0);
}

static void take(el_power *p, uint32_t now) {
  int32_t ua;
  uint32_t mv;
  int answer = p->read(p->ctx, &ua, &mv);
  p->tried_at = now;
  if (answer != EL_METER_VALUE) {
    p->failed += answer < 0;
    return;
  }
  p->ua = ua;
  p->mv = mv;
  uint32_t uw = microwatts(ua, mv);
  if (ua > 0 && uw > p->peak_uw) p->peak_uw = uw;
  if (p->count++) count_energy(p, now, uw);
  p->read_at = now;
}

static void begin_work(el_power *p, uint32_t now) {
  p->work_from = now;
  p->working = 1;
}

static void end_work(el_power *p, uint32_t now) {
  uint32_t worked = now - p->work_from;
  if (worked < BACKWARDS) p->work_us += worked; /* an emulated clock may step back */
  p->working = 0;
}

/* The last reading of work still lies in it. */
void el_power_moment(const el_hal *hal, uint8_t what) {
  el_power *p = hal->power;
  if (p->marks == EL_MARKER_WORK && what != EL_MOMENT_POLL) p->marker(p->ctx, what == EL_MOMENT_BEGIN);
  if (!p->read || !hal->now_us) return;
  uint32_t now = hal->now_us(hal->ctx);
  if (now - p->tried_at >= p->every_us) take(p, now);
  if (what == EL_MOMENT_BEGIN) begin_work(p, now);
  if (what == EL_MOMENT_END) end_work(p, now);
}

/* --- what the host asks ------------------------------------------------------------------------------------------- */

/* The value of an optional TLV of one byte; -1: there is none. The link has checked that all of them are whole. */
static int find(const uint8_t *tlvs, uint16_t n, uint8_t tag) {
  while (n >= 2) {
    uint16_t size = (uint16_t)(2 + tlvs[1]);
    if (tlvs[0] == tag && tlvs[1] == 1) return tlvs[2];
    tlvs += size;
    n = (uint16_t)(n - size);
  }
  return -1;
}

/* A window that is asked for again, because the answer got lost, hears of the same peak. */
static uint32_t peak_of(el_power *p, uint8_t window) {
  if (window != p->window) {
    p->peak_before = p->peak_uw;
    p->peak_uw = 0;
    p->window = window;
  }
  return p->peak_before;
}

static void put_sum(uint8_t *out, const el_sum *sum) {
  el_put32(out, sum->word[0]);
  el_put32(out + 4, sum->word[1]);
}

static uint16_t put_power(el_power *p, uint8_t window, uint8_t *out, uint16_t room) {
  if (room < 2 + EL_POWER_FIXED) return 0;
  uint8_t *body = out + 2;
  uint16_t name = 0, most = (uint16_t)(room - 2 - EL_POWER_FIXED);
  if (most > 255 - EL_POWER_FIXED) most = 255 - EL_POWER_FIXED;
  while (name < most && p->name[name]) name++;
  out[0] = EL_TLV_POWER;
  out[1] = (uint8_t)(EL_POWER_FIXED + name);
  body[EL_POWER_KIND] = p->synthetic ? EL_POWER_SYNTHETIC : EL_POWER_MEASURED;
  el_put32(body + EL_POWER_PERIOD_US, p->every_us);
  el_put32(body + EL_POWER_COUNT, p->count);
  el_put32(body + EL_POWER_FAILED, p->failed);
  el_put32(body + EL_POWER_COVERED_US, p->covered_us);
  el_put32(body + EL_POWER_MISSED_US, p->missed_us);
  el_put32(body + EL_POWER_WORK_US, p->work_us);
  el_put32(body + EL_POWER_SEEN_US, p->seen_us);
  put_sum(body + EL_POWER_ENERGY_PJ, &p->energy);
  put_sum(body + EL_POWER_WORK_PJ, &p->work);
  el_put32(body + EL_POWER_RESOLUTION_UA, p->resolution_ua);
  el_put32(body + EL_POWER_PEAK_UW, peak_of(p, window));
  el_put32(body + EL_POWER_UA, (uint32_t)p->ua);
  el_put32(body + EL_POWER_MV, p->mv);
  memcpy(body + EL_POWER_FIXED, p->name, name);
  return (uint16_t)(2 + EL_POWER_FIXED + name);
}

static uint16_t put_marker(el_power *p, uint8_t marks, uint8_t *out, uint16_t room) {
  if (room < 3) return 0;
  p->marks = marks > EL_MARKER_WORK ? EL_MARKER_LOW : marks;
  p->marker(p->ctx, p->marks == EL_MARKER_HIGH);
  out[0] = EL_TLV_MARKER;
  out[1] = 1;
  out[2] = p->marks;
  return 3;
}

uint16_t el_power_asked(const el_hal *hal, const uint8_t *tlvs, uint16_t n, uint8_t *out, uint16_t room) {
  el_power *p = hal->power;
  el_power_moment(hal, EL_MOMENT_POLL); /* who asks hears of now */
  int marks = find(tlvs, n, EL_TLV_MARKER), window = find(tlvs, n, EL_TLV_POWER);
  uint16_t used = 0;
  if (marks >= 0 && p->marker) used = put_marker(p, (uint8_t)marks, out, room);
  if (window >= 0 && p->read && hal->now_us) used = (uint16_t)(used + put_power(p, (uint8_t)window, out + used, (uint16_t)(room - used)));
  return used;
}
#endif

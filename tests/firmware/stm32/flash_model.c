/* A model of the flash of STM32F1 and F4, after PM0075 and RM0090, and what their drivers must do with it.
 *
 * An access says only which register it is for. So each one is looked at when the next one begins: what stands in a
 * register by then and was not there before has been written. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "chip.h"
#include "edgelearn.h"

#define FLASH_AT 0x08000000u
#define PERIPHERALS_AT 0x40000000u
#define LOCK (EL_SERIES == 1 ? 1u << 7 : 1u << 31)
#define START (EL_SERIES == 1 ? 1u << 6 : 1u << 16)
#define BUSY (EL_SERIES == 1 ? 1u : 1u << 16)
#define SEQUENCE_ERROR (1u << 7) /* F4 */
#define NOT_ERASED (1u << 2)     /* F1 */
#define UNIT (EL_SERIES == 1 ? 2u : 4u) /* bytes that are programmed at once */

enum { KEYR, SR, CR, AR, REGISTERS };
static const uint32_t places[REGISTERS] = {
#if EL_SERIES == 1
    0x40022004u, 0x4002200Cu, 0x40022010u, 0x40022014u,
#else
    0x40023C04u, 0x40023C0Cu, 0x40023C10u, 0u,
#endif
};

extern uint8_t __nv_start[];
static uint8_t now[EL_NV_BYTES]; /* what the flash holds */
static uint32_t shown[REGISTERS], status, control = LOCK, page;
static unsigned keys, busy;
static uint32_t others[0x30000u / 4u];

static void fail(const char *what) {
  printf("%s\n", what);
  exit(1);
}

static void check(int right, const char *what) {
  if (!right) fail(what);
}

static void erase(uint32_t at) {
  uint32_t off = at - (uint32_t)(uintptr_t)__nv_start;
  check(off < EL_NV_BYTES && off % EL_NV_PAGE == 0, "erases what is not its own");
  memset(now + off, 0xFF, EL_NV_PAGE);
  memcpy(__nv_start, now, EL_NV_BYTES);
}

static void write_control(uint32_t value) {
  check(!busy, "writes the control register while the flash is busy");
  if (control & LOCK) return; /* as the chip does */
  control = value & ~START;
  if (control & LOCK) keys = 0;
  if (!(value & START)) return;
  check(value & 2u && !(value & 1u), "starts something else than an erase");
  if (EL_SERIES == 1) {
    erase(page);
  } else {
    uint32_t sector = value >> 3 & 0xFu;
    check(sector >= 5u, "erases a sector of the firmware");
    erase(FLASH_AT + (sector - 4u) * 0x20000u);
  }
  busy = 3;
}

static void write_key(uint32_t key) {
  static const uint32_t right[2] = {0x45670123u, 0xCDEF89ABu};
  check(keys < 2 && key == right[keys], "a wrong key locks the flash until reset");
  if (++keys == 2) control &= ~LOCK;
}

static void program(uint32_t off) {
  uint8_t *memory = __nv_start + off;
  int allowed = !(control & LOCK) && control & 1u && (EL_SERIES == 1 || (control >> 8 & 3u) == 2u);
  check(!busy, "programs while the flash is busy");
  for (uint32_t i = 0; i < UNIT; i++) {
    if (EL_SERIES == 1 && (now[off] & now[off + 1]) != 0xFF && i == 0) allowed = 0, status |= NOT_ERASED;
    if (allowed) now[off + i] &= memory[i];
  }
  if (!allowed) status |= EL_SERIES == 1 ? NOT_ERASED : SEQUENCE_ERROR;
  memcpy(memory, now + off, UNIT);
  busy = 3;
}

static void settle(void) {
  volatile uint32_t *cells = others; /* before the flash: a driver opens it first */
  for (unsigned i = 0; i < REGISTERS; i++) {
    uint32_t value = places[i] ? cells[(places[i] - PERIPHERALS_AT) / 4u] : 0;
    if (value == shown[i]) continue;
    if (i == KEYR) write_key(value);
    if (i == SR) status &= ~value;
    if (i == CR) write_control(value);
    if (i == AR) page = value;
  }
  for (uint32_t off = 0; off < EL_NV_BYTES; off += UNIT)
    if (memcmp(__nv_start + off, now + off, UNIT)) program(off);
}

volatile uint32_t *model_register(uintptr_t address) {
  settle();
  if (busy) busy--;
  shown[KEYR] = 0;
  shown[SR] = status | (busy ? BUSY : 0);
  shown[CR] = control;
  shown[AR] = page;
  for (unsigned i = 0; i < REGISTERS; i++)
    if (places[i]) others[(places[i] - PERIPHERALS_AT) / 4u] = shown[i];
  if (address < PERIPHERALS_AT) return (volatile uint32_t *)address;
  check(address - PERIPHERALS_AT < sizeof others, "no such register");
  return &others[(address - PERIPHERALS_AT) / 4u];
}

static int is_locked(void) {
  settle();
  return (control & LOCK) != 0 && !busy;
}

static void check_erase(uint32_t off) {
  memset(now, 0, EL_NV_BYTES);
  memset(__nv_start, 0, EL_NV_BYTES);
  check(hal_nv_erase(NULL, off) == EL_OK, "an erase fails");
  check(is_locked(), "an erase leaves the flash open");
  for (uint32_t i = 0; i < EL_NV_BYTES; i++)
    check(now[i] == (i / EL_NV_PAGE == off / EL_NV_PAGE ? 0xFF : 0), "an erase misses its page");
}

static void check_program(uint32_t off) {
  uint8_t bytes[64], zero[4] = {0};
  for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37u + 11u);
  check(hal_nv_prog(NULL, off, bytes, sizeof bytes) == EL_OK, "programming fails");
  check(is_locked(), "programming leaves the flash open");
  check(memcmp(now + off, bytes, sizeof bytes) == 0, "other bytes than were given");
  check(now[off + sizeof bytes] == 0xFF && (off == 0 || now[off - 1] == 0xFF), "programming goes beyond its bytes");
  int code = hal_nv_prog(NULL, off, zero, sizeof zero);
  check(EL_SERIES != 1 || code == EL_ERR_NV, "nobody says that the flash was not erased");
  check(is_locked(), "a failure leaves the flash open");
  check(hal_nv_erase(NULL, off / EL_NV_PAGE * EL_NV_PAGE) == EL_OK, "an old error fails a later erase");
}

int main(void) {
  void *flash = mmap(__nv_start, EL_NV_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  check(flash == __nv_start, "no memory where the flash should be");
  for (uint32_t off = 0; off < EL_NV_BYTES; off += EL_NV_PAGE) check_erase(off);
  memset(now, 0xFF, EL_NV_BYTES);
  memset(__nv_start, 0xFF, EL_NV_BYTES);
  check_program(0);
  check_program(EL_NV_BYTES / 2u + 128u);
  puts("good");
  return 0;
}

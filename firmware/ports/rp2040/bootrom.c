/* Erasing and programming the flash by the functions of the boot ROM: RP2040 Datasheet, section 2.8.3. */
#include <string.h>

#include "cortexm.h"
#include "edgelearn.h"
#include "nv.h"

#define FLASH_AT 0x10000000u /* the boot ROM counts from here */
#define PAGE 256u            /* programmed at once */
#define BLOCK 65536u         /* erased at once; what is smaller goes in sectors of 4 KB */
#define BLOCK_ERASE 0xD8u

#define SSI_SSIENR REG(0x18000008u)
#define SSI_BAUDR REG(0x18000014u)
#define BOOT2_BAUDR 4u /* what boot2.c says */

#define ROM_CODE(a, b) ((uint32_t)(a) | (uint32_t)(b) << 8)

/* Where the boot ROM keeps pointers of 16 bits, to its table and to the function that searches it. Volatile: compilers take
 * addresses this low for a mistake. */
static const uint16_t *const volatile rom_table = (const uint16_t *)0x14, *const volatile rom_lookup = (const uint16_t *)0x18;

typedef struct {
  void (*connect)(void);
  void (*exit_xip)(void);
  void (*erase)(uint32_t at, size_t n, uint32_t block, uint8_t block_command);
  void (*program)(uint32_t at, const uint8_t *bytes, size_t n);
  void (*flush)(void);
  void (*enter_xip)(void);
} boot_rom;

extern uint8_t __nv_start[]; /* from the linker script */

static void *rom_function(char a, char b) {
  void *(*lookup)(const uint16_t *, uint32_t) = (void *(*)(const uint16_t *, uint32_t))(uintptr_t)*rom_lookup;
  return lookup((const uint16_t *)(uintptr_t)*rom_table, ROM_CODE(a, b));
}

static boot_rom find_rom(void) {
  return (boot_rom){
      .connect = (void (*)(void))rom_function('I', 'F'),
      .exit_xip = (void (*)(void))rom_function('E', 'X'),
      .erase = (void (*)(uint32_t, size_t, uint32_t, uint8_t))rom_function('R', 'E'),
      .program = (void (*)(uint32_t, const uint8_t *, size_t))rom_function('R', 'P'),
      .flush = (void (*)(void))rom_function('F', 'C'),
      .enter_xip = (void (*)(void))rom_function('C', 'X'),
  };
}

/* Programs a page, or erases one of EL_NV_PAGE bytes where `page` is NULL. In RAM, as is all that it reads, and with interrupts
 * held back: the flash that the program runs from is away meanwhile. */
__attribute__((noinline, long_call, section(".data.change_flash"))) static void change_flash(const boot_rom *rom, uint32_t at,
                                                                                            const uint8_t *page) {
  __asm volatile("cpsid i" ::: "memory");
  rom->connect();
  rom->exit_xip();
  if (page)
    rom->program(at, page, PAGE);
  else
    rom->erase(at, EL_NV_PAGE, BLOCK, BLOCK_ERASE);
  rom->flush();
  rom->enter_xip();
  SSI_SSIENR = 0; /* the boot ROM reads at two thirds of boot2's speed */
  SSI_BAUDR = BOOT2_BAUDR;
  SSI_SSIENR = 1;
  __asm volatile("cpsie i" ::: "memory");
}

static uint32_t in_flash(uint32_t off) { return (uint32_t)(uintptr_t)__nv_start - FLASH_AT + off; }

int hal_nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n) {
  (void)ctx;
  for (uint32_t i = 0; i < n; i++) out[i] = __nv_start[off + i];
  return EL_OK;
}

int hal_nv_erase(void *ctx, uint32_t off) {
  (void)ctx;
  const boot_rom rom = find_rom();
  change_flash(&rom, in_flash(off), NULL);
  return EL_OK;
}

/* Bytes of a page that are not given are programmed as 0xFF, which leaves them as they are. */
int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  (void)ctx;
  const boot_rom rom = find_rom();
  uint8_t page[PAGE];
  while (n) {
    uint32_t start = off % PAGE, here = n < PAGE - start ? n : PAGE - start;
    memset(page, 0xFF, PAGE);
    memcpy(page + start, bytes, here);
    change_flash(&rom, in_flash(off - start), page);
    off += here;
    bytes += here;
    n -= here;
  }
  return EL_OK;
}

/* The first 256 bytes of the flash: the boot ROM copies them to RAM, checks their sum and runs them there. They let the flash
 * be read as memory and start what follows. Registers: RP2040 Datasheet, sections 2.8.1.3 (second stage) and 4.10 (SSI).
 *
 * In assembler, so that every compiler makes the same bytes: their sum is written down at the end. Without it the chip takes
 * the flash for empty and waits for a USB drive's image; tests/firmware/test_ports_built.py computes it again. */
__asm(
    ".syntax unified\n"
    ".section .boot, \"ax\", %progbits\n"
    ".balign 4\n"
    ".thumb_func\n"
    ".global boot2\n"
    "boot2:\n"
    "ldr r0, ssi\n"
    "movs r1, #0\n"
    "str r1, [r0, #0x08]\n" /* SSIENR: off, to change the rest */
    "str r1, [r0, #0x04]\n" /* CTRLR1: one frame of data for each address */
    "movs r1, #4\n"
    "str r1, [r0, #0x14]\n" /* BAUDR: the core's clock over 4; the flash takes 50 MHz for this command */
    "ldr r1, ctrlr0\n"
    "str r1, [r0, #0x00]\n"
    "ldr r1, spi_ctrlr0\n"
    "movs r2, #0xF4\n"
    "str r1, [r0, r2]\n"
    "movs r1, #1\n"
    "str r1, [r0, #0x10]\n" /* SER: the only flash there is */
    "str r1, [r0, #0x08]\n" /* SSIENR: on */
    "ldr r0, vectors\n"
    "ldr r1, vtor\n"
    "str r0, [r1]\n"
    "ldmia r0!, {r1, r2}\n" /* as a Cortex-M does at reset: stack pointer, entry */
    "msr msp, r1\n"
    "bx r2\n"
    ".balign 4\n"
    "ssi: .word 0x18000000\n"
    "ctrlr0: .word 31 << 16 | 3 << 8\n"               /* frames of 32 bits; send command and address, then receive */
    "spi_ctrlr0: .word 0x03 << 24 | 2 << 8 | 6 << 2\n" /* read command 03h of 8 bits, then 24 bits of address */
    "vectors: .word 0x10000100\n"
    "vtor: .word 0xE000ED08\n"
    ".org boot2 + 252\n"
    ".word 0xA5A07AA4\n"
    ".text\n");

/* Signed multiplication, in place of libgcc's: QEMU 7.2 never returns from a `sbrs` that skips a `ret`, and those there do. Operands and
 * results are in the registers that avr-gcc agrees on with its library; __umulhisi3 and __muluhisi3 are the library's. */
__asm__(
    ".text\n"
    ".global __mulhisi3\n" /* r25:r22 = r19:r18 * r27:r26, both signed */
    "__mulhisi3:\n"
    "  call __umulhisi3\n"
    "  tst r19\n"
    "  brpl __usmulhisi3_tail\n"
    "  sub r24, r26\n"
    "  sbc r25, r27\n"
    "__usmulhisi3_tail:\n"
    "  tst r27\n"
    "  brpl 1f\n"
    "  sub r24, r18\n"
    "  sbc r25, r19\n"
    "1: ret\n"

    ".global __usmulhisi3\n" /* the same, r19:r18 unsigned */
    "__usmulhisi3:\n"
    "  call __umulhisi3\n"
    "  rjmp __usmulhisi3_tail\n"

    ".global __mulshisi3\n" /* r25:r22 = r21:r18 * r27:r26, the latter signed */
    "__mulshisi3:\n"
    "  tst r27\n"
    "  brmi __mulohisi3\n"
    "  jmp __muluhisi3\n"
    ".global __mulohisi3\n" /* the same, with r27:r26 less 2^16 */
    "__mulohisi3:\n"
    "  call __muluhisi3\n"
    "  sub r24, r18\n"
    "  sbc r25, r19\n"
    "  ret\n");

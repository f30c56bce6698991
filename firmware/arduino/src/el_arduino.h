/* What the Arduino IDE cannot say to the compiler: a library has no flags of its own. */
#ifndef EL_ARDUINO_H
#define EL_ARDUINO_H

#ifdef __AVR__ /* 2 to 8 KB of RAM: integers only, and every byte counts */
#define EL_NO_F32
#define EL_SMALL
#define EL_MAX_FRAME 76 /* a sample of 64 bytes in one frame */
#endif

#endif

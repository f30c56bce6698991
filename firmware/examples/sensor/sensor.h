/* The board's sensor and button: the two functions to replace with your own. sensor.c has made-up ones. */
#ifndef SENSOR_H
#define SENSOR_H

#include <stdint.h>

#define SENSOR_SAMPLES 16 /* in a window */
#define SENSOR_AXES 3
#define SENSOR_VALUES (SENSOR_SAMPLES * SENSOR_AXES) /* x y z x y z ...: the network's inputs */
#define SENSOR_EXP (-6) /* a value v means v * 2^SENSOR_EXP g */
#define SENSOR_CLASSES 3

/* Fills `window` with SENSOR_VALUES accelerations, 2^SENSOR_EXP g each. Returns 1, or 0 while no new window is ready. */
int sensor_read(int8_t *window);

/* Which gesture the user says the last window shows, 0 to SENSOR_CLASSES - 1; negative: no button is pressed. */
int button_label(void);

#endif

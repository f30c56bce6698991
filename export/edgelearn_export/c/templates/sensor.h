/* The sensor and whoever says what it sees: the two functions to replace with your own. */
#ifndef SENSOR_H
#define SENSOR_H

#include "@STEM@_net.h"

#define SENSOR_ENDED (-1)
#define SENSOR_BROKEN (-2)

#ifdef __cplusplus
extern "C" {
#endif

/* Fills `sample` with EL_APP_INPUTS values. Returns 1, or 0 while there is no new sample, or what of the above is the case. */
int sensor_read(el_app_value *sample);

/* The class of the last sample, 0 to EL_APP_CLASSES - 1, if somebody says it: a button, another sensor. Negative: nobody does. */
int sensor_label(void);

#ifdef __cplusplus
}
#endif

#endif

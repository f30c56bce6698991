/* Opens @STEM@. */
#include "@STEM@_net.h"
#include "el_start.h"

#ifdef __AVR__
#include <avr/io.h>
@AVR@
#endif

int el_app_open(el_t *el, const struct el_hal *hal, void *pool, size_t pool_bytes) {
@OPEN@
}

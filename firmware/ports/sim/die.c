/* The one way out when this computer refuses what the sim board needs. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

void sim_die(const char *what) {
  perror(what);
  exit(1);
}

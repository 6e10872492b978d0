/* calibrate.h as a library, for the workers written in Python. */
#include "calibrate.h"

int64_t calibrate(void);
int64_t calibrate(void) { return calibrate_work(); }

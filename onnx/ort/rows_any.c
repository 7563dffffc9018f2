#define LANES 8
#define ROWS_RUN rows_run_any
#define ROWS_TURN rows_turn_any
#include "rows_kernel.h"

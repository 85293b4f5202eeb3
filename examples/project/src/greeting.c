#include <stdio.h>
#include <stdlib.h>

#include "greeting.h"

void greet(const char *name) {
    printf("%s, %s!\n", getenv("GREETING"), name);
}

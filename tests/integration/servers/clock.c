/* A wall clock that is an hour behind as soon as the file named by CLOCK_STEP is there: for LD_PRELOAD.

   Only the wall clock: the monotonic one never steps. Only for the process that is started with it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, now);
    const char *step = getenv("CLOCK_STEP");
    if (!failed && which == CLOCK_REALTIME && step && !access(step, F_OK)) now->tv_sec -= 3600;
    return failed;
}

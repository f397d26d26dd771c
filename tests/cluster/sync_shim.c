/* Put before libc with LD_PRELOAD: makes the syncs of a process slow, or fail.

   SYNC_CONTROL names a file with three numbers: a sync takes between the first and the second, in
   milliseconds, and then fails with the third as errno unless that is 0. For each sync that is
   meddled with a byte is added to the file that SYNC_COUNT names. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int meddle(void)
{
    const char *control = getenv("SYNC_CONTROL"), *count = getenv("SYNC_COUNT");
    int low = 0, high = 0, number = 0;
    FILE *file = control ? fopen(control, "re") : NULL;
    if (!file)
        return 0;
    if (fscanf(file, "%d %d %d", &low, &high, &number) != 3)
        low = high = number = 0;
    fclose(file);
    if (!high && !number)
        return 0;
    int counter = count ? open(count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (counter >= 0) {
        if (write(counter, ".", 1) < 0)
            perror(count);
        close(counter);
    }
    long ms = low + (high > low ? random() % (high - low + 1) : 0);
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) && errno == EINTR)
        ;
    return number;
}

static int sync_with(const char *name, int descriptor)
{
    int number = meddle();
    if (number) {
        errno = number;
        return -1;
    }
    int (*original)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return original(descriptor);
}

int fsync(int descriptor) { return sync_with("fsync", descriptor); }
int fdatasync(int descriptor) { return sync_with("fdatasync", descriptor); }

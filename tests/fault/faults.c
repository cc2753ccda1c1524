#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_CALLERS = 256 };

static struct {
    enum fault_kind kind;
    long nth, count;
    bool lasting, fired, healed, dead;
    int paused;
} faults;

/* Places of the program that ask for memory, in the order of their first call. */
static struct {
    const void *address;
    long calls;
} callers[MAX_CALLERS];
static long n_callers, nth_call = 1;

/* A name that was given and whose directory was not synced since. */
static struct {
    char from[PATH_MAX], to[PATH_MAX];
    bool pending, synced; /* the file's bytes are on disk */
} renamed;
static bool written; /* by write(), and not synced */

static unsigned sites_of(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_NONE:
        return 0;
    case FAULT_DISK_FULL:
        return SITE_WRITE | SITE_NAME;
    case FAULT_HALF_A_WRITE:
        return SITE_WRITE;
    case FAULT_IO:
        return SITE_READ | SITE_WRITE | SITE_TRUNCATE | SITE_SYNC | SITE_SHARE | SITE_NAME;
    case FAULT_NO_FILES:
        return SITE_OPEN;
    case FAULT_BUSY:
        return SITE_LOCK;
    case FAULT_MEMORY: /* see fault_of_caller() */
        return 0;
    case FAULT_SQLITE_MEMORY:
        return SITE_SQLITE_ALLOCATE;
    case FAULT_KILL:
    case FAULT_POWER:
        return SITE_WRITE | SITE_TRUNCATE | SITE_SYNC | SITE_NAME;
    case FAULT_KILL_AFTER:
        return SITE_COMMITTED;
    }
    return 0;
}

const char *fault_name(enum fault_kind kind)
{
    static const char *const names[] = {
        "none",     "disk full", "half a write",      "I/O error", "no file descriptor",
        "busy",     "memory",    "memory for SQLite", "kill",      "kill after sync",
        "power cut"};

    return names[kind];
}

unsigned fault_random(unsigned *seed, unsigned n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % n;
}

void faults_arm(enum fault_kind kind, long nth, bool lasting)
{
    faults.kind = kind;
    faults.nth = nth;
    faults.lasting = lasting;
    faults.count = 0;
    faults.fired = faults.healed = faults.dead = false;
    renamed.pending = written = false;
    n_callers = 0;
    nth_call = 1;
    vfs_forget();
}

void faults_arm_caller(long nth, long call, bool lasting)
{
    faults_arm(FAULT_MEMORY, nth, lasting);
    nth_call = call;
}

long faults_callers(void)
{
    return n_callers;
}

void faults_heal(void)
{
    faults.healed = true;
}

void faults_pause(void)
{
    faults.paused++;
}

void faults_resume(void)
{
    faults.paused--;
}

bool faults_fired(void)
{
    return faults.fired;
}

bool faults_striking(void)
{
    return faults.fired && !faults.healed;
}

bool faults_dead(void)
{
    return faults.dead;
}

enum fault_kind fault_kind(void)
{
    return faults.kind;
}

/* From now on everything fails, or this once. */
static bool strike(void)
{
    faults.fired = true;
    if (faults.kind == FAULT_KILL || faults.kind == FAULT_KILL_AFTER)
        _exit(FAULT_EXIT);
    faults.dead = faults.kind == FAULT_POWER;
    return true;
}

bool fault_at(enum fault_site site)
{
    if (faults.dead)
        return (site & (SITE_LOCK | SITE_SQLITE_ALLOCATE)) == 0;
    if (faults.paused > 0 || faults.healed || !(sites_of(faults.kind) & (unsigned)site))
        return false;
    faults.count++;
    if (faults.lasting ? faults.count < faults.nth : faults.count != faults.nth)
        return false;
    return strike();
}

bool fault_of_caller(const void *address)
{
    long i = 0;

    if (faults.paused > 0 || faults.kind != FAULT_MEMORY)
        return false;
    while (i < n_callers && callers[i].address != address)
        i++;
    if (i == n_callers) {
        if (n_callers == MAX_CALLERS)
            abort();
        callers[n_callers].address = address;
        callers[n_callers++].calls = 0;
    }
    callers[i].calls++;
    if (faults.healed || faults.fired)
        return !faults.healed && faults.lasting;
    return i == faults.nth - 1 && callers[i].calls == nth_call && strike();
}

int __real_rename(const char *from, const char *to);

void power_cut(const char *directory, enum power_variant variant, unsigned seed)
{
    char path[PATH_MAX];
    bool names_lost = variant != POWER_EVERYTHING && variant != POWER_LEDGER_ONLY;

    faults.dead = false;
    faults.healed = true;
    vfs_power_cut(variant, &seed);
    if (renamed.pending && !renamed.synced && truncate(renamed.to, 0) < 0)
        abort();
    if (renamed.pending && names_lost && __real_rename(renamed.to, renamed.from) < 0)
        abort();
    renamed.pending = false;
    /* What is shared in memory is made anew; that nothing relies on it is part of the test. */
    for (int i = 0; i < 2; i++) {
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s.db-shm", directory, i ? "queue/queue" : "ledger");
        file = access(path, F_OK) == 0 ? fopen(path, "r+b") : NULL;
        if (!file)
            continue;
        for (int k = 0; k < 4096; k++)
            fputc((int)fault_random(&seed, 256), file);
        fclose(file);
    }
}

/* --- allocation: what the linker calls instead (-Wl,--wrap) ----------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_reallocarray(void *block, size_t n, size_t size);
char *__real_strdup(const char *text);
void *__real_sodium_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_reallocarray(void *block, size_t n, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_sodium_malloc(size_t size);

static bool no_memory(const void *caller)
{
    if (!fault_of_caller(caller))
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __real_realloc(block, size);
}

void *__wrap_reallocarray(void *block, size_t n, size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __real_reallocarray(block, n, size);
}

char *__wrap_strdup(const char *text)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __real_strdup(text);
}

void *__wrap_sodium_malloc(size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : __real_sodium_malloc(size);
}

/* --- the files that the program opens itself -------------------------------------------------- */

int __real_open(const char *path, int flags, ...);
ssize_t __real_read(int fd, void *bytes, size_t n);
ssize_t __real_write(int fd, const void *bytes, size_t n);
int __real_fsync(int fd);
int __real_mkdir(const char *path, mode_t mode);
int __real_chmod(const char *path, mode_t mode);
int __real_fchmod(int fd, mode_t mode);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_read(int fd, void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);

static bool refused(enum fault_site site)
{
    if (!fault_at(site))
        return false;
    errno = faults.kind == FAULT_NO_FILES ? EMFILE : faults.kind == FAULT_DISK_FULL ? ENOSPC : EIO;
    return true;
}

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode;
    va_list args;

    va_start(args, flags);
    mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return refused(SITE_OPEN) ? -1 : __real_open(path, flags, mode);
}

ssize_t __wrap_read(int fd, void *bytes, size_t n)
{
    return refused(SITE_READ) ? -1 : __real_read(fd, bytes, n);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    if (refused(SITE_WRITE))
        return faults.kind == FAULT_HALF_A_WRITE ? __real_write(fd, bytes, n / 2) : -1;
    written = true;
    return __real_write(fd, bytes, n);
}

int __wrap_fsync(int fd)
{
    struct stat st;

    if (refused(SITE_SYNC))
        return -1;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        renamed.pending = false;
    else
        written = false;
    return 0;
}

int __wrap_rename(const char *from, const char *to)
{
    if (refused(SITE_NAME))
        return -1;
    snprintf(renamed.from, sizeof(renamed.from), "%s", from);
    snprintf(renamed.to, sizeof(renamed.to), "%s", to);
    renamed.pending = true;
    renamed.synced = !written;
    return __real_rename(from, to);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return refused(SITE_NAME) ? -1 : __real_mkdir(path, mode);
}

int __wrap_chmod(const char *path, mode_t mode)
{
    return refused(SITE_NAME) ? -1 : __real_chmod(path, mode);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    return refused(SITE_NAME) ? -1 : __real_fchmod(fd, mode);
}

/* --- SQLite's memory -------------------------------------------------------------------------- */

/* Blocks of 2^n bytes that are kept for the next one who asks: a sanitizer's allocator would take
 * most of the time of a run, and SQLite counts its own. */
enum { LEAST_BITS = 5, MOST_BITS = 28 };

union block {
    struct {
        unsigned bits;
        union block *next;
    } head;
    long double aligned;
};

static union block *spare[MOST_BITS + 1];

static void *sqlite_malloc(int size)
{
    unsigned bits = LEAST_BITS;
    union block *block;

    if (fault_at(SITE_SQLITE_ALLOCATE))
        return NULL;
    while (((size_t)1 << bits) < (size_t)size)
        bits++;
    if (bits > MOST_BITS)
        return NULL;
    block = spare[bits];
    if (block)
        spare[bits] = block->head.next;
    else
        block = __real_malloc(sizeof(*block) + ((size_t)1 << bits));
    if (!block)
        return NULL;
    block->head.bits = bits;
    return block + 1;
}

static void sqlite_free(void *memory)
{
    union block *block = (union block *)memory - 1;

    if (!memory)
        return;
    block->head.next = spare[block->head.bits];
    spare[block->head.bits] = block;
}

static int sqlite_size(void *memory)
{
    return memory ? 1 << ((union block *)memory - 1)->head.bits : 0;
}

static void *sqlite_realloc(void *memory, int size)
{
    void *larger = sqlite_malloc(size);

    if (larger) {
        int known = sqlite_size(memory);

        memcpy(larger, memory, (size_t)(known < size ? known : size));
        sqlite_free(memory);
    }
    return larger;
}

static int sqlite_round_up(int size)
{
    unsigned bits = LEAST_BITS;

    while (bits < MOST_BITS && (1 << bits) < size)
        bits++;
    return 1 << bits;
}

static int sqlite_memory_init(void *data)
{
    (void)data;
    return SQLITE_OK;
}

static void sqlite_memory_shutdown(void *data)
{
    (void)data;
}

void faults_install(void)
{
    static const sqlite3_mem_methods methods = {
        sqlite_malloc,   sqlite_free,        sqlite_realloc,         sqlite_size,
        sqlite_round_up, sqlite_memory_init, sqlite_memory_shutdown, NULL,
    };

    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK)
        abort();
    vfs_install();
}

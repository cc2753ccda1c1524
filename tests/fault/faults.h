/* Trouble on order: the Nth operation of a kind fails, and everything that the program asks of the
 * disk and of memory passes by here. Files are reached through an SQLite VFS (vfs.c) and through
 * the libc calls that the linker wraps (faults.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum fault_site {
    SITE_OPEN = 1 << 0,
    SITE_READ = 1 << 1,
    SITE_WRITE = 1 << 2,
    SITE_TRUNCATE = 1 << 3,
    SITE_SYNC = 1 << 4,
    SITE_SHARE = 1 << 5, /* the WAL's shared memory */
    SITE_LOCK = 1 << 6,
    SITE_NAME = 1 << 7, /* rename, mkdir, chmod */
    SITE_SQLITE_ALLOCATE = 1 << 8,
    SITE_COMMITTED = 1 << 9, /* just after a sync */
};

enum fault_kind {
    FAULT_NONE,
    FAULT_DISK_FULL,    /* ENOSPC */
    FAULT_HALF_A_WRITE, /* EIO with half of the bytes written */
    FAULT_IO,           /* EIO */
    FAULT_NO_FILES,     /* EMFILE */
    FAULT_BUSY,         /* another holds the lock */
    FAULT_MEMORY,
    FAULT_SQLITE_MEMORY,
    FAULT_KILL,       /* the process ends there */
    FAULT_KILL_AFTER, /* and there, behind a commit */
    FAULT_POWER,      /* the machine does: see power_cut() */
};

/* What a child process that was killed exits with. */
enum { FAULT_EXIT = 77 };

/* Replaces SQLite's VFS and allocator. Once, before SQLite is used. */
void faults_install(void);

/* From now on: the `nth` operation (from 1) that `kind` concerns fails, and if `lasting` all
 * further ones until faults_heal(). */
void faults_arm(enum fault_kind kind, long nth, bool lasting);
/* FAULT_MEMORY: the `call`th allocation by the `nth` place of the program that asks for any. */
void faults_arm_caller(long nth, long call, bool lasting);
/* How many such places were seen. */
long faults_callers(void);
void faults_heal(void);
/* Between the two, what happens is not the program's doing. They nest. */
void faults_pause(void);
void faults_resume(void);

/* Something has failed; and may still. */
bool faults_fired(void);
bool faults_striking(void);
/* The power is off: nothing reaches the disk any more. */
bool faults_dead(void);

/* Asked at each site: it is to fail. */
bool fault_at(enum fault_site site);
bool fault_of_caller(const void *address);
enum fault_kind fault_kind(void);
const char *fault_name(enum fault_kind kind);

/* Puts on disk what may be left there of the files of `directory` when the power went: everything
 * that was synced, and of what was written since, what `variant` and `seed` say. */
enum power_variant {
    POWER_NOTHING, /* only what was synced */
    POWER_EVERYTHING,
    POWER_LEDGER_ONLY, /* all of the ledger's, nothing of the queue's */
    POWER_QUEUE_ONLY,
    POWER_PREFIX,  /* up to some write, which is torn */
    POWER_SECTORS, /* any sectors */
    POWER_VARIANTS,
};
void power_cut(const char *directory, enum power_variant variant, unsigned seed);

/* The parts of the injector: vfs.c tells of files, faults.c of names. */
void vfs_install(void);
void vfs_power_cut(enum power_variant variant, unsigned *seed);
void vfs_forget(void);
/* 0 .. n - 1 */
unsigned fault_random(unsigned *seed, unsigned n);

/* SQLite's own VFS with trouble in front of it. Sync is not passed on: what a power cut leaves is
 * made here, from what was written since the last sync. */
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults.h"

enum { MAX_FILES = 16, SECTOR = 512 };

/* Bytes at a place, or the new size. */
struct change {
    bool is_size;
    size_t at, n;
    unsigned char *bytes;
};

/* A file, as it surely is on disk, and what was done to it since. */
struct image {
    char path[PATH_MAX];
    unsigned char *bytes;
    size_t size, room;
    struct change *changes;
    size_t n_changes, allocated;
};

struct file {
    sqlite3_file base;
    struct image *image; /* NULL unless the power will be cut */
    sqlite3_file *real;
};

static sqlite3_vfs *real_vfs, our_vfs;
static struct image images[MAX_FILES];
static size_t n_images;

/* --- what is on disk -------------------------------------------------------------------------- */

static void *must(void *block)
{
    if (!block)
        abort();
    return block;
}

static void forget_changes(struct image *image)
{
    for (size_t i = 0; i < image->n_changes; i++)
        free(image->changes[i].bytes);
    image->n_changes = 0;
}

void vfs_forget(void)
{
    while (n_images > 0) {
        struct image *image = &images[--n_images];

        forget_changes(image);
        free(image->changes);
        free(image->bytes);
        *image = (struct image){0};
    }
}

static void resize(struct image *image, size_t size)
{
    if (size >= image->room) {
        image->room = 2 * size + 4096;
        image->bytes = must(realloc(image->bytes, image->room));
    }
    if (size > image->size)
        memset(image->bytes + image->size, 0, size - image->size);
    image->size = size;
}

static void put(struct image *image, size_t at, const unsigned char *bytes, size_t n)
{
    if (at + n > image->size)
        resize(image, at + n);
    memcpy(image->bytes + at, bytes, n);
}

static struct image *image_of(const char *path)
{
    struct image *image;
    FILE *file;

    for (size_t i = 0; i < n_images; i++)
        if (strcmp(images[i].path, path) == 0)
            return &images[i];
    if (n_images == MAX_FILES)
        abort();
    image = &images[n_images++];
    snprintf(image->path, sizeof(image->path), "%s", path);
    file = fopen(path, "rb");
    if (file) {
        fseek(file, 0, SEEK_END);
        resize(image, (size_t)ftell(file));
        rewind(file);
        if (fread(image->bytes, 1, image->size, file) != image->size)
            abort();
        fclose(file);
    }
    return image;
}

static void note(struct image *image, bool is_size, size_t at, const void *bytes, size_t n)
{
    struct change *change;

    if (!image)
        return;
    if (image->n_changes == image->allocated) {
        image->allocated = 2 * image->allocated + 64;
        image->changes = must(realloc(image->changes, image->allocated * sizeof(*image->changes)));
    }
    change = &image->changes[image->n_changes++];
    *change = (struct change){.is_size = is_size, .at = at, .n = n};
    if (n > 0)
        change->bytes = memcpy(must(malloc(n)), bytes, n);
}

static void apply(struct image *image, const struct change *change)
{
    if (change->is_size)
        resize(image, change->at);
    else
        put(image, change->at, change->bytes, change->n);
}

static void settle(struct image *image)
{
    if (!image)
        return;
    for (size_t i = 0; i < image->n_changes; i++)
        apply(image, &image->changes[i]);
    forget_changes(image);
}

static void apply_sectors(struct image *image, const struct change *change, unsigned *seed)
{
    if (change->is_size) {
        if (fault_random(seed, 2))
            apply(image, change);
        return;
    }
    for (size_t at = 0; at < change->n; at += SECTOR)
        if (fault_random(seed, 2))
            put(image, change->at + at, change->bytes + at,
                change->n - at < SECTOR ? change->n - at : SECTOR);
}

static void apply_some(struct image *image, enum power_variant variant, unsigned *seed)
{
    bool queue = strstr(image->path, "queue.db") != NULL;
    size_t kept = image->n_changes;

    if (variant == POWER_NOTHING || (variant == POWER_LEDGER_ONLY && queue) ||
        (variant == POWER_QUEUE_ONLY && !queue))
        kept = 0;
    else if (variant == POWER_PREFIX)
        kept = fault_random(seed, (unsigned)kept + 1);
    for (size_t i = 0; i < kept; i++)
        if (variant == POWER_SECTORS || (variant == POWER_PREFIX && i == kept - 1))
            apply_sectors(image, &image->changes[i], seed);
        else
            apply(image, &image->changes[i]);
}

void vfs_power_cut(enum power_variant variant, unsigned *seed)
{
    for (size_t i = 0; i < n_images; i++) {
        FILE *file;

        if (access(images[i].path, F_OK) < 0)
            continue;
        apply_some(&images[i], variant, seed);
        file = must(fopen(images[i].path, "wb"));
        if (images[i].size > 0 &&
            fwrite(images[i].bytes, 1, images[i].size, file) != images[i].size)
            abort();
        fclose(file);
    }
    vfs_forget();
}

/* --- files ------------------------------------------------------------------------------------ */

static struct file *of(sqlite3_file *file)
{
    return (struct file *)file;
}

static sqlite3_file *real(sqlite3_file *file)
{
    return of(file)->real;
}

static int file_close(sqlite3_file *file)
{
    return real(file)->pMethods->xClose(real(file));
}

static int file_read(sqlite3_file *file, void *bytes, int n, sqlite3_int64 at)
{
    if (fault_at(SITE_READ))
        return SQLITE_IOERR_READ;
    return real(file)->pMethods->xRead(real(file), bytes, n, at);
}

static int file_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at)
{
    int rc = SQLITE_OK;

    if (fault_at(SITE_WRITE)) {
        if (fault_kind() == FAULT_HALF_A_WRITE)
            real(file)->pMethods->xWrite(real(file), bytes, n / 2, at);
        return fault_kind() == FAULT_DISK_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    rc = real(file)->pMethods->xWrite(real(file), bytes, n, at);
    note(of(file)->image, false, (size_t)at, bytes, (size_t)n);
    return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (fault_at(SITE_TRUNCATE))
        return SQLITE_IOERR_TRUNCATE;
    note(of(file)->image, true, (size_t)size, NULL, 0);
    return real(file)->pMethods->xTruncate(real(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    if (fault_at(SITE_SYNC))
        return SQLITE_IOERR_FSYNC;
    settle(of(file)->image);
    return fault_at(SITE_COMMITTED) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    return fault_at(SITE_READ) ? SQLITE_IOERR_FSTAT
                               : real(file)->pMethods->xFileSize(real(file), ret);
}

static int file_lock(sqlite3_file *file, int level)
{
    return fault_at(SITE_LOCK) ? SQLITE_BUSY : real(file)->pMethods->xLock(real(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *ret)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), ret);
}

static int file_control(sqlite3_file *file, int op, void *argument)
{
    return real(file)->pMethods->xFileControl(real(file), op, argument);
}

static int file_sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
    return fault_at(SITE_SHARE)
               ? SQLITE_IOERR_SHMMAP
               : real(file)->pMethods->xShmMap(real(file), region, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) && (flags & SQLITE_SHM_EXCLUSIVE) && fault_at(SITE_LOCK))
        return SQLITE_BUSY;
    return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static int file_shm_unmap(sqlite3_file *file, int delete)
{
    return real(file)->pMethods->xShmUnmap(real(file), delete);
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

/* --- the file system -------------------------------------------------------------------------- */

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    int rc;

    (void)vfs;
    file->pMethods = NULL;
    if (fault_at(SITE_OPEN))
        return SQLITE_CANTOPEN;
    of(file)->real = (sqlite3_file *)(of(file) + 1);
    of(file)->image = path && fault_kind() == FAULT_POWER ? image_of(path) : NULL;
    rc = real_vfs->xOpen(real_vfs, path, of(file)->real, flags, ret_flags);
    if (rc == SQLITE_OK)
        file->pMethods = &file_methods;
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    if (fault_at(SITE_NAME))
        return SQLITE_IOERR_DELETE;
    if (fault_kind() == FAULT_POWER) {
        struct image *image = image_of(path);

        forget_changes(image);
        image->size = 0;
    }
    return real_vfs->xDelete(real_vfs, path, sync_directory);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return microseconds;
}

void vfs_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    our_vfs = *real_vfs;
    our_vfs.zName = "faults";
    our_vfs.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
    our_vfs.xOpen = vfs_open;
    our_vfs.xDelete = vfs_delete;
    our_vfs.xSleep = vfs_sleep;
    if (sqlite3_vfs_register(&our_vfs, 1) != SQLITE_OK)
        abort();
}

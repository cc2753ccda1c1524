/* A main() for a fuzz target that feeds it files: replay PATH…, each a file or a directory of
 * files. So the corpus, and every crash that was ever found, is a test like any other. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned count;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0, n;

    if (!file) {
        perror(path);
        return -1;
    }
    do {
        uint8_t *larger = realloc(data, size + 65536);

        REQUIRE(larger);
        data = larger;
        n = fread(data + size, 1, 65536, file);
        size += n;
    } while (n > 0);
    fclose(file);
    /* Exactly as large as the input, so that a sanitizer sees a read beyond it. */
    if (size > 0)
        data = realloc(data, size);
    REQUIRE(data);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    count++;
    return 0;
}

static int replay(const char *path)
{
    struct dirent *entry;
    struct stat st;
    DIR *directory;
    int r = 0;

    if (stat(path, &st) < 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        return replay_file(path);
    directory = opendir(path);
    if (!directory) {
        perror(path);
        return -1;
    }
    while (r == 0 && (entry = readdir(directory))) {
        char *inner;

        if (entry->d_name[0] == '.')
            continue;
        REQUIRE(asprintf(&inner, "%s/%s", path, entry->d_name) > 0);
        r = replay(inner);
        free(inner);
    }
    closedir(directory);
    return r;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]) < 0)
            return EXIT_FAILURE;
    printf("%u inputs\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

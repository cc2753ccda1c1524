/* Tries what the service must not be able to do, and what it must. Run as the unit's main program
 * with the unit's sandbox around it, and once more without, to see that the attempts are real.
 *
 *   probe STATE_DIRECTORY PORT
 *
 * Prints a line an attempt: "denied NAME", "ALLOWED NAME", "works NAME" or "BROKEN NAME". */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <locale.h>
#include <net/ethernet.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *state;
static const char *port;

/* --- what must be denied: true if it could be done ------------------------------------------- */

static bool creates(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    if (fd < 0)
        return false;
    close(fd);
    unlink(path);
    return true;
}

static bool write_etc(void)
{
    return creates("/etc/probe");
}

static bool write_usr(void)
{
    return creates("/usr/local/probe");
}

static bool write_var(void)
{
    return creates("/var/lib/probe");
}

static bool write_configuration(void)
{
    return open("/etc/reconciled/reconciled.conf", O_WRONLY) >= 0;
}

static bool write_sysctl(void)
{
    return open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0 ||
           open("/proc/sys/vm/swappiness", O_WRONLY) >= 0;
}

static bool write_cgroup(void)
{
    return mkdir("/sys/fs/cgroup/probe", 0700) == 0 && rmdir("/sys/fs/cgroup/probe") == 0;
}

static bool see_home(void)
{
    return access("/home/shop/private", F_OK) == 0;
}

static bool see_tmp(void)
{
    return access("/tmp/of-another", F_OK) == 0;
}

static bool see_credstore(void)
{
    return access("/etc/credstore/reconciled.merchant_api_key", F_OK) == 0;
}

static bool see_other_processes(void)
{
    return access("/proc/1/status", F_OK) == 0;
}

static bool see_kernel_log(void)
{
    return open("/dev/kmsg", O_RDONLY) >= 0 || open("/proc/kmsg", O_RDONLY) >= 0 ||
           access("/proc/version", F_OK) == 0;
}

static bool trace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool signal_init(void)
{
    return kill(1, 0) == 0;
}

static bool user_namespace(void)
{
    return unshare(CLONE_NEWUSER) == 0;
}

static bool mount_namespace(void)
{
    return unshare(CLONE_NEWNS) == 0;
}

static bool network_namespace(void)
{
    return unshare(CLONE_NEWNET) == 0;
}

static bool mounts(void)
{
    return mount("none", "/mnt", "tmpfs", 0, NULL) == 0 && umount("/mnt") == 0;
}

static bool roots(void)
{
    return chroot("/") == 0;
}

static bool packet_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) >= 0;
}

static bool netlink_socket(void)
{
    return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) >= 0;
}

static bool raw_socket(void)
{
    return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0;
}

static bool low_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(99)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static bool writable_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) != MAP_FAILED;
}

static bool data_made_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool program_in(const char *directory)
{
    static const char script[] = "#!/bin/sh\nexit 0\n";
    char path[512];
    int fd, status;
    pid_t pid;

    snprintf(path, sizeof(path), "%s/probe.sh", directory);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    if (fd < 0 || write(fd, script, sizeof(script) - 1) < 0)
        return false;
    close(fd);
    pid = fork();
    if (pid == 0) {
        execl(path, path, (char *)NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    unlink(path);
    return status == 0;
}

static bool program_in_state(void)
{
    return program_in(state);
}

static bool program_in_tmp(void)
{
    return program_in("/tmp");
}

static bool set_user_id_bit(void)
{
    char path[512];
    bool done;

    snprintf(path, sizeof(path), "%s/probe.bit", state);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    done = chmod(path, 04700) == 0;
    unlink(path);
    return done;
}

static bool other_user(void)
{
    return setuid(1) == 0 || syscall(SYS_setresuid, 1, 1, 1) == 0;
}

static bool realtime(void)
{
    struct sched_param parameters = {.sched_priority = 1};

    return sched_setscheduler(0, SCHED_FIFO, &parameters) == 0;
}

static bool more_priority(void)
{
    return setpriority(PRIO_PROCESS, 0, -5) == 0;
}

static bool core_dump(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    return setrlimit(RLIMIT_CORE, &limit) == 0;
}

static bool set_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return clock_settime(CLOCK_REALTIME, &now) == 0;
}

static bool host_name(void)
{
    char name[65];

    gethostname(name, sizeof(name));
    return sethostname(name, strlen(name)) == 0;
}

static bool bpf_program(void)
{
    union bpf_attr attributes = {0};

    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = 4;
    attributes.value_size = 4;
    attributes.max_entries = 1;
    return syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes)) >= 0;
}

/* --- what must work ----------------------------------------------------------------------------
 */

static bool writes_state(void)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/probe", state);
    return creates(path);
}

static bool writes_queue(void)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/queue/probe", state);
    return creates(path);
}

static bool connects_to(const char *name)
{
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_family = AF_INET, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found;
    int fd;

    if (getaddrinfo(name, port, &hints, &found) != 0)
        return false;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, found->ai_addr, found->ai_addrlen) == 0;
}

static bool connects(void)
{
    return connects_to("127.0.0.1");
}

static bool resolves_names(void)
{
    return connects_to("pay.example.test");
}

static bool reads_locale(void)
{
    return setlocale(LC_ALL, "C.UTF-8") && MB_CUR_MAX > 1;
}

static bool reads_certificates(void)
{
    return access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0;
}

static bool locks_memory(void)
{
    size_t size = 4 << 20;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED && mlock(memory, size) == 0;
}

static void *nothing(void *userdata)
{
    return userdata;
}

static bool starts_threads(void)
{
    pthread_t thread;

    return pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

static bool reads_credential(void)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char path[512];

    snprintf(path, sizeof(path), "%s/merchant_api_key", directory ? directory : "/nowhere");
    return access(path, R_OK) == 0;
}

#define ATTEMPT(name)                                                                              \
    {                                                                                              \
#name, name                                                                                \
    }

struct attempt {
    const char *name;
    bool (*run)(void);
};

static const struct attempt forbidden[] = {
    ATTEMPT(write_etc),        ATTEMPT(write_usr),
    ATTEMPT(write_var),        ATTEMPT(write_configuration),
    ATTEMPT(write_sysctl),     ATTEMPT(write_cgroup),
    ATTEMPT(see_home),         ATTEMPT(see_tmp),
    ATTEMPT(see_credstore),    ATTEMPT(see_other_processes),
    ATTEMPT(see_kernel_log),   ATTEMPT(trace),
    ATTEMPT(signal_init),      ATTEMPT(user_namespace),
    ATTEMPT(mount_namespace),  ATTEMPT(network_namespace),
    ATTEMPT(mounts),           ATTEMPT(roots),
    ATTEMPT(packet_socket),    ATTEMPT(netlink_socket),
    ATTEMPT(raw_socket),       ATTEMPT(low_port),
    ATTEMPT(writable_code),    ATTEMPT(data_made_code),
    ATTEMPT(program_in_state), ATTEMPT(program_in_tmp),
    ATTEMPT(set_user_id_bit),  ATTEMPT(other_user),
    ATTEMPT(realtime),         ATTEMPT(more_priority),
    ATTEMPT(core_dump),        ATTEMPT(set_clock),
    ATTEMPT(host_name),        ATTEMPT(bpf_program),
};

static const struct attempt needed[] = {
    ATTEMPT(writes_state),   ATTEMPT(writes_queue),   ATTEMPT(connects),
    ATTEMPT(resolves_names), ATTEMPT(reads_locale),   ATTEMPT(reads_certificates),
    ATTEMPT(locks_memory),   ATTEMPT(starts_threads), ATTEMPT(reads_credential),
};

/* In a process of its own, because an attempt may change or end it. */
static bool can(const struct attempt *attempt)
{
    int status = 1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(attempt->run() ? 0 : 1);
    waitpid(pid, &status, 0);
    return status == 0;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    state = argv[1];
    port = argv[2];
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++)
        printf("%s %s\n", can(&forbidden[i]) ? "ALLOWED" : "denied", forbidden[i].name);
    for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
        printf("%s %s\n", can(&needed[i]) ? "works" : "BROKEN", needed[i].name);
    return 0;
}

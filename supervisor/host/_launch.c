/* The launch helper: what the supervisor's fork executes, and what executes the command.
 *
 *     _launch [-e FD] [OPTION ...] [-d SIGNAL -p PARENT] [-f FD] [-v NAME=VALUE ...] [-w NAME] -- PATH ARGV0 [ARG ...]
 *
 * The options take effect in the order in which they are given.
 *
 *   -d SIGNAL   ask the kernel for SIGNAL when the thread that spawned us dies; after -U, which would take it back
 *   -p PARENT   the process id of the supervisor: end before the command if it is gone already
 *   -f FD       become a process group of our own and the foreground one of the terminal FD
 *   -e FD       report to FD, which is closed when the command runs, in native ints: a failure as OPTION << 16 | errno, OPTION being
 *               0 for the execution itself; the command's process, where -C made a new one, as its negative pid
 *   -v N=V      set a variable of the command's environment, in place of any of that name; at most 8
 *   -w NAME     set a variable to the process id that the command will have; counts among these
 *
 *   -C DIR      run the command in the cgroup (version 2) DIR: a new process is cloned into it, a child of our parent's, and we end;
 *               where the kernel cannot do that, we go there ourselves, which waits for a grace period of its
 *   -s 1        lead a session; -s 0: lead a process group
 *   -g FILE     go to a cgroup by writing 0 to its FILE; through version 1's tasks that waits for nothing
 *   -o ADJ      the out-of-memory score adjustment; -O N: ours plus N, if that can be had
 *   -n N        how many descriptors may be open; -N N: the soft limit of that alone, if it is the lower one
 *   -c N        the size of a core in bytes, -1 for any
 *   -i NICE     the niceness; -u MASK: the file mode creation mask
 *   -G GID      run as this group and drop all others; -U UID: run as this user, and gain no privileges any more
 *
 * It runs no interpreter, links nothing and allocates nothing: it costs one execve more. With -DHOSTED it is built on libc.
 */

#ifdef HOSTED

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

extern char **environ;

static void death_signal(int number)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, number, 0, 0, 0);
#else
    (void)number;
#endif
}

static int parent(void) { return getppid(); }

static int own_pid(void) { return getpid(); }

static void foreground(int fd)
{
    sigset_t ttou, before;
    setpgid(0, 0);
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &before);
    tcsetpgrp(fd, getpid());
    sigprocmask(SIG_SETMASK, &before, 0);
}

static void close_on_exec(int fd) { fcntl(fd, F_SETFD, FD_CLOEXEC); }

static int execute(const char *path, char **argv, char **envp)
{
    execve(path, argv, envp);
    return errno;
}

static void report(int fd, int error) { (void)!write(fd, &error, sizeof error); }

static void leave(int code) { _exit(code); }

static int failed(long result) { return result < 0 ? errno : 0; }

static int open_file(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int write_text(int fd, const char *text, int size) { return failed(write(fd, text, size)); }

static int read_text(int fd, char *text, int size) { return (int)read(fd, text, size); }

static void shut(int fd) { close(fd); }

static void lead(int session) { (void)!(session ? setsid() : setpgid(0, 0)); }

static int limit(int resource, long long value)
{
    struct rlimit both = {value < 0 ? RLIM_INFINITY : (rlim_t)value, value < 0 ? RLIM_INFINITY : (rlim_t)value};
    return failed(setrlimit(resource, &both));
}

static void soft_limit(int resource, long long value)
{
    struct rlimit both;
    if (getrlimit(resource, &both) == 0 && (rlim_t)value < both.rlim_cur) {
        both.rlim_cur = (rlim_t)value;
        setrlimit(resource, &both);
    }
}

static int niceness(int value) { return failed(setpriority(PRIO_PROCESS, 0, value)); }

static void mask(int bits) { umask((mode_t)bits); }

static int become_group(long long id) { return setgroups(0, 0) < 0 || setgid((gid_t)id) < 0 ? errno : 0; }

static int become_user(long long id)
{
#ifdef __linux__
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
#endif
    return failed(setuid((uid_t)id));
}

static long clone_process(void *arguments, long size)
{
#if defined(__linux__) && defined(SYS_clone3)
    return syscall(SYS_clone3, arguments, size);
#else
    (void)arguments, (void)size;
    return -1;
#endif
}

#ifndef O_PATH
#define O_PATH 0
#endif

#else /* freestanding */

#if defined(__x86_64__)

enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_rt_sigprocmask = 14, SYS_ioctl = 16, SYS_getpid = 39, SYS_execve = 59, SYS_fcntl = 72,
       SYS_umask = 95, SYS_setpgid = 109, SYS_getppid = 110, SYS_setsid = 112, SYS_setgroups = 116, SYS_setresuid = 117, SYS_setresgid = 119,
       SYS_setpriority = 141, SYS_prctl = 157, SYS_exit_group = 231, SYS_openat = 257, SYS_prlimit64 = 302, SYS_clone3 = 435 };

static long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n\thlt\n");

#elif defined(__aarch64__)

enum { SYS_fcntl = 25, SYS_ioctl = 29, SYS_openat = 56, SYS_close = 57, SYS_read = 63, SYS_write = 64, SYS_exit_group = 94,
       SYS_rt_sigprocmask = 135, SYS_setpriority = 140, SYS_setresuid = 147, SYS_setresgid = 149, SYS_setpgid = 154, SYS_setsid = 157,
       SYS_setgroups = 159, SYS_umask = 166, SYS_prctl = 167, SYS_getpid = 172, SYS_getppid = 173, SYS_execve = 221, SYS_prlimit64 = 261,
       SYS_clone3 = 435 };

static long call(long number, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl begin\n\tbrk #0\n");

#else
#error "no freestanding build for this machine: use -DHOSTED"
#endif

enum { PR_SET_PDEATHSIG = 1, F_SETFD = 2, FD_CLOEXEC = 1, TIOCSPGRP = 0x5410, SIG_BLOCK = 0, SIG_SETMASK = 2, TTOU = 22, ENOENT = 2,
       PR_SET_NO_NEW_PRIVS = 38, AT_FDCWD = -100, O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CLOEXEC = 02000000, O_PATH = 010000000,
       RLIMIT_CORE = 4, RLIMIT_NOFILE = 7 };

static void death_signal(int number) { call(SYS_prctl, PR_SET_PDEATHSIG, number, 0, 0, 0); }

static int parent(void) { return (int)call(SYS_getppid, 0, 0, 0, 0, 0); }

static int own_pid(void) { return (int)call(SYS_getpid, 0, 0, 0, 0, 0); }

static void foreground(int fd)
{
    unsigned long ttou = 1UL << (TTOU - 1), before = 0;
    int self = (int)call(SYS_getpid, 0, 0, 0, 0, 0);
    call(SYS_setpgid, 0, 0, 0, 0, 0);
    call(SYS_rt_sigprocmask, SIG_BLOCK, (long)&ttou, (long)&before, sizeof ttou, 0);
    call(SYS_ioctl, fd, TIOCSPGRP, (long)&self, 0, 0);
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before, 0);
}

static void close_on_exec(int fd) { call(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC, 0, 0); }

static int execute(const char *path, char **argv, char **envp) { return (int)-call(SYS_execve, (long)path, (long)argv, (long)envp, 0, 0); }

static void report(int fd, int error) { call(SYS_write, fd, (long)&error, sizeof error, 0, 0); }

static void leave(int code)
{
    for (;;)
        call(SYS_exit_group, code, 0, 0, 0, 0);
}

static int failed(long result) { return result < 0 ? (int)-result : 0; }

static int open_file(const char *path, int flags) { return (int)call(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, 0, 0); }

static int write_text(int fd, const char *text, int size) { return failed(call(SYS_write, fd, (long)text, size, 0, 0)); }

static int read_text(int fd, char *text, int size) { return (int)call(SYS_read, fd, (long)text, size, 0, 0); }

static void shut(int fd) { call(SYS_close, fd, 0, 0, 0, 0); }

static void lead(int session) { call(session ? SYS_setsid : SYS_setpgid, 0, 0, 0, 0, 0); }

static int limit(int resource, long long value)
{
    unsigned long both[2] = {(unsigned long)value, (unsigned long)value}; /* -1 is the kernel's infinity */
    return failed(call(SYS_prlimit64, 0, resource, (long)both, 0, 0));
}

static void soft_limit(int resource, long long value)
{
    unsigned long both[2];
    if (call(SYS_prlimit64, 0, resource, 0, (long)both, 0) == 0 && (unsigned long)value < both[0]) {
        both[0] = (unsigned long)value;
        call(SYS_prlimit64, 0, resource, (long)both, 0, 0);
    }
}

static int niceness(int value) { return failed(call(SYS_setpriority, 0, 0, value, 0, 0)); }

static void mask(int bits) { call(SYS_umask, bits, 0, 0, 0, 0); }

static int become_group(long long id)
{
    int error = failed(call(SYS_setgroups, 0, 0, 0, 0, 0));
    return error ? error : failed(call(SYS_setresgid, (long)id, (long)id, (long)id, 0, 0));
}

static int become_user(long long id)
{
    int error = failed(call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    return error ? error : failed(call(SYS_setresuid, (long)id, (long)id, (long)id, 0, 0));
}

static long clone_process(void *arguments, long size) { return call(SYS_clone3, (long)arguments, size, 0, 0, 0); }

#endif

static long long number(const char *text)
{
    long long value = 0;
    int negative = *text == '-';
    for (text += negative; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (*text - '0');
    return negative ? -value : value;
}

static int write_file(const char *path, const char *text, int size)
{
    int fd = open_file(path, O_WRONLY), error;
    if (fd < 0)
        return -fd;
    error = write_text(fd, text, size);
    shut(fd);
    return error;
}

static const char ADJUSTMENT[] = "/proc/self/oom_score_adj";

static int adjust(const char *value)
{
    int size = 0;
    while (value[size])
        size++;
    return write_file(ADJUSTMENT, value, size);
}

/* ours, which we have inherited, plus some; never less than ours, and no more than there is */
static void raise_adjustment(int more)
{
    char text[8] = "";
    int fd = open_file(ADJUSTMENT, O_RDWR), digits = 0, size, value;
    if (fd < 0)
        return;
    size = read_text(fd, text, sizeof text - 1);
    value = (int)number(size > 0 ? text : "") + more;
    if (size > 0 && more > 0) {
        char made[8], *end = made + sizeof made;
        int left = value > 1000 ? 1000 : value < 0 ? -value : value;
        do
            *(end - ++digits) = (char)('0' + left % 10);
        while (left /= 10);
        if (value < 0)
            *(end - ++digits) = '-';
        write_text(fd, end - digits, digits);
    }
    shut(fd);
}

/* the arguments of clone3 up to the cgroup, as of Linux 5.7 */
struct clone_arguments {
    unsigned long long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static const unsigned long long CLONE_TO_OUR_PARENT = 0x00008000ULL, CLONE_TO_CGROUP = 0x200000000ULL;

/* Be in a cgroup: 0 when we are, else errno. Cloned into it, and it is the clone that returns; our parent becomes the clone's, and is told. */
static int enter(const char *directory, int error_fd)
{
    struct clone_arguments arguments = {0};
    int fd = open_file(directory, O_PATH), error;
    char path[4096];
    const char *name = "/cgroup.procs";
    int size = 0;
    long pid;
    if (fd < 0)
        return -fd;
    if (error_fd >= 0) {
        arguments.flags = CLONE_TO_OUR_PARENT | CLONE_TO_CGROUP;
        arguments.cgroup = (unsigned long long)fd;
        /* memory is copied: nothing is in it, and a clone that shared it would run on our stack */
        pid = clone_process(&arguments, sizeof arguments);
        if (pid > 0) {
            report(error_fd, (int)-pid);
            leave(0);
        }
        if (pid == 0) {
            shut(fd);
            return 0;
        }
    }
    shut(fd);
    /* an old kernel, or a sandbox that forbids the call; what else is wrong is found out again */
    for (; directory[size] && size < (int)sizeof path - 16; size++)
        path[size] = directory[size];
    for (; *name; name++)
        path[size++] = *name;
    path[size] = 0;
    error = write_file(path, "0", 1);
    return error;
}

/* whether an entry of the environment is of the variable that the assignment sets */
static int same_name(const char *entry, const char *assignment)
{
    for (; *assignment != '='; entry++, assignment++)
        if (*entry != *assignment)
            return 0;
    return *entry == '=';
}

enum { VARIABLES = 8, LONGEST_NAME = 48 };

/* NAME=PID in the buffer, which has room for a name of LONGEST_NAME and for any pid; null for a longer name */
static char *pid_variable(const char *name, char *buffer)
{
    char digits[12];
    int length = 0, count = 0, pid = own_pid();

    for (; *name; name++) {
        if (length == LONGEST_NAME)
            return 0;
        buffer[length++] = *name;
    }
    buffer[length++] = '=';
    for (; pid; pid /= 10)
        digits[count++] = (char)('0' + pid % 10);
    while (count)
        buffer[length++] = digits[--count];
    buffer[length] = 0;
    return buffer;
}

static int replaced(const char *entry, char **variables, int count)
{
    while (count-- > 0)
        if (same_name(entry, variables[count]))
            return 1;
    return 0;
}

static void run(int argc, char **argv, char **envp)
{
    int index = 1, expected_parent = 0, error_fd = -1, error = 0, count = 0, size = 0, kept = 0;
    char *variables[VARIABLES], pid_buffer[LONGEST_NAME + 16];

    for (; index + 1 < argc && argv[index][0] == '-' && argv[index][1] != '-'; index += 2) {
        int value = (int)number(argv[index + 1]), option = argv[index][1];
        const char *text = argv[index + 1];
        switch (option) {
        case 'v':
            while (*text && *text != '=')
                text++;
            if (count == VARIABLES || !*text)
                leave(125);
            variables[count++] = argv[index + 1];
            break;
        case 'w':
            if (count == VARIABLES || !(variables[count++] = pid_variable(text, pid_buffer)))
                leave(125);
            break;
        case 'd': death_signal(value); break;
        case 'p': expected_parent = value; break;
        case 'f': foreground(value); break;
        case 'e': error_fd = value; close_on_exec(value); break;
        case 'C': error = enter(text, error_fd); break;
        case 's': lead(value); break;
        case 'g': error = write_file(text, "0", 1); break;
        case 'o': error = adjust(text); break;
        case 'O': raise_adjustment(value); break;
        case 'n': error = limit(RLIMIT_NOFILE, number(text)); break;
        case 'N': soft_limit(RLIMIT_NOFILE, number(text)); break;
        case 'c': error = limit(RLIMIT_CORE, number(text)); break;
        case 'i': error = niceness(value); break;
        case 'u': mask(value); break;
        case 'G': error = become_group(number(text)); break;
        case 'U': error = become_user(number(text)); break;
        default: leave(125);
        }
        if (error) {
            if (error_fd >= 0)
                report(error_fd, option << 16 | error);
            leave(125);
        }
    }
    if (index + 2 >= argc)
        leave(125);
    /* a parent that died before the death signal was asked for will never cause one */
    if (expected_parent && parent() != expected_parent)
        leave(125);
    while (envp[size])
        size++;
    char *environment[size + count + 1];
    for (int entry = 0; entry < size; entry++)
        if (!replaced(envp[entry], variables, count))
            environment[kept++] = envp[entry];
    for (int entry = 0; entry < count; entry++)
        environment[kept++] = variables[entry];
    environment[kept] = 0;
    error = execute(argv[index + 1], argv + index + 2, environment);
    if (error_fd >= 0)
        report(error_fd, error);
    leave(error == ENOENT ? 127 : 126);
}

#ifdef HOSTED
int main(int argc, char **argv)
{
    run(argc, argv, environ);
    return 125;
}
#else
__attribute__((used, noreturn)) void begin(long *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    run(argc, argv, argv + argc + 1);
    for (;;)
        leave(125);
}
#endif

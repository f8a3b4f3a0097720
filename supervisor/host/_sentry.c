/* The sentry: waits beside the supervisor, and ends what that leaves behind when it is killed.
 *
 *     _sentry TABLE PIPE [LIFE]
 *
 *   TABLE   a descriptor of the file of trees that sentry.py keeps, in lines of 512 bytes
 *   PIPE    a pipe whose other end the supervisor has open
 *   LIFE    a pidfd of the supervisor; without one the end of the pipe is its death
 *
 * A pipe ends while its owner still dies: that is before whoever waits for the owner, a shell perhaps, can look at the terminal. But one
 * ends also when all descriptors are closed, and does not while a fork has it open.
 *
 * A line is "+ KEY=VALUE ..." for a tree or "T KEY=VALUE ..." for the terminal, padded with blanks; any other is free. The terminal's
 * last value goes to the end of its line and may hold blanks, no other does. The lines are read after the supervisor's death and not
 * before, so nobody waits for anybody while both live. Unknown keys are passed over.
 *
 * It runs no interpreter, links nothing and allocates nothing; what it needs for its work is touched when there is work. Linux only.
 * With -DHOSTED it is built on libc.
 */

typedef unsigned long long u64;

enum { BUFFER = 1 << 21, LINE = 512, PROCESSES = 1 << 17, TREES = 1 << 16, PATH = 320 };
enum { BOUND = 1000, STARTING = 250 }; /* milliseconds */

/* input, output, control and local flags, then the control characters, as Python's termios has them */
enum { FLAGS = 4, CHARACTERS = 19 };
struct modes { unsigned flag[FLAGS]; unsigned char character[CHARACTERS]; };

#ifdef HOSTED

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_send_signal 424
#define SYS_pidfd_open 434
#endif

static void leave(int code) { _exit(code); }
static int open_file(const char *path, int flags) { return open(path, flags | O_CLOEXEC); }
static void close_file(int fd) { close(fd); }
static long read_some(int fd, char *to, long size) { return read(fd, to, size); }
static void write_some(int fd, const char *from, long size) { (void)!write(fd, from, size); }
static long list_some(int fd, char *to, long size) { return syscall(SYS_getdents64, fd, to, size); }
static long size_of(int fd) { return lseek(fd, 0, SEEK_END); }
static int send_signal(int pid, int number) { return kill(pid, number) < 0 ? -errno : 0; }
static int self(void) { return getpid(); }
static int parent(void) { return getppid(); }
static int session(void) { return getsid(0); }

static int open_process(int pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

static int signal_opened(int fd, int number) { return (int)syscall(SYS_pidfd_send_signal, fd, number, 0, 0); }

static const char *map(int fd, long size)
{
    void *made = mmap(0, size, PROT_READ, MAP_SHARED, fd, 0);
    return made == MAP_FAILED ? 0 : made;
}

static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, 0);
}

/* 0 or 1: which of the two has something to say, or has hung up; -1 is no descriptor */
static int wait_for(int first, int second)
{
    struct pollfd waiting[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
    while (poll(waiting, 2, -1) <= 0)
        ;
    return !waiting[0].revents;
}

static void pause_for(int milliseconds) { poll(0, 0, milliseconds); }

static long milliseconds(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int front_of(int fd) { return tcgetpgrp(fd); }
static int put_in_front(int fd, int group) { return tcsetpgrp(fd, group); }
static void forget_input(int fd) { tcflush(fd, TCIFLUSH); }

static void set_modes(int fd, const struct modes *modes)
{
    struct termios now;
    if (tcgetattr(fd, &now) < 0)
        return;
    now.c_iflag = modes->flag[0];
    now.c_oflag = modes->flag[1];
    now.c_cflag = modes->flag[2];
    now.c_lflag = modes->flag[3];
    for (int index = 0; index < CHARACTERS && index < NCCS; index++)
        now.c_cc[index] = modes->character[index];
    tcsetattr(fd, TCSANOW, &now);
}

#else /* freestanding */

#if defined(__x86_64__)

enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_lseek = 8, SYS_mmap = 9, SYS_rt_sigprocmask = 14, SYS_ioctl = 16, SYS_getpid = 39,
       SYS_kill = 62, SYS_getppid = 110, SYS_getsid = 124, SYS_getdents64 = 217, SYS_clock_gettime = 228, SYS_exit_group = 231, SYS_openat = 257,
       SYS_ppoll = 271 };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n\thlt\n");

#elif defined(__aarch64__)

enum { SYS_ioctl = 29, SYS_openat = 56, SYS_close = 57, SYS_getdents64 = 61, SYS_lseek = 62, SYS_read = 63, SYS_write = 64, SYS_ppoll = 73,
       SYS_exit_group = 94, SYS_clock_gettime = 113, SYS_kill = 129, SYS_rt_sigprocmask = 135, SYS_getsid = 156, SYS_getpid = 172, SYS_getppid = 173,
       SYS_mmap = 222 };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl begin\n\tbrk #0\n");

#else
#error "no freestanding build for this machine: use -DHOSTED"
#endif

/* what both machines have alike */
enum { SYS_pidfd_send_signal = 424, SYS_pidfd_open = 434 };
enum { ESRCH = 3, SIGKILL = 9, SIGSTOP = 19, SIG_SETMASK = 2, AT_FDCWD = -100, SEEK_END = 2, PROT_READ = 1, MAP_SHARED = 1 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NOCTTY = 0400, O_NONBLOCK = 04000, O_CLOEXEC = 02000000 };
enum { POLLIN = 1, CLOCK_MONOTONIC = 1, TCIFLUSH = 0 };
enum { TCGETS = 0x5401, TCSETS = 0x5402, TCFLSH = 0x540B, TIOCGPGRP = 0x540F, TIOCSPGRP = 0x5410 };

struct moment { long seconds, nanoseconds; };

static void leave(int code)
{
    for (;;)
        call(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

static int open_file(const char *path, int flags) { return (int)call(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, 0, 0, 0); }
static void close_file(int fd) { call(SYS_close, fd, 0, 0, 0, 0, 0); }
static long read_some(int fd, char *to, long size) { return call(SYS_read, fd, (long)to, size, 0, 0, 0); }
static void write_some(int fd, const char *from, long size) { call(SYS_write, fd, (long)from, size, 0, 0, 0); }
static long list_some(int fd, char *to, long size) { return call(SYS_getdents64, fd, (long)to, size, 0, 0, 0); }
static long size_of(int fd) { return call(SYS_lseek, fd, 0, SEEK_END, 0, 0, 0); }
static int send_signal(int pid, int number) { return (int)call(SYS_kill, pid, number, 0, 0, 0, 0); }
static int open_process(int pid) { return (int)call(SYS_pidfd_open, pid, 0, 0, 0, 0, 0); }
static int signal_opened(int fd, int number) { return (int)call(SYS_pidfd_send_signal, fd, number, 0, 0, 0, 0); }
static int self(void) { return (int)call(SYS_getpid, 0, 0, 0, 0, 0, 0); }
static int parent(void) { return (int)call(SYS_getppid, 0, 0, 0, 0, 0, 0); }
static int session(void) { return (int)call(SYS_getsid, 0, 0, 0, 0, 0, 0); }

static const char *map(int fd, long size)
{
    long made = call(SYS_mmap, 0, size, PROT_READ, MAP_SHARED, fd, 0);
    return made < 0 && made > -4096 ? 0 : (const char *)made;
}

static void block_signals(void)
{
    u64 all = ~0ULL;
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof all, 0, 0);
}

/* 0 or 1: which of the two has something to say, or has hung up; -1 is no descriptor */
static int wait_for(int first, int second)
{
    struct { int fd; short events, revents; } waiting[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
    while (call(SYS_ppoll, (long)waiting, 2, 0, 0, 0, 0) <= 0)
        ;
    return !waiting[0].revents;
}

static void pause_for(int milliseconds)
{
    struct moment time = {0, milliseconds * 1000000L};
    call(SYS_ppoll, 0, 0, (long)&time, 0, 0, 0);
}

static long milliseconds(void)
{
    struct moment now = {0, 0};
    call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0, 0);
    return now.seconds * 1000 + now.nanoseconds / 1000000;
}

static int front_of(int fd)
{
    int group = -1;
    call(SYS_ioctl, fd, TIOCGPGRP, (long)&group, 0, 0, 0);
    return group;
}

static int put_in_front(int fd, int group) { return (int)call(SYS_ioctl, fd, TIOCSPGRP, (long)&group, 0, 0, 0); }
static void forget_input(int fd) { call(SYS_ioctl, fd, TCFLSH, TCIFLUSH, 0, 0, 0); }

static void set_modes(int fd, const struct modes *modes)
{
    struct { unsigned flag[FLAGS]; unsigned char line, character[CHARACTERS]; } now;
    if (call(SYS_ioctl, fd, TCGETS, (long)&now, 0, 0, 0) < 0)
        return;
    for (int index = 0; index < FLAGS; index++)
        now.flag[index] = modes->flag[index];
    for (int index = 0; index < CHARACTERS; index++)
        now.character[index] = modes->character[index];
    call(SYS_ioctl, fd, TCSETS, (long)&now, 0, 0, 0);
}

#endif

/* ------------------------------------------------------------ text */

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static u64 number(const char **text)
{
    u64 value = 0;
    while (is_digit(**text))
        value = value * 10 + (u64)(*(*text)++ - '0');
    return value;
}

static unsigned hexadecimal(const char **text)
{
    unsigned value = 0;
    for (;; (*text)++) {
        char c = **text;
        if (is_digit(c))
            value = value * 16 + (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (unsigned)(c - 'a' + 10);
        else
            return value;
    }
}

static int begins(const char *text, const char *with, int length)
{
    while (length-- > 0)
        if (*text++ != *with++)
            return 0;
    return 1;
}

struct text { const char *at; int length; };

/* the value of a key in a line; empty without */
static struct text value_of(const char *line, const char *key)
{
    struct text found = {"", 0};
    int size = 0;
    while (key[size])
        size++;
    for (int at = 1; at + size + 1 < LINE; at++) {
        if (line[at] != ' ' || !begins(line + at + 1, key, size) || line[at + 1 + size] != '=')
            continue;
        found.at = line + at + size + 2;
        while (found.at + found.length < line + LINE && found.at[found.length] != ' ' && found.at[found.length] != '\n')
            found.length++;
        break;
    }
    return found;
}

/* the value of the last key in a line, which may hold blanks */
static struct text last_value_of(const char *line, const char *key)
{
    struct text found = value_of(line, key);
    const char *end = line + LINE - 1;
    if (!found.length)
        return found;
    while (end[-1] == ' ')
        end--;
    found.length = (int)(end - found.at);
    return found;
}

static u64 number_of(const char *line, const char *key)
{
    const char *at = value_of(line, key).at;
    return number(&at);
}

/* PREFIX text SUFFIX as a string, for a path */
static const char *joined(const char *prefix, struct text text, const char *suffix)
{
    static char path[PATH + 32];
    int size = 0;
    while (*prefix)
        path[size++] = *prefix++;
    for (int index = 0; index < text.length; index++)
        path[size++] = text.at[index];
    while (*suffix)
        path[size++] = *suffix++;
    path[size] = 0;
    return path;
}

static struct text decimal(int value)
{
    static char digits[12];
    struct text text = {digits + sizeof digits, 0};
    do {
        *(char *)--text.at = (char)('0' + value % 10);
        text.length++;
    } while (value /= 10);
    return text;
}

static char buffer[BUFFER + 1];

static long read_file(const char *path)
{
    int fd = open_file(path, O_RDONLY);
    long size = 0, more;
    if (fd < 0)
        return -1;
    while (size < BUFFER && (more = read_some(fd, buffer + size, BUFFER - size)) > 0)
        size += more;
    close_file(fd);
    buffer[size] = 0;
    return size;
}

static void write_file(const char *path, const char *text, int size)
{
    int fd = open_file(path, O_WRONLY);
    if (fd >= 0) {
        write_some(fd, text, size);
        close_file(fd);
    }
}

/* ------------------------------------------------------------ processes */

struct process { u64 created; int pid, parent, group, session; char dead, exiting, ours; };
struct known { u64 created; int pid; };
struct tree { u64 created, until; int pid, session; struct text marker, cgroup; char recycled; };

static struct process processes[PROCESSES];
static struct known known[PROCESSES];
static struct tree trees[TREES];
static int process_count, known_count, tree_count, own_pid, own_session, starting;

static int read_process(int pid, struct process *process)
{
    const char *at;
    long size = read_file(joined("/proc/", decimal(pid), "/stat"));
    if (size <= 0)
        return 0;
    /* the name may hold blanks and parentheses; the last parenthesis ends it */
    for (at = buffer + size; at > buffer && *at != ')'; at--)
        ;
    if (at == buffer)
        return 0;
    at += 2;
    char state = *at;
    u64 field[23];
    at += 2;
    for (int index = 4; index <= 22; index++) {
        if (*at == '-')
            at++;
        field[index] = number(&at);
        if (*at)
            at++;
    }
    process->pid = pid;
    process->parent = (int)field[4];
    process->group = (int)field[5];
    process->session = (int)field[6];
    process->created = field[22];
    /* a leader that ended before its other threads is a zombie in name only */
    process->dead = (state == 'Z' || state == 'X') && field[20] <= 1;
    process->exiting = (field[9] & 4) != 0; /* PF_EXITING */
    process->ours = 0;
    return 1;
}

static void list_processes(void)
{
    static char entries[32768];
    int fd = open_file("/proc", O_RDONLY);
    long size;
    process_count = 0;
    if (fd < 0)
        return;
    while ((size = list_some(fd, entries, sizeof entries)) > 0)
        for (long at = 0; at < size; at += *(unsigned short *)(entries + at + 16)) {
            const char *name = entries + at + 19;
            if (!is_digit(*name))
                continue;
            int pid = (int)number(&name);
            if (pid > 1 && pid != own_pid && process_count < PROCESSES && read_process(pid, &processes[process_count]))
                process_count++;
        }
    close_file(fd);
}

/* by halving: /proc lists processes in the order of their pids */
static struct process *find(int pid)
{
    int low = 0, high = process_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (processes[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < process_count && processes[low].pid == pid ? &processes[low] : 0;
}

static int is_known(const struct process *process)
{
    for (int index = 0; index < known_count; index++)
        if (known[index].pid == process->pid && known[index].created == process->created)
            return 1;
    return 0;
}

/* whether the environment names a life of a tree; all markers of a run begin with the same token */
static int carries_marker(int pid)
{
    struct text first = trees[0].marker;
    int token = 0;
    while (token < first.length && first.at[token] != ':')
        token++;
    if (!token)
        return 0;
    long size = read_file(joined("/proc/", decimal(pid), "/environ"));
    for (const char *at = buffer; at + token < buffer + size; at++) {
        if (*at != *first.at || !begins(at, first.at, token))
            continue;
        for (int index = 0; index < tree_count; index++) {
            struct text marker = trees[index].marker;
            if (marker.length && at + marker.length <= buffer + size && begins(at, marker.at, marker.length) &&
                (at[marker.length] == 0 || at[marker.length] == ';'))
                return 1;
        }
    }
    return 0;
}

static int belongs(const struct process *process)
{
    for (int index = 0; index < tree_count; index++) {
        const struct tree *tree = &trees[index];
        if (!tree->pid || tree->recycled)
            continue;
        if (process->pid == tree->pid ? process->created == tree->created
                                      : (process->group == tree->pid || (tree->session && process->session == tree->pid)) &&
                                            (!tree->until || process->created < tree->until))
            return 1;
    }
    return is_known(process) || carries_marker(process->pid);
}

/* look at all processes, and mark those that are to go; whether any of them is alive */
static int look(void)
{
    int changed, alive = 0;
    list_processes();
    for (int index = 0; index < tree_count; index++) {
        struct process *root = find(trees[index].pid);
        /* while the root's session or group has members its number is not given to anybody else */
        if (root && root->created != trees[index].created)
            trees[index].recycled = 1;
    }
    for (int index = 0; index < process_count; index++)
        processes[index].ours = (char)belongs(&processes[index]);
    do {
        changed = 0;
        for (int index = 0; index < process_count; index++) {
            struct process *process = &processes[index];
            if (process->ours)
                continue;
            struct process *parent = find(process->parent), *leader = find(process->session);
            /* a session cannot be entered from outside: with its leader all of it is ours */
            if ((parent && parent->ours) || (leader && leader->ours && leader->session == leader->pid && process->session != own_session))
                process->ours = 1, changed = 1;
        }
    } while (changed);
    for (int index = 0; index < process_count; index++)
        alive |= processes[index].ours && !processes[index].dead;
    return alive;
}

/* signal this very process, never a later one of its pid */
static void signal_process(int pid, u64 created, int number)
{
    struct process now;
    int fd = open_process(pid);
    if (fd == -ESRCH)
        return;
    if (read_process(pid, &now) && now.created == created && (fd < 0 || signal_opened(fd, number) < 0))
        send_signal(pid, number); /* a kernel or a sandbox without pidfds */
    if (fd >= 0)
        close_file(fd);
}

/* Who is stopped forks no more, and while his parent lives a child's descent can be seen. */
static void stop_all(void)
{
    for (int round = 0, fresh = 1; round < 32 && fresh; round++) {
        fresh = 0;
        if (!look())
            return;
        for (int index = 0; index < process_count; index++) {
            const struct process *process = &processes[index];
            if (!process->ours || process->dead || is_known(process) || known_count == PROCESSES)
                continue;
            known[known_count].pid = process->pid;
            known[known_count++].created = process->created;
            fresh = 1;
            /* a group within a session that is not ours: one who forks a successor and ends is hit in whatever step he is */
            if (process->session != own_session)
                send_signal(-process->group, SIGSTOP);
            signal_process(process->pid, process->created, SIGSTOP);
        }
    }
}

static void kill_all(void)
{
    for (int index = 0; index < process_count; index++) {
        const struct process *process = &processes[index];
        if (!process->ours || process->dead)
            continue;
        signal_process(process->pid, process->created, SIGKILL);
        if (process->session != own_session)
            send_signal(-process->group, SIGKILL);
    }
}

/* ------------------------------------------------------------ the terminal */

/* whether the group in front is gone, or one of those that are to go */
static int is_left_over(int group)
{
    for (int index = 0; index < process_count; index++)
        if (processes[index].group == group && processes[index].ours)
            return 1;
    return group > 0 && send_signal(-group, 0) == -ESRCH;
}

/* Take the terminal from the leaf; false while somebody has it who may be a job of the leaf. */
static int restore_terminal(const char *line)
{
    int own = (int)number_of(line, "group"), leaf = (int)number_of(line, "leaf"), outer = (int)number_of(line, "outer");
    struct text reset = last_value_of(line, "reset");
    int fd = open_file("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return 1; /* hung up: there is nothing left to restore */
    int front = front_of(fd), ours = front == leaf || front == own || is_left_over(front);
    if (ours) {
        struct modes modes;
        struct process root;
        const char *at = value_of(line, "modes").at;
        /* our group may have been the supervisor alone; then the shell above it is who waits for the terminal */
        if (put_in_front(fd, own) < 0 && outer)
            put_in_front(fd, outer);
        /* who could change the modes again */
        if (leaf > 1 && (!read_process(leaf, &root) || root.created == number_of(line, "created")))
            send_signal(-leaf, SIGSTOP);
        for (int index = 0; index < FLAGS; index++, at += *at == ':')
            modes.flag[index] = hexadecimal(&at);
        for (int index = 0; index < CHARACTERS; index++, at += *at == ':')
            modes.character[index] = (unsigned char)hexadecimal(&at);
        set_modes(fd, &modes);
    }
    /* a shell that was quicker has set its own modes, but not those of the screen */
    if (ours || front == outer)
        write_some(fd, reset.at, reset.length);
    if (ours)
        forget_input(fd); /* answers and mouse reports meant for the leaf would be typed into the shell */
    close_file(fd);
    return ours || front == outer;
}

/* ------------------------------------------------------------ the work */

static void end_trees(const char *terminal)
{
    long began = milliseconds(), quiet = 0;
    /* at once: the shell above is about to look at it */
    int restored = !terminal || restore_terminal(terminal);
    for (int index = 0; index < tree_count; index++)
        if (trees[index].cgroup.length && trees[index].cgroup.length < PATH)
            write_file(joined("", trees[index].cgroup, "/cgroup.kill"), "1", 1);
    while (tree_count && milliseconds() - began < BOUND) {
        stop_all();
        kill_all();
        if (!restored)
            restored = restore_terminal(terminal);
        if (look()) {
            quiet = 0;
            pause_for(1);
            continue;
        }
        /* who was between two programs had no environment; who was being started has one soon */
        if (++quiet >= 2 && (!starting || milliseconds() - began >= STARTING))
            return;
        pause_for(4);
    }
}

static const char *load(int table)
{
    long size = size_of(table);
    const char *terminal = 0, *lines = size >= LINE ? map(table, size) : 0;
    for (long at = 0; lines && at + LINE <= size; at += LINE) {
        const char *line = lines + at;
        if (line[0] == 'T')
            terminal = line;
        if (line[0] != '+' || tree_count == TREES)
            continue;
        struct tree *tree = &trees[tree_count++];
        tree->pid = (int)number_of(line, "pid");
        tree->created = number_of(line, "created");
        tree->until = number_of(line, "until");
        tree->session = (int)number_of(line, "session");
        tree->marker = value_of(line, "marker");
        tree->cgroup = value_of(line, "cgroup");
        starting |= !tree->pid;
    }
    return terminal;
}

static void run(int argc, char **argv)
{
    if (argc != 3 && argc != 4)
        leave(125);
    const char *table = argv[1], *pipe = argv[2], *life = argc == 4 ? argv[3] : "";
    int table_fd = (int)number(&table), pipe_fd = (int)number(&pipe), life_fd = *life ? (int)number(&life) : -1, supervisor = parent();
    /* whatever the terminal or a shell sends is not meant for it */
    block_signals();
    /* the kernel's last victim, for who has the right to it */
    write_file("/proc/self/oom_score_adj", "-1000", 5);
    own_pid = self();
    own_session = session();
    while (wait_for(pipe_fd, life_fd) == 0) {
        struct process process;
        if (life_fd < 0 || !read_process(supervisor, &process) || process.exiting)
            break;
        pipe_fd = -1; /* it has only closed its end */
    }
    end_trees(load(table_fd));
    leave(0);
}

#ifdef HOSTED
int main(int argc, char **argv)
{
    run(argc, argv);
    return 125;
}
#else
__attribute__((used, noreturn)) void begin(long *stack)
{
    run((int)stack[0], (char **)(stack + 1));
    for (;;)
        leave(125);
}
#endif

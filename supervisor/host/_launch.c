/* The launch helper: what the supervisor's fork executes, and what executes the command.
 *
 *     _launch [-d SIGNAL -p PARENT] [-f FD] [-e FD] [-v NAME=VALUE ...] [-w NAME] -- PATH ARGV0 [ARG ...]
 *
 *   -d SIGNAL   ask the kernel for SIGNAL when the thread that spawned us dies
 *   -p PARENT   the process id of the supervisor: end at once if it is gone already
 *   -f FD       become a process group of our own and the foreground one of the terminal FD
 *   -e FD       if PATH cannot be executed, write errno to FD as a native int (closed when it can)
 *   -v N=V      set a variable of the command's environment, in place of any of that name; at most 8
 *   -w NAME     set a variable to the process id that the command will have; counts among these
 *
 * It runs no interpreter, links nothing and allocates nothing: it costs one execve more. With -DHOSTED it is built on libc.
 */

#ifdef HOSTED

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
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

#else /* freestanding */

#if defined(__x86_64__)

enum { SYS_write = 1, SYS_rt_sigprocmask = 14, SYS_ioctl = 16, SYS_getpid = 39, SYS_execve = 59, SYS_fcntl = 72, SYS_setpgid = 109,
       SYS_getppid = 110, SYS_prctl = 157, SYS_exit_group = 231 };

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

enum { SYS_fcntl = 25, SYS_ioctl = 29, SYS_write = 64, SYS_exit_group = 94, SYS_rt_sigprocmask = 135, SYS_setpgid = 154, SYS_prctl = 167,
       SYS_getpid = 172, SYS_getppid = 173, SYS_execve = 221 };

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

enum { PR_SET_PDEATHSIG = 1, F_SETFD = 2, FD_CLOEXEC = 1, TIOCSPGRP = 0x5410, SIG_BLOCK = 0, SIG_SETMASK = 2, TTOU = 22, ENOENT = 2 };

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

#endif

static int number(const char *text)
{
    int value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (*text++ - '0');
    return value;
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
    int index = 1, expected_parent = 0, error_fd = -1, error, count = 0, size = 0, kept = 0;
    char *variables[VARIABLES], pid_buffer[LONGEST_NAME + 16];

    for (; index + 1 < argc && argv[index][0] == '-' && argv[index][1] != '-'; index += 2) {
        int value = number(argv[index + 1]);
        const char *text = argv[index + 1];
        switch (argv[index][1]) {
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
        default: leave(125);
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

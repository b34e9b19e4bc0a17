/* kqueue() and kevent() on top of epoll, for tests on Linux of what is written for macOS and the BSDs.
 *
 * Written against the manual page kqueue(2) of FreeBSD and macOS, level-triggered reading and writing only. As there:
 *
 *      one event for each filter, so two for a descriptor of which both sides are ready; SHIM_WRITERS_FIRST turns their order round
 *      EV_EOF, with bytes left or without, and the number of bytes in data
 *      a filter goes with its descriptor, also where another one shares the open file; a number that is used again has none
 *      no queue in a child after fork(); for a list of no events it does not wait; a timeout to the nanosecond, EINVAL for a wrong one
 *      a change that fails: EV_ERROR in the list if there is room, else -1
 *
 * Otherwise than there, by name:
 *
 *      EV_CLEAR, EV_ONESHOT, EV_DISABLE and other filters are refused (EINVAL): asyncio's selector uses none of them
 *      regular files are refused (EPERM), as by epoll; there they are always ready
 *      fflags of a lost connection is 0: to look for its error would take it from the socket
 *      what a dead peer's pipe or socket counts as is Linux's word (EPOLLHUP, EPOLLERR, EPOLLRDHUP)
 *      which of several descriptors comes first is epoll's order
 */
#define _GNU_SOURCE
#include <sys/event.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READS = 1, WRITES = 2 };

/* a descriptor's filters. dev, ino: the file that it was; another one with its number has none */
typedef struct {
    unsigned sides;
    uint32_t generation;
    dev_t dev;
    ino_t ino;
} entry;

typedef struct queue {
    int fd, n; /* fd: of the epoll object */
    entry *entries;
    struct queue *next;
} queue;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static queue *queues;

static void
take_out(queue **at)
{
    queue *q = *at;
    *at = q->next;
    free(q->entries);
    free(q);
}

static void
before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void
in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void
in_child(void)
{
    while (queues != NULL) {
        close(queues->fd);
        take_out(&queues);
    }
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void
start(void)
{
    pthread_atfork(before_fork, in_parent, in_child);
}

static queue *
find(int kq)
{
    queue *q = queues;
    while (q != NULL && q->fd != kq) {
        q = q->next;
    }
    return q;
}

static int
same_file(const entry *e, int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == e->dev && st.st_ino == e->ino;
}

static entry *
entry_of(queue *q, int fd)
{
    if (fd >= q->n) {
        int n = fd + 64;
        entry *entries = realloc(q->entries, (size_t)n * sizeof *entries);
        if (entries == NULL) {
            return NULL;
        }
        for (int i = q->n; i < n; i++) {
            entries[i] = (entry){0};
        }
        q->entries = entries;
        q->n = n;
    }
    return &q->entries[fd];
}

static struct epoll_event
asked(const entry *e, int fd)
{
    return (struct epoll_event){
        .events = (e->sides & READS ? EPOLLIN | EPOLLRDHUP : 0u) | (e->sides & WRITES ? EPOLLOUT : 0u),
        .data.u64 = (uint64_t)e->generation << 32 | (uint32_t)fd,
    };
}

static int
add(queue *q, int fd, unsigned side)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return EBADF;
    }
    entry *e = entry_of(q, fd), before;
    if (e == NULL) {
        return ENOMEM;
    }
    before = *e;
    if (e->sides != 0 && !same_file(e, fd)) {
        e->sides = 0;
    }
    if (e->sides == 0) {
        e->generation++;
        e->dev = st.st_dev;
        e->ino = st.st_ino;
    }
    e->sides |= side;
    struct epoll_event ev = asked(e, fd);
    if (epoll_ctl(q->fd, EPOLL_CTL_MOD, fd, &ev) == 0 || (errno == ENOENT && epoll_ctl(q->fd, EPOLL_CTL_ADD, fd, &ev) == 0)) {
        return 0;
    }
    int err = errno;
    *e = before;
    return err;
}

static int
take_away(queue *q, int fd, unsigned side)
{
    if (fd < 0 || fcntl(fd, F_GETFD) < 0) {
        return EBADF;
    }
    entry *e = entry_of(q, fd);
    if (e == NULL) {
        return ENOMEM;
    }
    if (!(e->sides & side) || !same_file(e, fd)) {
        return ENOENT;
    }
    e->sides &= ~side;
    struct epoll_event ev = asked(e, fd);
    return epoll_ctl(q->fd, e->sides == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, &ev) == 0 ? 0 : errno;
}

static int
change(queue *q, const struct kevent *c)
{
    unsigned side = c->filter == EVFILT_READ ? READS : c->filter == EVFILT_WRITE ? WRITES : 0, flags = c->flags & ~EV_RECEIPT;
    if (side == 0) {
        return EINVAL;
    }
    return flags == EV_ADD ? add(q, (int)c->ident, side) : flags == EV_DELETE ? take_away(q, (int)c->ident, side) : EINVAL;
}

/* A descriptor that was closed while another one shares its file is reported by epoll for ever: a new epoll object, without it. */
static int
make_anew(queue *q)
{
    int fresh = epoll_create1(EPOLL_CLOEXEC);
    if (fresh < 0) {
        return -1;
    }
    for (int fd = 0; fd < q->n; fd++) {
        entry *e = &q->entries[fd];
        if (e->sides != 0 && !same_file(e, fd)) {
            e->sides = 0;
        }
        struct epoll_event ev = asked(e, fd);
        if (e->sides != 0 && epoll_ctl(fresh, EPOLL_CTL_ADD, fd, &ev) < 0) {
            e->sides = 0;
        }
    }
    int r = dup3(fresh, q->fd, O_CLOEXEC);
    close(fresh);
    for (queue *outer = queues; outer != NULL; outer = outer->next) {
        entry *e = q->fd < outer->n ? &outer->entries[q->fd] : NULL;
        struct epoll_event ev = e == NULL ? (struct epoll_event){0} : asked(e, q->fd);
        if (e != NULL && e->sides != 0 && epoll_ctl(outer->fd, EPOLL_CTL_ADD, q->fd, &ev) < 0) {
            e->sides = 0;
        }
    }
    return r;
}

static struct kevent
event(int fd, int filter, uint32_t found)
{
    int bytes = 1;
    if (filter == EVFILT_READ && ioctl(fd, FIONREAD, &bytes) < 0) {
        bytes = 1; /* one that listens, for instance */
    }
    uint32_t end = filter == EVFILT_READ ? EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLHUP | EPOLLERR;
    return (struct kevent){
        .ident = (uintptr_t)fd,
        .filter = (short)filter,
        .flags = (unsigned short)(EV_ADD | (found & end ? EV_EOF : 0)),
        .data = bytes,
    };
}

/* The filters that are ready, N at most. Their number | -1 */
static int
collect(queue *q, struct kevent *to, int n)
{
    struct epoll_event *found = malloc((size_t)n * sizeof *found);
    if (found == NULL) {
        errno = ENOMEM;
        return -1;
    }
    int got = epoll_wait(q->fd, found, n, 0), put = 0, stale = 0, writers_first = getenv("SHIM_WRITERS_FIRST") != NULL;
    for (int i = 0; i < got; i++) {
        int fd = (int)(uint32_t)found[i].data.u64;
        entry *e = &q->entries[fd];
        if (e->generation != found[i].data.u64 >> 32 || e->sides == 0 || !same_file(e, fd)) {
            stale = 1;
            continue;
        }
        uint32_t what = found[i].events;
        int ready[2] = {(e->sides & READS) && (what & ~(uint32_t)EPOLLOUT),
                        (e->sides & WRITES) && (what & (EPOLLOUT | EPOLLHUP | EPOLLERR))};
        for (int k = 0; k < 2 && put < n; k++) { /* what finds no room is ready again next time */
            int side = k ^ writers_first;
            if (ready[side]) {
                to[put++] = event(fd, side == 0 ? EVFILT_READ : EVFILT_WRITE, what);
            }
        }
    }
    free(found);
    if (got < 0 || (stale && make_anew(q) < 0)) {
        return -1;
    }
    return put;
}

int
kqueue(void)
{
    queue *q = calloc(1, sizeof *q);
    int fd = q == NULL ? -1 : epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
        free(q);
        return -1;
    }
    pthread_mutex_lock(&lock);
    for (queue **at = &queues; *at != NULL;) { /* one that had its number: nobody says when it is closed */
        if ((*at)->fd == fd) {
            take_out(at);
        }
        else {
            at = &(*at)->next;
        }
    }
    q->fd = fd;
    q->next = queues;
    queues = q;
    pthread_mutex_unlock(&lock);
    return fd;
}

/* -1 failed, or the number of those that failed and are in the list */
static int
change_all(queue *q, const struct kevent *changes, int n, struct kevent *events, int room)
{
    int put = 0;
    for (int i = 0; i < n; i++) {
        int err = change(q, &changes[i]);
        if (err == 0 && !(changes[i].flags & EV_RECEIPT)) {
            continue;
        }
        if (put == room) {
            errno = err;
            return -1;
        }
        events[put] = changes[i];
        events[put].flags |= EV_ERROR;
        events[put++].data = err;
    }
    return put;
}

static long long
now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* 1 something may be ready, 0 not in time, -1 */
static int
wait_until(int kq, long long end)
{
    struct pollfd p = {.fd = kq, .events = POLLIN};
    long long left = end < 0 ? 0 : end - now();
    left = left < 0 ? 0 : left;
    struct timespec ts = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    int r = ppoll(&p, 1, end < 0 ? NULL : &ts, NULL);
    if (r > 0 && (p.revents & POLLNVAL)) {
        errno = EBADF;
        return -1;
    }
    return r;
}

int
kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist, int nevents,
       const struct timespec *timeout)
{
    if (timeout != NULL &&
        (timeout->tv_sec < 0 || timeout->tv_sec > 100000000 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999999999)) {
        errno = EINVAL;
        return -1;
    }
    pthread_mutex_lock(&lock);
    queue *q = find(kq);
    int r = q == NULL || fcntl(kq, F_GETFD) < 0 ? -1 : change_all(q, changelist, nchanges, eventlist, nevents);
    int err = q == NULL ? EBADF : errno;
    pthread_mutex_unlock(&lock);
    errno = err;
    if (r != 0 || nevents == 0) {
        return r;
    }
    long long end = timeout == NULL ? -1 : now() + timeout->tv_sec * 1000000000LL + timeout->tv_nsec;
    for (;;) {
        r = wait_until(kq, end);
        if (r <= 0) {
            return r;
        }
        pthread_mutex_lock(&lock);
        q = find(kq);
        r = q == NULL ? -1 : collect(q, eventlist, nevents);
        err = q == NULL ? EBADF : errno;
        pthread_mutex_unlock(&lock);
        errno = err;
        if (r != 0) {
            return r;
        }
    }
}
